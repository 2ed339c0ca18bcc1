"""Pictures with boxes under a line of text, in rows: for looking at samples, priors and predictions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import wrap

from PIL import Image, ImageDraw

from shards.schema import Sample
from workflows.reports.plot_style import COLOURS

TILE_PX = 200
CAPTION_PX = 34
LINE_CHARACTERS = 33
TRUTH, PREDICTED, RIVAL = (0, 150, 60), (255, 0, 90), (240, 160, 0)
Box = tuple[float, float, float, float]
"""xyxy in pixels."""

Boxes = Sequence[tuple[Box, tuple[int, int, int]]]
LEAST_SHOWN_PX = 320
"""Smaller pictures are enlarged by a whole number, so that their pixels stay what they are."""


def picture_of(sample: Sample) -> Image.Image:
    return decoded(sample.image)


def decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def boxed(picture: Image.Image, boxes: Sequence[tuple[Box, str]]) -> Image.Image:
    """A picture with named boxes, its longer side at least about ``LEAST_SHOWN_PX``."""
    zoom = max(1, round(LEAST_SHOWN_PX / max(picture.size)))
    shown = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    draw, width = ImageDraw.Draw(shown), max(2, max(shown.size) // 160)
    for i, (box, name) in enumerate(boxes):
        x1, y1, x2, y2 = (value * zoom for value in box)
        draw.rectangle((x1, y1, x2, y2), outline=COLOURS[i % len(COLOURS)], width=width)
        draw.text((x1 + width + 2, y1 + width), name, fill="white", stroke_width=2, stroke_fill="black")
    return shown


def shrunk(picture: Image.Image, most_px: int) -> Image.Image:
    """The picture, its longer side at most ``most_px``."""
    scale = min(1.0, most_px / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)


def scaled(box: Box, picture: Image.Image, shown: Image.Image) -> Box:
    """A box of ``picture`` in pixels of ``shown``, the same picture in another size."""
    across, down = shown.width / picture.width, shown.height / picture.height
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)


def tile(picture: Image.Image, caption: str, boxes: Boxes = ()) -> Image.Image:
    """A picture that fills a square of ``TILE_PX``, its boxes, and two lines of text above."""
    zoom = TILE_PX / max(picture.size)
    resampling = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.LANCZOS
    shown = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), resampling)
    draw = ImageDraw.Draw(shown)
    for box, colour in boxes:
        draw.rectangle(tuple(value * zoom for value in box), outline=colour, width=3)
    whole = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), "white")
    lines = [part for line in caption.splitlines() for part in wrap(line, LINE_CHARACTERS)]
    ImageDraw.Draw(whole).text((3, 2), "\n".join(lines[:2]), fill="black", font_size=12)
    whole.paste(shown, (0, CAPTION_PX))
    return whole


def sheet(tiles: Sequence[Image.Image], columns: int = 6) -> Image.Image:
    """Tiles in rows."""
    width, height = TILE_PX + 6, TILE_PX + CAPTION_PX + 6
    whole = Image.new("RGB", (columns * width, max(1, -(-len(tiles) // columns)) * height), "white")
    for i, one in enumerate(tiles):
        whole.paste(one, ((i % columns) * width, (i // columns) * height))
    return whole
