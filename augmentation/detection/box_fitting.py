"""Fitting of detected boxes to what is known of an image: its pasted objects, or its plain background.

A detector may cut off a pale or narrow part, such as the stem of a mushroom. Queries withstand 3 % of box noise only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from augmentation.composers.composed import RgbImage
from augmentation.detection.detected import DetectedScene
from pipeline import MapStage, Rejected, Resources
from shards.boxes import Box, iou

MIN_DISTANCE = 30
"""Minimum difference of a pixel from the background, summed over the channels. In images of the miniature Stable
Diffusion, 99.5 % of the background differ by 11 at most."""

MIN_COMPONENT_PX = 4
"""Minimum number of pixels of a component; smaller ones are noise."""

OUTER_SHARE, INNER_SHARE = 0.1, 0.7
"""Differences from the background, as shares of that of the object's outline, between which its edge lies."""

MIN_IOU = 0.75
"""Minimum IoU of a detected box with the fitted one; below it they may be of different objects."""

_BORDER_SHARE = 0.1
_QUANTUM = 24

Distances = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]


class FitBoxesStage(MapStage[DetectedScene, DetectedScene]):
    """Stage that moves the edges of detected boxes to the edges of the objects, on a plain background.

    Each edge moves into the outline of the object's connected component. The scene is rejected if a component belongs
    to no detection, or to two of them. The boxes of pasted scenes are exact already.

    Args:
        plain_background: whether images have one or two background colors, as those of the miniature world.
    """

    resources = Resources(num_cpus=1)

    def __init__(self, *, plain_background: bool) -> None:
        self._plain_background = plain_background

    def process_item(self, detected: DetectedScene) -> DetectedScene | Rejected:
        is_exact = detected.composed.composer == "pasted"
        if is_exact or not self._plain_background or not all(one.is_confident for one in detected.detections):
            return detected
        fitted = fit_to_components(detected.composed.image, [one.box_xyxy for one in detected.detections])
        if isinstance(fitted, str):
            return detected.reject("unclear_outline", fitted)
        pairs = zip(detected.detections, fitted, strict=True)
        return replace(detected, detections=tuple(replace(one, box_xyxy=box) for one, box in pairs))


def fit_to_components(image: RgbImage, boxes: Sequence[Box]) -> list[Box] | str:
    """Fit each box to the components that lie mostly inside it; return what is unclear if that fails."""
    from scipy import ndimage

    distance = compute_background_distance(image)
    labels: Labels = ndimage.label(distance > MIN_DISTANCE, np.ones((3, 3)))[0]
    areas = np.bincount(labels.ravel())
    inside = np.array([_count_inside(labels, box, len(areas)) for box in boxes]).reshape(len(boxes), len(areas))
    components = [i for i in range(1, len(areas)) if areas[i] >= MIN_COMPONENT_PX]
    owners = {i: np.flatnonzero(inside[:, i] >= areas[i] / 2) for i in components}
    if stray := [i for i in components if not len(owners[i])]:
        return f"{areas[stray].max()} px of an object lie outside every box"
    fitted = []
    for k, box in enumerate(boxes):
        own = [i for i in components if k in owners[i]]
        others = np.delete(inside, k, axis=0)
        if not own or (others[:, own] >= MIN_COMPONENT_PX).any():
            return f"the object at {tuple(round(edge, 1) for edge in box)} has no outline of its own"
        fitted.append(_clip_to_outline(box, np.where(np.isin(labels, own), distance, 0)))
        if iou(box, fitted[-1]) < MIN_IOU:
            return f"the box {tuple(round(edge, 1) for edge in box)} does not hold the whole object"
    return fitted


def compute_background_distance(image: RgbImage) -> Distances:
    """Compute the difference of each pixel from the background, (height, width), summed over the channels.

    The background's colors are the one or two most frequent of the border. Mixtures of both are background, too.
    """
    pixels = image.astype(np.float64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    _, groups, counts = np.unique(border // _QUANTUM, axis=0, return_inverse=True, return_counts=True)
    frequent = [i for i in np.argsort(-counts, kind="stable")[:2] if counts[i] >= _BORDER_SHARE * len(border)]
    first, last = (np.median(border[groups.ravel() == frequent[i]], axis=0) for i in (0, -1))
    line = last - first
    along = ((pixels - first) @ line / max(float(line @ line), 1.0)).clip(0, 1)
    distance: Distances = np.abs(pixels - (first + along[..., None] * line)).sum(2)
    return distance


def _count_inside(labels: Labels, box: Box, num_labels: int) -> npt.NDArray[np.int64]:
    x1, y1, x2, y2 = (round(edge) for edge in box)
    return np.bincount(labels[y1:y2, x1:x2].ravel(), minlength=num_labels)


def _clip_to_outline(box: Box, distance: Distances) -> Box:
    """Move each edge to the nearest position within the outline of the object's pixels."""
    outer, inner = (_find_extents(distance, share) for share in (OUTER_SHARE, INNER_SHARE))
    x1, y1, x2, y2 = np.clip(box, np.minimum(outer, inner), np.maximum(outer, inner)).tolist()
    return (x1, y1, x2, y2)


def _find_extents(distance: Distances, share: float) -> tuple[int, int, int, int]:
    (x1, x2), (y1, y2) = (_find_extent(distance.max(axis), share) for axis in (0, 1))
    return (x1, y1, x2, y2)


def _find_extent(profile: Distances, share: float) -> tuple[int, int]:
    """Return the extent of the pixels that differ by a share of the strongest ones near each end."""
    occupied = np.flatnonzero(profile)
    start, end = int(occupied[0]), int(occupied[-1]) + 1
    first = profile[start:] >= share * profile[start : start + 4].max()
    last = profile[:end][::-1] >= share * profile[max(0, end - 4) : end].max()
    return start + int(first.argmax()), end - int(last.argmax())
