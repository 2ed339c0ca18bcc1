"""Confirmation of pasted scenes: the composer knows their objects, and the detector must see each of them.

A detector doubts many objects of a crowded scene. It can neither tell where one was pasted nor which one it was, so its
doubts are no reason to reject the scene. An object that it does not detect in the image must be detected in a crop
around it. Objects in contact need no detection: detectors take them for one object, and the composer has checked that
both are visible. Of its other detections, those on pasted objects are dropped, and those beside them stay: the
background may hold objects, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from augmentation.composers.composed import RgbImage
from augmentation.detection.crops import crop_square, find_square
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.detection.matching import match_objects
from augmentation.relations.scene import SceneObject
from pipeline import Rejected
from shards.boxes import Box

_CROP_MARGIN = 0.7
"""Margin of the crop around an object, as a share of its longer side. Of 0.25 to 1, the miniature detector sees most
objects with this one."""

_MIN_COVERED = 0.6
"""Minimum share of a detection's box that pasted objects cover to be a detection of them. A box around two of them
has gaps."""


def confirm_pasted(
    scenes: Sequence[DetectedScene],
    truths: Sequence[tuple[Detection, ...]],
    detect: Callable[[Sequence[RgbImage]], Sequence[tuple[Detection, ...]]],
    min_iou: float,
) -> list[DetectedScene | Rejected]:
    """Replace the detections of pasted objects with the objects themselves.

    Args:
        scenes: scenes with what the detector detected.
        truths: pasted objects of each scene.
        detect: detector, from images to the detections of each.
        min_iou: minimum IoU of a confident detection with an object to be of it.

    Returns:
        Scene by scene, the pasted objects and the detections of the background. A scene is rejected if the detector
        does not see an object, or if the background holds another one of a pasted category.
    """
    unseen = [
        (i, one)
        for i, (scene, truth) in enumerate(zip(scenes, truths, strict=True))
        for one in _find_unseen(_drop_in_contact(scene, truth), scene.detections, min_iou)
    ]
    crops = [crop_square(scenes[i].composed.image, one.box_xyxy, _CROP_MARGIN) for i, one in unseen]
    missed = defaultdict[int, list[Detection]](list)
    for (i, one), detections in zip(unseen, detect(crops), strict=True):
        missed[i] += [one] if _find_unseen([_move_into_crop(one)], detections, min_iou) else []
    return [_confirm_scene(scene, truths[i], missed[i]) for i, scene in enumerate(scenes)]


def _drop_in_contact(scene: DetectedScene, truth: Sequence[Detection]) -> list[Detection]:
    """Return the pasted objects that are neither on or in another one, nor have one on or in them."""
    contacts = scene.composed.contacts or ()
    in_contact = {i for one in contacts for i in (one.object_index, one.anchor_index)}
    return [one for i, one in enumerate(truth) if i not in in_contact]


def _find_unseen(truth: Sequence[Detection], detections: Sequence[Detection], min_iou: float) -> list[Detection]:
    confident = [one for one in detections if one.is_confident]
    seen = {pair.requested_index for pair in match_objects(truth, confident) if pair.iou >= min_iou}
    return [one for i, one in enumerate(truth) if i not in seen]


def _move_into_crop(one: Detection) -> Detection:
    left, top, _ = find_square(one.box_xyxy, _CROP_MARGIN)
    x1, y1, x2, y2 = one.box_xyxy
    return replace(one, box_xyxy=(x1 - left, y1 - top, x2 - left, y2 - top))


def _confirm_scene(
    scene: DetectedScene, truth: tuple[Detection, ...], missed: Sequence[Detection]
) -> DetectedScene | Rejected:
    if missed:
        return scene.reject("missed_instance", f"{_format_objects(missed)}: pasted, but not detected")
    background = _find_background(scene, truth)
    pasted = {one.category for one in truth}
    if unexpected := [one for one in background if one.is_confident and one.category in pasted]:
        return scene.reject("unexpected_instance", f"{_format_objects(unexpected)}: detected, but not pasted")
    return replace(scene, detections=(*truth, *background))


def _find_background(scene: DetectedScene, truth: Sequence[Detection]) -> list[Detection]:
    """Find the detections whose boxes pasted objects do not cover."""
    covered = np.zeros(scene.composed.image.shape[:2], bool)
    for one in truth:
        covered[_get_pixels(one.box_xyxy)] = True
    return [one for one in scene.detections if covered[_get_pixels(one.box_xyxy)].mean() < _MIN_COVERED]


def _get_pixels(box: Box) -> tuple[slice, slice]:
    """Return the rows and columns that the box touches."""
    x1, y1, x2, y2 = box
    return slice(int(y1), ceil(y2)), slice(int(x1), ceil(x2))


def _format_objects(objects: Sequence[SceneObject]) -> str:
    return ", ".join(f"{one.category} at {tuple(round(edge, 1) for edge in one.box_xyxy)}" for one in objects)
