"""Verification scores and attention as pictures: what the network looked at, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw

from trainer.explain import Explanation, Map
from workflows.visualization.tiles import PREDICTED, Box, boxed, scaled, sheet, shrunk, tile

HEAT = colormaps["cividis"]
"""Equally readable with every kind of colour vision, and in grey."""

OPACITY = 0.65
MOST_SHOWN_PX = 1280


@dataclass(frozen=True, kw_only=True)
class View:
    """One picture of what the network looked at, and the box that belongs to it."""

    picture: Image.Image
    caption: str
    box_xyxy: Box | None = None

    @property
    def boxes(self) -> list[Box]:
        return [] if self.box_xyxy is None else [self.box_xyxy]

    def drawn(self) -> Image.Image:
        """The picture with its box."""
        return boxed(self.picture, [(box, "") for box in self.boxes])


def views(picture: Image.Image, explanation: Explanation) -> list[View]:
    """The picture with its box, the verification score, and each stage's attention with that stage's box; each at most
    ``MOST_SHOWN_PX`` wide and high."""
    prediction, shown = explanation.prediction, shrunk(picture, MOST_SHOWN_PX)

    def under(values: Map) -> Image.Image:
        return heated(shown, explanation.over_picture(values, picture.size, shown.size))

    box = scaled(prediction.box_xyxy, picture, shown)
    made = [View(picture=shown, caption=prediction.phrase, box_xyxy=box)]
    made.append(View(picture=under(explanation.verification), caption="verification score"))
    stages = zip(explanation.attention, prediction.stages_xyxy, strict=True)
    for number, (values, of_stage) in enumerate(stages, 1):
        caption = f"stage {number}: attention and box"
        made.append(View(picture=under(values), caption=caption, box_xyxy=scaled(of_stage, picture, shown)))
    return made


def explained(picture: Image.Image, explanation: Explanation) -> Image.Image:
    """All views on one sheet."""
    shown = views(picture, explanation)
    return sheet([tile(one.picture, one.caption, [(box, PREDICTED) for box in one.boxes]) for one in shown], columns=4)


def heated(picture: Image.Image, values: npt.NDArray[np.float32]) -> Image.Image:
    """A picture in grey under a map, whose largest value is the brightest, with a scale at its foot."""
    least, most = float(values.min()), float(values.max())
    shares = (values - least) / (most - least) if most > least else np.zeros_like(values)
    colours = Image.fromarray((HEAT(shares, bytes=True))[..., :3])
    blended = Image.blend(picture.convert("L").convert("RGB"), colours, OPACITY)
    _draw_scale(blended)
    return blended


def _draw_scale(picture: Image.Image) -> None:
    height = max(2, picture.height // 40)
    draw = ImageDraw.Draw(picture)
    for x in range(picture.width):
        red, green, blue = (round(255 * share) for share in HEAT(x / max(1, picture.width - 1))[:3])
        draw.line((x, picture.height - height, x, picture.height), fill=(red, green, blue))
