"""Zero-shot detectors, prompted with categories: OWL-ViT, OWLv2 and Grounding DINO.

A box has a score for every category, and each score above the minimum gives a detection, as with fixed classes. A box
that may be a cup or a bowl is then doubtful. The processors' own post-processing would hide that: OWL's keeps only the
best text of a box, and Grounding DINO's joins the tokens with high scores, so "hot dog" may become "dog". This module
computes scores from the logits instead. No object is dropped for an unclear name, since queries could become false.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from augmentation.composers.composed import RgbImage
from augmentation.errors import AugmentationError
from shards.boxes import Box

RawDetection = tuple[Box, str, float]
"""Box in pixels (it may reach outside the image), category, score."""


class _ModelFamily(ABC):
    """Prompts and scores of a family of models."""

    default_prompt: str
    """Prompt that the models were trained with."""

    is_square = False
    """Flag of models that pad images to squares, to which boxes refer."""

    def __init__(self, checkpoint: str, tokenizer: Any, config: Any) -> None:
        self._checkpoint, self._tokenizer, self._config = checkpoint, tokenizer, config

    @abstractmethod
    def set_labels(self, labels: Sequence[str], prompt: str) -> None:
        """Build the texts of the labels, once for all images.

        Raises:
            AugmentationError: the texts are too long for the model, or do not fit its format.
        """

    @abstractmethod
    def texts(self, num_images: int) -> list[Any]:
        """Return the processor's ``text`` for a batch."""

    @abstractmethod
    def scores(self, logits: Tensor, min_score: float) -> Tensor:
        """Compute scores in [0, 1], (images, boxes, labels)."""


class _Owl(_ModelFamily):
    """OWL-ViT: one text per label; a box has a logit for each text (Minderer et al., ECCV 2022, arXiv:2205.06230)."""

    default_prompt = "a photo of a {category}"

    def set_labels(self, labels: Sequence[str], prompt: str) -> None:
        self._texts = [prompt.format(category=label) for label in labels]
        max_tokens = self._config.text_config.max_position_embeddings
        for text in self._texts:
            if (num := len(self._tokenizer(text)["input_ids"])) > max_tokens:
                raise AugmentationError(
                    f"{text!r} has {num} tokens, of which {self._checkpoint} reads {max_tokens}; shorten the prompt"
                )

    def texts(self, num_images: int) -> list[Any]:
        return [self._texts] * num_images

    def scores(self, logits: Tensor, min_score: float) -> Tensor:
        return logits.sigmoid()


class _Owl2(_Owl):
    is_square = True


class _GroundingDino(_ModelFamily):
    """Grounding DINO: one text of all labels, "cup. hot dog."; a box has a logit for each of its tokens.

    A label's score is the mean over its tokens, as in the authors' evaluation on COCO (Liu et al., ECCV 2024,
    arXiv:2303.05499). If only a part of a label has a high score ("dog" of "hot dog"), the object may be doubtful. The
    label then gets at least ``min_score``.
    """

    default_prompt = "{category}"

    def set_labels(self, labels: Sequence[str], prompt: str) -> None:
        self._text, positions = _join_labels(labels, prompt, self._checkpoint)
        tokens = self._tokenizer(self._text, return_offsets_mapping=True)
        if (num := len(tokens["input_ids"])) > self._config.max_text_len:
            raise AugmentationError(
                f"{len(labels)} categories make a text of {num} tokens, of which {self._checkpoint} reads "
                f"{self._config.max_text_len}; give fewer categories, or use the prompt '{{category}}'"
            )
        spans = list(enumerate(tokens["offset_mapping"]))
        self._tokens = [[i for i, (a, b) in spans if start <= a < b <= end] for start, end in positions]

    def texts(self, num_images: int) -> list[Any]:
        return [self._text] * num_images

    def scores(self, logits: Tensor, min_score: float) -> Tensor:
        token_scores = logits.sigmoid()  # (images, boxes, max_text_len)
        by_label = (token_scores[..., tokens] for tokens in self._tokens)  # (images, boxes, tokens) each
        return torch.stack([torch.maximum(one.mean(-1), one.amax(-1).clamp(max=min_score)) for one in by_label], -1)


