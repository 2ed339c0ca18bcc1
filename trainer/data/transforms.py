"""Transforms of training and evaluation: the published recipe, with sizes relative to the canvas.

All queries of a group share one transform. A crop keeps every target, and a position word in any query forbids it. A
mirrored image swaps left and right in every query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from trainer.boxes import iou, xyxy_to_cxcywh
from trainer.data.config import AugmentationConfig
from trainer.data.processor import center_on_canvas, fit_size, paste_on_canvas
from trainer.data.spatial_words import has_position_word, swap_left_right

CropBox = tuple[float, float, float, float]
"""Corners x1, y1, x2, y2 in pixels of the image."""


@dataclass(frozen=True, kw_only=True)
class TransformedSample:
    """An image on the canvas with its queries."""

    canvas: Tensor
    """Pixels (3, size, size) uint8."""

    padding: Tensor
    """Mask (size, size) bool, True = padding."""

    targets: Tensor
    """Boxes (targets, 4) float32, cxcywh as fractions of the canvas."""

    query_texts: tuple[str, ...]
    """Queries, with left and right swapped if the image is mirrored."""

    others: Tensor = field(default_factory=lambda: torch.zeros(0, 4))
    """Other boxes (others, 4) float32, cxcywh as fractions of the canvas, cut by a crop."""

    other_shares: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Share (others,) of the area of each other box that a crop left."""


def transform_for_evaluation(
    image: Image.Image, boxes_xyxy: Tensor, query_texts: Sequence[str], canvas_px: int
) -> TransformedSample:
    """Resize an image to fit the canvas, centered."""
    canvas, padding, placement = center_on_canvas(image, canvas_px)
    targets = xyxy_to_cxcywh(placement.map_to_canvas(boxes_xyxy)) / canvas_px
    return TransformedSample(canvas=canvas, padding=padding, targets=targets, query_texts=tuple(query_texts))


def transform_for_training(
    image: Image.Image,
    boxes_xyxy: Tensor,
    query_texts: Sequence[str],
    canvas_px: int,
    config: AugmentationConfig,
    random: Random,
    num_targets: int | None = None,
) -> TransformedSample:
    """Crop, resize, jitter, mirror and place an image at random.

    Args:
        image: RGB image.
        boxes_xyxy: (boxes, 4) float32 in pixels of the image: the targets, then other boxes, which a crop may cut.
        query_texts: queries about the image.
        canvas_px: side of the canvas.
        config: probabilities and sizes.
        random: source of all random choices.
        num_targets: number of targets among the boxes; one for each query if None.
    """
    num_targets = len(query_texts) if num_targets is None else num_targets
    crop: CropBox = (0.0, 0.0, float(image.width), float(image.height))
    if random.random() < config.crop_probability and not any(map(has_position_word, query_texts)):
        crop = sample_crop(image.size, boxes_xyxy[:num_targets], canvas_px, config, random) or crop
    crop_size = (crop[2] - crop[0], crop[3] - crop[1])
    width, height = fit_size(crop_size, round(random.choice(config.long_sides) * canvas_px))
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=crop)
    scale = boxes_xyxy.new_tensor([width / crop_size[0], height / crop_size[1]]).repeat(2)
    clipped = _clip_boxes(boxes_xyxy, crop)
    boxes = (clipped - boxes_xyxy.new_tensor(crop[:2]).repeat(2)) * scale
    image = _jitter_image(image, config, random)
    if random.random() < config.flip_probability:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
        query_texts = [swap_left_right(query_text) for query_text in query_texts]
    left, top = (canvas_px - width) // 2, (canvas_px - height) // 2
    if config.random_placement:
        left, top = random.randint(0, canvas_px - width), random.randint(0, canvas_px - height)
    canvas, padding = paste_on_canvas(image, canvas_px, left, top)
    boxes = xyxy_to_cxcywh(boxes + boxes.new_tensor([left, top, left, top])) / canvas_px
    return TransformedSample(
        canvas=canvas,
        padding=padding,
        targets=boxes[:num_targets],
        query_texts=tuple(query_texts),
        others=boxes[num_targets:],
        other_shares=iou(clipped, boxes_xyxy)[num_targets:],
    )


def sample_crop(
    size: tuple[int, int], boxes_xyxy: Tensor, canvas_px: int, config: AugmentationConfig, random: Random
) -> CropBox | None:
    """Sample a crop that keeps every target; its size is drawn as if the short side had been resized first.

    Args:
        size: width and height of the image.
        boxes_xyxy: (queries, 4) float32, the targets in pixels of the image.
        canvas_px: side of the canvas.
        config: sizes of the crop.
        random: source of all random choices.

    Returns:
        The crop in pixels of the image; None if twenty tries found no crop.
    """
    factor = random.choice(config.short_sides) * canvas_px / min(size)
    low, high = (side * canvas_px / factor for side in config.crop_sides)  # in pixels of the image
    for _ in range(20):
        width, height = (random.uniform(min(low, side), min(high, side)) for side in size)
        x, y = random.uniform(0, size[0] - width), random.uniform(0, size[1] - height)
        crop = (x, y, x + width, y + height)
        if bool((iou(_clip_boxes(boxes_xyxy, crop), boxes_xyxy) >= config.min_crop_iou).all()):
            return crop
    return None


def _clip_boxes(boxes_xyxy: Tensor, crop: CropBox) -> Tensor:
    """Clip boxes to a crop; a box outside it becomes empty."""
    low, high = (boxes_xyxy.new_tensor(corner) for corner in (crop[:2], crop[2:]))
    corners = boxes_xyxy.view(len(boxes_xyxy), 2, 2)
    return torch.minimum(torch.maximum(corners, low), high).view(len(boxes_xyxy), 4)


def _jitter_image(image: Image.Image, config: AugmentationConfig, random: Random) -> Image.Image:
    """Change brightness, contrast and saturation in random order."""
    if random.random() >= config.jitter_probability:
        return image
    kinds = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    random.shuffle(kinds)
    for kind in kinds:
        image = kind(image).enhance(random.uniform(1 - config.jitter, 1 + config.jitter))
    return image
