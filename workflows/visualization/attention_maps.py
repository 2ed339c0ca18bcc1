"""Verification scores and attention of the network as images, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from shards.tiles import PREDICTED, Box, make_sheet, make_tile
from workflows.visualization.annotated_images import draw_named_boxes, scale_box, shrink_image

if TYPE_CHECKING:
    from trainer.explain import Explanation, Map

HEAT = "cividis"
"""Color map that is readable with any color vision and in gray."""

OPACITY = 0.65
MAX_SHOWN_PX = 1280


@dataclass(frozen=True, kw_only=True)
class View:
    """Image of a map of the network, with its box."""

    image: Image.Image
    caption: str
    box_xyxy: Box | None = None

    @property
    def boxes(self) -> list[Box]:
        return [] if self.box_xyxy is None else [self.box_xyxy]

    def draw(self) -> Image.Image:
        """Draw the image with its box."""
        return draw_named_boxes(self.image, [(box, "") for box in self.boxes])


def make_views(image: Image.Image, explanation: Explanation) -> list[View]:
    """Return the image with its box, the verification score, and each stage's attention and box.

    The sides of the images are at most ``MAX_SHOWN_PX``.
    """
    prediction, shown = explanation.prediction, shrink_image(image, MAX_SHOWN_PX)

    def blend_map(values: Map) -> Image.Image:
        return blend_heat_map(shown, explanation.project_to_image(values, image.size, shown.size))

    box = scale_box(prediction.box_xyxy, image, shown)
    result = [View(image=shown, caption=prediction.query, box_xyxy=box)]
    result.append(View(image=blend_map(explanation.verification), caption="verification score"))
    stages = zip(explanation.attention, prediction.stages_xyxy, strict=True)
    for number, (values, stage_box) in enumerate(stages, 1):
        caption = f"stage {number}: attention and box"
        result.append(View(image=blend_map(values), caption=caption, box_xyxy=scale_box(stage_box, image, shown)))
    return result


def draw_attention_overview(image: Image.Image, explanation: Explanation) -> Image.Image:
    """Draw all views on one sheet."""
    shown = make_views(image, explanation)
    return make_sheet(
        [make_tile(one.image, one.caption, [(box, PREDICTED) for box in one.boxes]) for one in shown], columns=4
    )


def blend_heat_map(image: Image.Image, values: npt.NDArray[np.float32]) -> Image.Image:
    """Blend a gray image with a map, whose maximum is brightest, and a color scale at the bottom."""
    from matplotlib import colormaps

    lowest, highest = float(values.min()), float(values.max())
    shares = (values - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(values)
    colors = Image.fromarray(colormaps[HEAT](shares, bytes=True)[..., :3])
    blended = Image.blend(image.convert("L").convert("RGB"), colors, OPACITY)
    _draw_scale(blended)
    return blended


def _draw_scale(image: Image.Image) -> None:
    from matplotlib import colormaps

    height = max(2, image.height // 40)
    draw = ImageDraw.Draw(image)
    for x in range(image.width):
        red, green, blue = (round(255 * share) for share in colormaps[HEAT](x / max(1, image.width - 1))[:3])
        draw.line((x, image.height - height, x, image.height), fill=(red, green, blue))
