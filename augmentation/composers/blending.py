"""Putting cut-outs into a picture so that they look as if they belonged there, and what of each is then to be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from augmentation.composers.composed import Picture
from augmentation.composers.cutouts import HALF
from shards.schema import Box

Pixels = npt.NDArray[np.float32]
"""(height, width, 3), RGB, 0 to 255."""

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""Rec. 601's weights of red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class BlendConfig:
    """How far a thing is changed to look like its surroundings; limits keep a red cup red and a white one white."""

    feather_px: float = 0.8
    """Softness of edges; what the outline took along of the old background goes with it. 0 leaves edges as they are."""

    lighting: float = 0.5
    """Share of the difference in brightness and contrast that is made up for."""

    most_shift: float = 28.0
    """Change of brightness, of 255."""

    most_contrast: float = 1.25
    """Factor, or its inverse, by which contrast may change."""

    cast: float = 0.3
    """Share of the difference in hue of the surroundings that things take on."""

    most_cast: float = 8.0
    """Change of one colour channel by it, of 255."""

    shadow: float = 0.45
    """Darkness of the soft shadow under things that stand on a ground."""

    def __post_init__(self) -> None:
        for name in ("lighting", "cast", "shadow"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if min(self.feather_px, self.most_shift, self.most_cast) < 0 or self.most_contrast < 1:
            raise ValueError(
                "feather_px, most_shift and most_cast must not be negative and most_contrast at least 1, "
                f"got {self.feather_px}, {self.most_shift}, {self.most_cast} and {self.most_contrast}"
            )


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A thing of the size and at the place that it is pasted with."""

    left: int
    top: int
    colours: Pixels
    alpha: npt.NDArray[np.uint8]
    """(height, width)"""

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns in the picture."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True, kw_only=True)
class Visible:
    """What is to be seen of a thing once all are pasted."""

    box_xyxy: Box | None
    """Around the pixels at least half opaque that no later thing covers; None where there is none."""

    share: float
    """Of its pixels, in [0, 1]."""


def placed(cutout: Image.Image, box: Box, size: tuple[int, int], config: BlendConfig) -> Placed:
    """A cut-out scaled to a box, which is rounded to whole pixels inside the picture of (width, height)."""
    width = min(max(1, round(box[2] - box[0])), size[0])
    height = min(max(1, round(box[3] - box[1])), size[1])
    scaled = cutout.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Placed(
        left=min(max(0, round(box[0])), size[0] - width),
        top=min(max(0, round(box[1])), size[1] - height),
        colours=np.asarray(scaled.convert("RGB"), np.float32),
        alpha=_feathered(scaled.getchannel("A"), config.feather_px),
    )


def _feathered(alpha: Image.Image, radius_px: float) -> npt.NDArray[np.uint8]:
    """Softer and drawn inwards: the old edge becomes fully transparent, so none of what was behind it comes along."""
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


def visible_parts(things: Sequence[Placed], size: tuple[int, int]) -> list[Visible]:
    """What is to be seen of each thing in a picture of (width, height), where each covers those before it."""
    owner = np.full((size[1], size[0]), -1, np.int16)
    for i, thing in enumerate(things):
        owner[thing.window][thing.alpha >= HALF] = i
    return [_visible(owner[thing.window] == i, thing) for i, thing in enumerate(things)]


def _visible(seen: npt.NDArray[np.bool_], thing: Placed) -> Visible:
    if not seen.any():
        return Visible(box_xyxy=None, share=0.0)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    x1, y1, x2, y2 = map(float, edges)
    box = (thing.left + x1, thing.top + y1, thing.left + x2, thing.top + y2)
    return Visible(box_xyxy=box, share=float(seen.sum() / (thing.alpha >= HALF).sum()))


def blended(background: Image.Image, things: Sequence[Placed], *, on_ground: bool, config: BlendConfig) -> Picture:
    """The things on the background, in their order.

    Args:
        on_ground: they stand on something, and darken it.
    """
    surroundings = np.asarray(background, np.float32)
    picture = surroundings.copy()
    for thing in things:
        if on_ground and config.shadow:
            _darken_under(picture, thing, config.shadow)
        opacity = thing.alpha[..., None].astype(np.float32) / 255
        window = picture[thing.window]
        window += opacity * (_lit(thing, surroundings, config) - window)
    return np.asarray(picture.round().clip(0, 255), np.uint8)


def _lit(thing: Placed, surroundings: Pixels, config: BlendConfig) -> Pixels:
    """The thing's colours, moved towards the brightness, contrast and hue around it.

    As in colour transfer between images (Reinhard et al., 2001), mean and spread are matched, but only in part.
    """
    around = _around(thing, surroundings)
    own = thing.colours[thing.alpha >= HALF]
    if not len(own):
        return thing.colours
    mean, mean_around = own.mean(0), around.mean(0)
    bright, bright_around = own @ _LUMA, around @ _LUMA
    shift = config.lighting * float(bright_around.mean() - bright.mean())
    ratio = (float(bright_around.std()) + 1) / (float(bright.std()) + 1)
    contrast = min(max(ratio**config.lighting, 1 / config.most_contrast), config.most_contrast)
    hue = (mean_around - bright_around.mean()) - (mean - bright.mean())
    cast = (config.cast * hue).clip(-config.most_cast, config.most_cast)
    lit = (thing.colours - mean) * contrast + mean + min(max(shift, -config.most_shift), config.most_shift) + cast
    return np.asarray(lit.clip(0, 255), np.float32)


def _around(thing: Placed, surroundings: Pixels) -> Pixels:
    """(pixels, 3): the background in a box half as large again as the thing's to every side."""
    height, width = thing.alpha.shape
    top, left = max(0, thing.top - height // 2), max(0, thing.left - width // 2)
    around = surroundings[top : thing.top + height + height // 2, left : thing.left + width + width // 2]
    return around.reshape(-1, 3)


def _darken_under(picture: Pixels, thing: Placed, darkness: float) -> None:
    """A soft flat ellipse where the thing stands: the shadow of the sky's light, whatever the sun does."""
    height, width = thing.alpha.shape
    columns = np.flatnonzero((thing.alpha[-max(1, height // 8) :] >= HALF).any(0))
    if not len(columns):
        return
    middle = thing.left + (columns[0] + columns[-1]) / 2
    half = (0.55 * (columns[-1] - columns[0] + 1), max(1.0, 0.07 * min(width, height)))
    foot = thing.top + height - 0.6 * half[1]
    margin = math.ceil(2 * half[1])
    x1, x2 = max(0, int(middle - half[0]) - margin), min(picture.shape[1], int(middle + half[0]) + margin + 1)
    y1, y2 = max(0, int(foot - half[1]) - margin), min(picture.shape[0], int(foot + half[1]) + margin + 1)
    y, x = np.mgrid[y1:y2, x1:x2]
    inside = (((x - middle) / half[0]) ** 2 + ((y - foot) / half[1]) ** 2 <= 1).astype(np.float32)
    shadow = cv2.GaussianBlur(inside, (0, 0), max(0.5, 0.6 * half[1]))
    picture[y1:y2, x1:x2] *= 1 - darkness * shadow[..., None]
