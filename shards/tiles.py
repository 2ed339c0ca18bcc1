"""Images with boxes and a caption, arranged on sheets: views of samples, scenes, priors and predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap

from PIL import Image, ImageDraw

Box = tuple[float, float, float, float]
"""Box as xyxy in pixels."""

Color = str | tuple[int, int, int]

TILE_PX = 200
LINE_PX, GAP_PX = 15, 6
CHARACTERS_PER_PX = 0.165
TRUTH, PREDICTED, DISTRACTOR = (0, 150, 60), (255, 0, 90), (240, 160, 0)


def draw_boxes(
    image: Image.Image, boxes: Iterable[tuple[Box, Color, str]], zoom: float = 1.0, width_px: int = 3
) -> None:
    """Draw boxes with their labels on an image.

    Args:
        image: image to draw on.
        boxes: box, color of its outline and label; the label may be empty.
        zoom: factor from the pixels of the boxes to those of ``image``.
        width_px: width of the outlines.
    """
    draw = ImageDraw.Draw(image)
    for box, color, label in boxes:
        x1, y1, x2, y2 = (value * zoom for value in box)
        draw.rectangle((x1, y1, x2, y2), outline=color, width=width_px)
        if label:
            draw.text((x1 + width_px + 2, y1 + width_px), label, fill="white", stroke_width=2, stroke_fill="black")


def make_tile(
    image: Image.Image,
    caption: str,
    boxes: Iterable[tuple[Box, Color]] = (),
    *,
    side_px: int = TILE_PX,
    num_lines: int = 2,
) -> Image.Image:
    """Return an image that fills a square, with its boxes, below its caption.

    Args:
        image: image of any size.
        caption: text; each of its lines is wrapped to at most two.
        boxes: boxes in pixels of ``image``, with their colors.
        side_px: side of the square.
        num_lines: height of the caption in lines of text; further lines are cut.
    """
    zoom = side_px / max(image.size)
    resampling = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.LANCZOS
    shown = image.convert("RGB").resize((round(image.width * zoom), round(image.height * zoom)), resampling)
    draw_boxes(shown, ((box, color, "") for box, color in boxes), zoom)
    caption_px = num_lines * LINE_PX + (4 if num_lines else 0)
    canvas = Image.new("RGB", (side_px, side_px + caption_px), "white")
    width = round(side_px * CHARACTERS_PER_PX)
    lines = [part for line in caption.splitlines() for part in wrap(line, width, max_lines=2, placeholder=" …")]
    ImageDraw.Draw(canvas).text((3, 2), "\n".join(lines[:num_lines]), fill="black", font_size=12)
    canvas.paste(shown, (0, caption_px))
    return canvas


def make_sheet(tiles: Sequence[Image.Image], columns: int = 6) -> Image.Image:
    """Return tiles of one size in rows; without tiles, an empty row."""
    width, height = tiles[0].size if tiles else (TILE_PX, TILE_PX)
    columns = min(columns, max(1, len(tiles)))
    rows = max(1, -(-len(tiles) // columns))
    canvas = Image.new("RGB", (columns * (width + GAP_PX), rows * (height + GAP_PX)), "white")
    for i, tile in enumerate(tiles):
        canvas.paste(tile, ((i % columns) * (width + GAP_PX), (i // columns) * (height + GAP_PX)))
    return canvas
