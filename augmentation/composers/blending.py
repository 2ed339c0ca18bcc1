"""Blending of cut-outs into an image, and the visible part of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from augmentation.composers.composed import RgbImage
from augmentation.composers.cutouts import OPAQUE_ALPHA
from pipeline import LimitedConfig, NotNegativeFloat, Range, Share
from shards.boxes import Box

Pixels = npt.NDArray[np.float32]
"""(height, width, 3), RGB, 0 to 255."""

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""Rec. 601's weights of red, green and blue."""


_TOP_SHARE = 0.08
"""Share of a cut-out's height that counts as its upper edge."""


@dataclass(frozen=True, kw_only=True)
class BlendConfig(LimitedConfig):
    """Strength of blending; the limits keep a red cup red and a white one white."""

    feather_px: NotNegativeFloat = 0.8
    """Softness of edges in pixels, which also removes rests of the old background. 0 leaves edges as they are."""

    lighting: Share = 0.5
    """Share of the difference in brightness and contrast that is compensated, in [0, 1]."""

    max_shift: NotNegativeFloat = 28.0
    """Maximum change of brightness, of 255."""

    max_contrast: Annotated[float, Range(1)] = 1.25
    """Maximum factor of contrast, and inverse of the minimum."""

    cast: Share = 0.3
    """Share of the surroundings' difference in hue that objects take on, in [0, 1]."""

    max_cast: NotNegativeFloat = 8.0
    """Maximum change of one color channel by the cast, of 255."""

    shadow: Share = 0.45
    """Darkness of the soft shadow under objects on a ground, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class PlacedCutout:
    """A cut-out with the size and position at which it is pasted."""

    left: int
    top: int
    colors: Pixels
    alpha: npt.NDArray[np.uint8]
    """Opacity, (height, width), of 255."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Return its rows and columns in the image."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True, kw_only=True)
class VisiblePart:
    """Visible part of an object after all are pasted."""

    box_xyxy: Box | None
    """Box around its pixels that are at least half opaque and not covered by later objects; None if there are none."""

    share: float
    """Visible share of its pixels, in [0, 1]."""


def fit_cutout(cutout: Image.Image, box: Box, size: tuple[int, int], config: BlendConfig) -> PlacedCutout:
    """Scale a cut-out to a box, rounded to whole pixels inside an image of (width, height)."""
    width = min(max(1, round(box[2] - box[0])), size[0])
    height = min(max(1, round(box[3] - box[1])), size[1])
    scaled = cutout.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return PlacedCutout(
        left=min(max(0, round(box[0])), size[0] - width),
        top=min(max(0, round(box[1])), size[1] - height),
        colors=np.asarray(scaled.convert("RGB"), np.float32),
        alpha=_apply_feather(scaled.getchannel("A"), config.feather_px),
    )


def _apply_feather(alpha: Image.Image, radius_px: float) -> npt.NDArray[np.uint8]:
    """Soften the edge inwards: the old edge becomes transparent, which removes rests of the old background."""
    if not radius_px:
        return np.asarray(alpha)
    margin = math.ceil(3 * radius_px)
    padded = Image.new("L", (alpha.width + 2 * margin, alpha.height + 2 * margin))
    padded.paste(alpha, (margin, margin))
    blurred = padded.filter(ImageFilter.GaussianBlur(radius_px)).crop(
        (margin, margin, margin + alpha.width, margin + alpha.height)
    )
    inwards = 2 * np.asarray(blurred, np.int16) - 255
    return np.asarray(np.minimum(inwards.clip(0, 255), np.asarray(alpha)), np.uint8)


def find_visible_parts(objects: Sequence[PlacedCutout], size: tuple[int, int]) -> list[VisiblePart]:
    """Find the visible part of each object in an image of (width, height); each covers those before it."""
    owner = np.full((size[1], size[0]), -1, np.int16)
    for i, obj in enumerate(objects):
        owner[obj.window][obj.alpha >= OPAQUE_ALPHA] = i
    return [_measure_visible(owner[obj.window] == i, obj) for i, obj in enumerate(objects)]


def find_top_span(cutout: Image.Image) -> tuple[float, float]:
    """Find start and end of a cut-out's upper edge, as shares of its width."""
    opaque = np.asarray(cutout.getchannel("A")) >= OPAQUE_ALPHA
    columns = np.flatnonzero(opaque[: max(1, round(_TOP_SHARE * cutout.height))].any(0))
    if not len(columns):
        return 0.0, 0.0
    return float(columns[0] / cutout.width), float((columns[-1] + 1) / cutout.width)


