"""Preparation of images and queries for the network, and the way back for boxes.

The settings are saved beside the weights as ``preprocessor_config.json`` and the folder ``tokenizer``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer

from trainer.data.config import ProcessorConfig
from trainer.data.spatial_words import has_place_word
from trainer.data.words import find_words, replace_words
from trainer.errors import TrainerError
from trainer.model.inputs import NetworkInputs


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Placement of an image on the canvas: canvas = offset + scale * image, per axis."""

    scale_x: float
    """Horizontal scale."""

    scale_y: float
    """Vertical scale."""

    left_px: int
    """Left edge of the image on the canvas."""

    top_px: int
    """Top edge of the image on the canvas."""

    def map_to_canvas(self, boxes_xyxy: Tensor) -> Tensor:
        """Map boxes (n, 4) from pixels of the image to pixels of the canvas."""
        return boxes_xyxy * self._get_scales(boxes_xyxy) + self._get_offsets(boxes_xyxy)

    def map_to_image(self, boxes_xyxy: Tensor) -> Tensor:
        """Map boxes (n, 4) from pixels of the canvas to pixels of the image."""
        return (boxes_xyxy - self._get_offsets(boxes_xyxy)) / self._get_scales(boxes_xyxy)

    def _get_scales(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    def _get_offsets(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.left_px, self.top_px, self.left_px, self.top_px])


