"""Crops of objects."""

from __future__ import annotations

import numpy as np
from PIL import Image

from augmentation.composers.composed import RgbImage
from shards.boxes import Box


def find_square(box_xyxy: Box, margin: float) -> tuple[int, int, int]:
    """Return (left, top, side) in pixels of a square around the box.

    Args:
        box_xyxy: box in pixels.
        margin: width of the margin as a share of the box's longer side.
    """
    x1, y1, x2, y2 = box_xyxy
    half = max(x2 - x1, y2 - y1) * (0.5 + margin)
    return round((x1 + x2) / 2 - half), round((y1 + y2) / 2 - half), max(1, round(2 * half))


def crop_square(image: RgbImage, box_xyxy: Box, margin: float) -> RgbImage:
    """Crop a square around the box with a margin; beyond the image, the border's pixels are repeated."""
    left, top, side = find_square(box_xyxy, margin)
    columns = np.clip(np.arange(side) + left, 0, image.shape[1] - 1)
    rows = np.clip(np.arange(side) + top, 0, image.shape[0] - 1)
    return image[rows[:, None], columns[None, :]]


def crop_halves(image: RgbImage, box_xyxy: Box) -> list[RgbImage]:
    """Crop the left, right, upper and lower half of the box, each stretched to a square."""
    height, width = image.shape[:2]
    x1, y1 = min(int(box_xyxy[0]), width - 2), min(int(box_xyxy[1]), height - 2)
    x2, y2 = max(round(box_xyxy[2]), x1 + 2), max(round(box_xyxy[3]), y1 + 2)
    whole = image[y1:y2, x1:x2]
    across, down, side = (x2 - x1) // 2, (y2 - y1) // 2, max(x2 - x1, y2 - y1)
    halves = (whole[:, :across], whole[:, across:], whole[:down], whole[down:])
    return [np.asarray(Image.fromarray(half).resize((side, side))) for half in halves]
