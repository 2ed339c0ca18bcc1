"""Images with boxes under a line of text, in rows: for looking at samples, priors and predictions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import wrap

from PIL import Image, ImageDraw

from shards.schema import Sample
from workflows.reports.plot_style import COLORS

TILE_PX = 200
CAPTION_PX = 34
LINE_CHARACTERS = 33
TRUTH, PREDICTED, DISTRACTOR = (0, 150, 60), (255, 0, 90), (240, 160, 0)
Box = tuple[float, float, float, float]
"""xyxy in pixels."""

Boxes = Sequence[tuple[Box, tuple[int, int, int]]]
MIN_SHOWN_PX = 320
"""Smaller images are enlarged by a whole number, so that their pixels stay what they are."""


def decode_sample(sample: Sample) -> Image.Image:
    return decode_image(sample.image)


def decode_image(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def draw_named_boxes(image: Image.Image, boxes: Sequence[tuple[Box, str]]) -> Image.Image:
    """A image with named boxes, its longer side at least about ``MIN_SHOWN_PX``."""
    zoom = max(1, round(MIN_SHOWN_PX / max(image.size)))
    shown = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    draw, width = ImageDraw.Draw(shown), max(2, max(shown.size) // 160)
    for i, (box, name) in enumerate(boxes):
        x1, y1, x2, y2 = (value * zoom for value in box)
        draw.rectangle((x1, y1, x2, y2), outline=COLORS[i % len(COLORS)], width=width)
        draw.text((x1 + width + 2, y1 + width), name, fill="white", stroke_width=2, stroke_fill="black")
    return shown


def shrink_image(image: Image.Image, max_px: int) -> Image.Image:
    """The image, its longer side at most ``max_px``."""
    scale = min(1.0, max_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)


def scale_box(box: Box, image: Image.Image, shown: Image.Image) -> Box:
    """A box of ``image`` in pixels of ``shown``, the same image in another size."""
    x_scale, y_scale = shown.width / image.width, shown.height / image.height
    return (box[0] * x_scale, box[1] * y_scale, box[2] * x_scale, box[3] * y_scale)


def make_tile(image: Image.Image, caption: str, boxes: Boxes = ()) -> Image.Image:
    """A image that fills a square of ``TILE_PX``, its boxes, and two lines of text above."""
    zoom = TILE_PX / max(image.size)
    resampling = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.LANCZOS
    shown = image.resize((round(image.width * zoom), round(image.height * zoom)), resampling)
    draw = ImageDraw.Draw(shown)
    for box, color in boxes:
        draw.rectangle(tuple(value * zoom for value in box), outline=color, width=3)
    canvas = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), "white")
    lines = [part for line in caption.splitlines() for part in wrap(line, LINE_CHARACTERS)]
    ImageDraw.Draw(canvas).text((3, 2), "\n".join(lines[:2]), fill="black", font_size=12)
    canvas.paste(shown, (0, CAPTION_PX))
    return canvas


def make_sheet(tiles: Sequence[Image.Image], columns: int = 6) -> Image.Image:
    """Tiles in rows."""
    width, height = TILE_PX + 6, TILE_PX + CAPTION_PX + 6
    canvas = Image.new("RGB", (columns * width, max(1, -(-len(tiles) // columns)) * height), "white")
    for i, one in enumerate(tiles):
        canvas.paste(one, ((i % columns) * width, (i // columns) * height))
    return canvas