def fit_size(size: tuple[float, float], long_side_px: int) -> tuple[int, int]:
    """Return (width, height) in the same proportions with a long side of ``long_side_px``; at least one pixel each."""
    factor = long_side_px / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize an image, bilinear and with antialiasing if it shrinks."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def paste_on_canvas(image: Image.Image, canvas_px: int, left_px: int, top_px: int) -> tuple[Tensor, Tensor]:
    """Paste an image on an empty canvas.

    Returns:
        Pixels (3, canvas, canvas) uint8 and the padding mask (canvas, canvas) bool, True = padding.
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    rows, columns = slice(top_px, top_px + image.height), slice(left_px, left_px + image.width)
    canvas = torch.zeros(3, canvas_px, canvas_px, dtype=torch.uint8)
    canvas[:, rows, columns] = pixels
    padding = torch.ones(canvas_px, canvas_px, dtype=torch.bool)
    padding[rows, columns] = False
    return canvas, padding


def fit_placement(size: tuple[int, int], canvas_px: int) -> Placement:
    """Return the placement at test time of an image (width, height): its long side fills the canvas, centered."""
    width, height = fit_size(size, canvas_px)
    return Placement(
        scale_x=width / size[0],
        scale_y=height / size[1],
        left_px=(canvas_px - width) // 2,
        top_px=(canvas_px - height) // 2,
    )


def center_on_canvas(image: Image.Image, canvas_px: int) -> tuple[Tensor, Tensor, Placement]:
    """Apply the transform of test time; return the tensors of ``paste_on_canvas`` and the placement."""
    placement = fit_placement(image.size, canvas_px)
    fitted = resize_image(image, fit_size(image.size, canvas_px))
    return *paste_on_canvas(fitted, canvas_px, placement.left_px, placement.top_px), placement


class Processor:
    """Settings and tokenizer of a network."""

    def __init__(self, config: ProcessorConfig, tokenizer: Any) -> None:
        self.config, self.tokenizer = config, tokenizer
        self._seen_words = frozenset(config.known_words or config.training_words)
        self._known_words: frozenset[str] | None = None
        if config.known_words:
            self._known_words = frozenset((*config.known_words, *find_words(self.unknown_word)))

    @property
    def unknown_word(self) -> str:
        """Unknown word of the tokenizer, such as ``[UNK]``.

        Raises:
            TrainerError: the tokenizer has none.
        """
        word: str | None = self.tokenizer.unk_token
        if word is None:
            raise TrainerError(
                "the tokenizer has no unknown word, which stands for words that an exemplar shows; choose a text "
                "encoder that has one, such as BERT"
            )
        return word

    def find_unseen_words(self, query: str) -> tuple[str, ...]:
        """Return the words of a query that no training query had, in order; none if no words were recorded."""
        seen = self._seen_words
        return tuple(dict.fromkeys(word for word in find_words(query) if word not in seen)) if seen else ()

    def normalize(self, images: Tensor, padding: Tensor) -> Tensor:
        """Normalize pixels by the backbone's mean and deviation.

        Args:
            images: (images, 3, size, size) uint8.
            padding: (images, size, size) bool, True = padding.

        Returns:
            (images, 3, size, size) float32, zero on padding.
        """
        mean, std = (
            torch.stack([images.new_full((), value, dtype=torch.float32) for value in values])  # not from main memory
            for values in (self.config.image_mean, self.config.image_std)
        )
        pixels = (images.float() / 255 - mean[:, None, None]) / std[:, None, None]
        return pixels.masked_fill_(padding[:, None], 0.0)

    def normalize_inputs(self, inputs: NetworkInputs) -> NetworkInputs:
        """Return a batch's inputs with normalized images, on the device of the inputs."""
        return inputs._replace(images=self.normalize(inputs.images, inputs.padding))

    def tokenize(self, query_texts: Sequence[str], length_multiple: int = 1) -> tuple[Tensor, Tensor]:
        """Return token ids (queries, length), padded to the longest query, and their mask, True = a real token.

        With ``length_multiple``, the length is a multiple of it, or ``max_tokens``.
        """
        encoded = self.tokenizer(
            [self._hide_unknown_words(text) for text in query_texts],
            padding="longest",
            truncation=True,
            max_length=self.config.max_tokens,
            return_tensors="pt",
        )
        token_ids, token_mask = encoded["input_ids"], encoded["attention_mask"].bool()
        length = -(-token_ids.shape[1] // length_multiple) * length_multiple
        missing = min(length, max(self.config.max_tokens, token_ids.shape[1])) - token_ids.shape[1]
        return F.pad(token_ids, (0, missing), value=self.tokenizer.pad_token_id), F.pad(token_mask, (0, missing))

    def find_places(self, query_texts: Sequence[str]) -> Tensor:
        """Return a mask (queries,) bool, True = the query says where its target is."""
        return torch.tensor([has_place_word(text) for text in query_texts])

    def _hide_unknown_words(self, text: str) -> str:
        known = self._known_words
        return text if known is None else replace_words(text, lambda w: None if w in known else self.unknown_word)

    def save_pretrained(self, folder: Path) -> None:
        """Write the settings and the tokenizer to ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder / "tokenizer")
        (folder / "preprocessor_config.json").write_text(json.dumps(asdict(self.config), indent=1))

    @staticmethod
    def from_pretrained(folder: Path) -> Processor:
        """Load a processor that ``save_pretrained`` wrote.

        Raises:
            TrainerError: the folder lacks settings or tokenizer, or they are damaged.
        """
        path = folder / "preprocessor_config.json"
        try:
            values = {"known_words": (), "training_words": (), **json.loads(path.read_text())}
            names = ("image_mean", "image_std", "known_words", "training_words")
            values |= {name: tuple(values[name]) for name in names}
            config = ProcessorConfig(**values)
        except FileNotFoundError as error:
            raise TrainerError(f"{path} does not exist; give a folder that training has saved") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainerError(f"{path} is malformed: {error}") from error
        return Processor(config, load_tokenizer(str(folder / "tokenizer")))


def load_tokenizer(checkpoint: str) -> Any:
    """Load a tokenizer from a hub id or a folder.

    Raises:
        TrainerError: there is no tokenizer.
    """
    try:
        return AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise TrainerError(
            f"no tokenizer at {checkpoint!r} ({str(error).splitlines()[0]}); give a folder or hub id of one"
        ) from error
