"""Verification scores and attention as pictures: what the network looked at, stage by stage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw

from trainer.explain import Explanation
from workflows.tiles import PREDICTED, sheet, tile

HEAT = colormaps["cividis"]
"""Equally readable with every kind of colour vision, and in grey."""

OPACITY = 0.65


def explained(picture: Image.Image, explanation: Explanation) -> Image.Image:
    """A sheet: the picture with its box, the verification score, and each stage's attention with that stage's box."""
    prediction = explanation.prediction
    verification = explanation.over_picture(explanation.verification, picture.size)
    tiles = [
        tile(picture, prediction.phrase, [(prediction.box_xyxy, PREDICTED)]),
        tile(heated(picture, verification), "verification score"),
    ]
    for number, (values, box) in enumerate(zip(explanation.attention, prediction.stages_xyxy, strict=True), 1):
        heat = heated(picture, explanation.over_picture(values, picture.size))
        tiles.append(tile(heat, f"attention and box of stage {number}", [(box, PREDICTED)]))
    return sheet(tiles, columns=4)


def heated(picture: Image.Image, values: npt.NDArray[np.float32]) -> Image.Image:
    """A picture in grey under a map, whose largest value is the brightest, with a scale at its foot."""
    least, most = float(values.min()), float(values.max())
    shares = (values - least) / (most - least) if most > least else np.zeros_like(values)
    colours = Image.fromarray((HEAT(shares)[..., :3] * 255).astype(np.uint8))
    blended = Image.blend(picture.convert("L").convert("RGB"), colours, OPACITY)
    _draw_scale(blended)
    return blended


def _draw_scale(picture: Image.Image) -> None:
    height = max(2, picture.height // 40)
    draw = ImageDraw.Draw(picture)
    for x in range(picture.width):
        red, green, blue = (round(255 * share) for share in HEAT(x / max(1, picture.width - 1))[:3])
        draw.line((x, picture.height - height, x, picture.height), fill=(red, green, blue))