def _join_labels(labels: Sequence[str], prompt: str, checkpoint: str) -> tuple[str, list[tuple[int, int]]]:
    """Join the labels to "a cup. a hot dog.", and return it with the (start, end) of each label."""
    text, positions = "", []
    for label in labels:
        phrase = prompt.format(category=label)
        if set(".?") & set(phrase):
            raise AugmentationError(f"{phrase!r} holds a mark at which {checkpoint} ends a phrase; leave . and ? out")
        start = len(text) + prompt.index("{category}")
        positions.append((start, start + len(label)))
        text += f"{phrase.lower()}. "
    return text.rstrip(), positions


_MODEL_FAMILIES: Mapping[str, type[_ModelFamily]] = {
    "owlvit": _Owl,
    "owlv2": _Owl2,
    "grounding-dino": _GroundingDino,
    "mm-grounding-dino": _GroundingDino,
}
"""Model families by the ``model_type`` of the checkpoint's configuration."""


class ZeroShotModel:
    """A loaded zero-shot model with its prompts.

    Args:
        checkpoint: hub id or local folder.
        revision: branch, tag or commit on the hub.
        config: the checkpoint's configuration, from ``AutoConfig``.
        categories: category by label; most labels are the category itself.
        prompt: text with the slot ``{category}``; None takes that of the family's training.
        device: where the model runs.

    Raises:
        AugmentationError: there is no category, the model family is unknown, or a label does not fit it.
        OSError, ValueError: the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        checkpoint: str,
        revision: str | None,
        config: Any,
        categories: Mapping[str, str],
        prompt: str | None,
        device: torch.device,
    ) -> None:
        model_family = _get_model_family(checkpoint, config.model_type)
        if not categories:
            raise AugmentationError(
                f"{checkpoint} is a zero-shot detector and needs categories, got none; give at least one"
            )
        self._device, self._names = device, list(categories.values())
        self._processor: Any = AutoProcessor.from_pretrained(checkpoint, revision=revision)
        _check_known_words(checkpoint, self._processor.tokenizer, list(categories))
        self._prompter = model_family(checkpoint, self._processor.tokenizer, config)
        self._prompter.set_labels(list(categories), prompt or model_family.default_prompt)
        model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(
            checkpoint, revision=revision, dtype=torch.float32
        )
        self._model = model.to(device).eval()

    @property
    def names(self) -> list[str]:
        """Return the categories that the model can detect."""
        return self._names

    def detect(self, images: Sequence[RgbImage], min_score: float) -> list[list[RawDetection]]:
        """Detect all pairs of a box and a category with at least this score."""
        texts = self._prompter.texts(len(images))
        inputs = self._processor(images=list(images), text=texts, return_tensors="pt").to(self._device)
        output = self._model(**inputs)
        scores = self._prompter.scores(output.logits, min_score).cpu()
        # Boxes refer to (width, height), or to the square that the model pads the image to.
        sizes = [
            (max(width, height),) * 2 if self._prompter.is_square else (width, height)
            for height, width in (image.shape[:2] for image in images)
        ]
        return [
            self._select_detections(box_scores, boxes, size, min_score)
            for box_scores, boxes, size in zip(scores, output.pred_boxes.cpu(), sizes, strict=True)
        ]

    def _select_detections(
        self, scores: Tensor, boxes: Tensor, size: tuple[int, int], min_score: float
    ) -> list[RawDetection]:
        """Select detections from scores, (boxes, labels), and boxes, (boxes, 4) center, width, height as shares."""
        center, half = boxes[:, :2], boxes[:, 2:] / 2
        corners = torch.cat([center - half, center + half], 1) * torch.tensor([*size, *size])  # (boxes, 4)
        positions = (scores >= min_score).nonzero().tolist()
        return [(tuple(corners[i].tolist()), self._names[label], float(scores[i, label])) for i, label in positions]


def _check_known_words(checkpoint: str, tokenizer: Any, labels: Sequence[str]) -> None:
    """Raise an error if the tokenizer knows no word of a label: it also loads from a folder without its files."""
    for label in labels:
        if set(tokenizer(label)["input_ids"]) <= set(tokenizer.all_special_ids):
            raise AugmentationError(
                f"the tokenizer of {checkpoint} has no token for {label!r}; its vocabulary may be missing from the "
                "folder, or the category is no word"
            )


def _get_model_family(checkpoint: str, model_type: str) -> type[_ModelFamily]:
    if model_type not in _MODEL_FAMILIES:
        raise AugmentationError(
            f"{checkpoint} has model type {model_type}, for which there are no prompts here; "
            f"give one of {', '.join(_MODEL_FAMILIES)}"
        )
    return _MODEL_FAMILIES[model_type]
