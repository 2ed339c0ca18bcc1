"""Images with named boxes, in a size to show."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from shards.tiles import Box, draw_boxes
from workflows.reports.plot_style import COLORS

MIN_SHOWN_PX = 320
"""Side to which smaller images are enlarged, by a whole number, so that their pixels stay sharp."""


def draw_named_boxes(image: Image.Image, boxes: Sequence[tuple[Box, str]]) -> Image.Image:
    """Return an image with named boxes in different colors, its longer side about ``MIN_SHOWN_PX`` or more."""
    zoom = max(1, round(MIN_SHOWN_PX / max(image.size)))
    shown = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    colored = ((box, COLORS[i % len(COLORS)], name) for i, (box, name) in enumerate(boxes))
    draw_boxes(shown, colored, zoom, width_px=max(2, max(shown.size) // 160))
    return shown


def shrink_image(image: Image.Image, max_px: int) -> Image.Image:
    """Return the image with its longer side at most ``max_px``."""
    scale = min(1.0, max_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)


def scale_box(box: Box, image: Image.Image, shown: Image.Image) -> Box:
    """Scale a box from pixels of ``image`` to those of ``shown``, the same image in another size."""
    x_scale, y_scale = shown.width / image.width, shown.height / image.height
    return (box[0] * x_scale, box[1] * y_scale, box[2] * x_scale, box[3] * y_scale)
