"""Encoder of images into CLIP features, and their CLIP score with a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, CLIPVisionModelWithProjection

from generation.errors import GenerationError
from generation.models.checkpoints import find_local_folder, resolve_device, resolve_dtype, suggest_download
from generation.models.config import EncoderConfig, Feature, RgbImage


class ImageEncoder:
    """Encoder of images and texts into one space.

    Raises:
        GenerationError: the checkpoint is no CLIP-like model with an image projection.
    """

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        self._device = resolve_device(config.device)
        self._dtype = resolve_dtype(config.dtype, self._device)
        self._model, self._processor, self._tokenizer = _load_encoder(config)
        self._model = self._model.to(self._device, self._dtype).eval()

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return int(self._model.config.projection_dim)

    @property
    def image_size_px(self) -> int:
        """Side of the square images that the model sees."""
        config = self._model.config
        return int(getattr(config, "vision_config", config).image_size)

    @property
    def logit_scale(self) -> float:
        """Learned factor of cosines before a softmax: the inverse of CLIP's temperature."""
        return float(self._model.logit_scale.detach().exp())

    @torch.inference_mode()
    def encode_images(self, images: Sequence[RgbImage]) -> npt.NDArray[np.float32]:
        """Encode images.

        Returns:
            (N, dim) projected embeddings of length 1.
        """
        parts = [
            self._embed_batch(images[start : start + self.config.batch_size])
            for start in range(0, len(images), self.config.batch_size)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, self.dim), np.float32)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts.

        Returns:
            (N, dim) projected embeddings of length 1.

        Raises:
            GenerationError: the encoder has no text tower.
        """
        if self._tokenizer is None:
            raise GenerationError(
                f"{self.config.checkpoint} has no text tower, so no CLIP score; give a CLIP with both towers"
            )
        tokens = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._device)
        embedded = self._model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return _normalize_length(_get_pooled(embedded)).numpy()

    def encode(
        self, images: Sequence[Sequence[RgbImage]], prompts: Sequence[str]
    ) -> list[tuple[Feature, float | None]]:
        """Encode each prompt's images into a feature and a CLIP score (Hessel et al., EMNLP 2021), None without texts.

        Both are means over the images. A mean feature is shorter than 1, the less the images agree the more.
        """
        if not prompts:
            return []
        embedded = self.encode_images([image for group in images for image in group])
        embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
        ends = np.cumsum([len(group) for group in images])
        features = np.stack([part.mean(0) for part in np.split(embedded, ends[:-1])])  # (prompts, dim)
        if self._tokenizer is None:
            return [(feature.astype(np.float16), None) for feature in features]
        scores = 100 * (features * self.encode_texts(prompts)).sum(1)
        return [
            (feature.astype(np.float16), max(0.0, round(float(score), 4)))
            for feature, score in zip(features, scores, strict=True)
        ]

    def _embed_batch(self, images: Sequence[RgbImage]) -> Tensor:
        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        pixels = inputs["pixel_values"].to(self._device, self._dtype)
        if self._tokenizer is None:
            return _normalize_length(self._model(pixel_values=pixels).image_embeds)
        return _normalize_length(_get_pooled(self._model.get_image_features(pixel_values=pixels)))


def _load_encoder(config: EncoderConfig) -> tuple[Any, Any, Any]:
    """Load model, image processor and tokenizer; the tokenizer is None for a vision tower alone."""
    local = find_local_folder(config.checkpoint) is not None
    arguments: dict[str, Any] = {"revision": config.revision, "local_files_only": local}
    try:
        kind = AutoConfig.from_pretrained(config.checkpoint, **arguments).model_type
        processor = AutoImageProcessor.from_pretrained(config.checkpoint, **arguments)
        if kind == "clip_vision_model":
            return CLIPVisionModelWithProjection.from_pretrained(config.checkpoint, **arguments), processor, None
        model = AutoModel.from_pretrained(config.checkpoint, **arguments)
        tokenizer = AutoTokenizer.from_pretrained(config.checkpoint, **arguments)
    except (OSError, ValueError, KeyError) as error:
        raise GenerationError(
            f"{config.checkpoint} is no CLIP of transformers ({str(error).splitlines()[0]}); give a folder with "
            "config.json, preprocessor_config.json and a tokenizer, or a hub id such as openai/clip-vit-base-patch32"
            f"{suggest_download(config.checkpoint)}"
        ) from error
    if not hasattr(model, "get_image_features") or not hasattr(model.config, "projection_dim"):
        raise GenerationError(
            f"{config.checkpoint} is a {type(model).__name__}, which has no projected image feature; give a CLIP"
        )
    return model, processor, tokenizer


def _get_pooled(output: Any) -> Tensor:
    """Return the projected embedding; versions of transformers wrap it differently."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _normalize_length(embedded: Tensor) -> Tensor:
    return functional.normalize(embedded.float(), dim=-1).cpu()