def is_standing_on(obj: PlacedCutout, support: PlacedCutout) -> bool:
    """Return whether at least half of the pixels at the object's foot lie on the support."""
    opaque = obj.alpha >= OPAQUE_ALPHA
    foot = np.flatnonzero(opaque.any(1))[-1]
    rows, columns = np.full(opaque[foot].sum(), foot) + obj.top, np.flatnonzero(opaque[foot]) + obj.left
    rows, columns = rows - support.top, columns - support.left
    height, width = support.alpha.shape
    is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    on = support.alpha[rows[is_inside], columns[is_inside]] >= OPAQUE_ALPHA
    return bool(2 * on.sum() >= len(rows))


def _measure_visible(seen: npt.NDArray[np.bool_], obj: PlacedCutout) -> VisiblePart:
    if not seen.any():
        return VisiblePart(box_xyxy=None, share=0.0)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    x1, y1, x2, y2 = map(float, edges)
    box = (obj.left + x1, obj.top + y1, obj.left + x2, obj.top + y2)
    return VisiblePart(box_xyxy=box, share=float(seen.sum() / (obj.alpha >= OPAQUE_ALPHA).sum()))


def blend_objects(
    background: Image.Image, objects: Sequence[PlacedCutout], *, on_ground: bool, config: BlendConfig
) -> RgbImage:
    """Paste the objects on the background, in their order.

    Args:
        background: RGB image.
        objects: scaled cut-outs.
        on_ground: whether the objects stand on a ground and cast shadows.
        config: strength of blending.
    """
    surroundings = np.asarray(background, np.float32)
    image = surroundings.copy()
    for obj in objects:
        if on_ground and config.shadow:
            _draw_shadow(image, obj, config.shadow)
        opacity = obj.alpha[..., None].astype(np.float32) / 255
        window = image[obj.window]
        window += opacity * (_adjust_lighting(obj, surroundings, config) - window)
    return np.asarray(image.round().clip(0, 255), np.uint8)


def _adjust_lighting(obj: PlacedCutout, surroundings: Pixels, config: BlendConfig) -> Pixels:
    """Move the object's colors towards the brightness, contrast and hue around it.

    As in color transfer between images (Reinhard et al., 2001), mean and spread are matched, but only in part.
    """
    around = _crop_surroundings(obj, surroundings)
    own = obj.colors[obj.alpha >= OPAQUE_ALPHA]
    if not len(own):
        return obj.colors
    mean, mean_around = own.mean(0), around.mean(0)
    bright, bright_around = own @ _LUMA, around @ _LUMA
    shift = config.lighting * float(bright_around.mean() - bright.mean())
    ratio = (float(bright_around.std()) + 1) / (float(bright.std()) + 1)
    contrast = min(max(ratio**config.lighting, 1 / config.max_contrast), config.max_contrast)
    hue = (mean_around - bright_around.mean()) - (mean - bright.mean())
    cast = (config.cast * hue).clip(-config.max_cast, config.max_cast)
    lit = (obj.colors - mean) * contrast + mean + min(max(shift, -config.max_shift), config.max_shift) + cast
    return np.asarray(lit.clip(0, 255), np.float32)


def _crop_surroundings(obj: PlacedCutout, surroundings: Pixels) -> Pixels:
    """Crop the background around the object, half its size further to every side, to (pixels, 3)."""
    height, width = obj.alpha.shape
    top, left = max(0, obj.top - height // 2), max(0, obj.left - width // 2)
    around = surroundings[top : obj.top + height + height // 2, left : obj.left + width + width // 2]
    return around.reshape(-1, 3)


def _draw_shadow(image: Pixels, obj: PlacedCutout, darkness: float) -> None:
    """Draw a soft flat ellipse below the object, the shadow under diffuse light."""
    height, width = obj.alpha.shape
    columns = np.flatnonzero((obj.alpha[-max(1, height // 8) :] >= OPAQUE_ALPHA).any(0))
    if not len(columns):
        return
    center_x = obj.left + (columns[0] + columns[-1]) / 2
    half = (0.55 * (columns[-1] - columns[0] + 1), max(1.0, 0.07 * min(width, height)))
    foot = obj.top + height - 0.6 * half[1]
    margin = math.ceil(2 * half[1])
    x1, x2 = max(0, int(center_x - half[0]) - margin), min(image.shape[1], int(center_x + half[0]) + margin + 1)
    y1, y2 = max(0, int(foot - half[1]) - margin), min(image.shape[0], int(foot + half[1]) + margin + 1)
    y, x = np.mgrid[y1:y2, x1:x2]
    inside = (((x - center_x) / half[0]) ** 2 + ((y - foot) / half[1]) ** 2 <= 1).astype(np.float32)
    shadow = cv2.GaussianBlur(inside, (0, 0), max(0.5, 0.6 * half[1]))
    image[y1:y2, x1:x2] *= 1 - darkness * shadow[..., None]
