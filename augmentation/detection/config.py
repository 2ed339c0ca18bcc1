"""Configuration of a detector, apart from it so that it loads no library of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Detector checkpoint and thresholds of its detections."""

    checkpoint: str
    """Hub id or local folder of an object detection model, or of a zero-shot one, with its processor."""

    revision: str | None = None
    """Branch, tag or commit on the hub."""

    confident_score: float = 0.6
    """Minimum score of a confident detection, in (0, 1]; its size must be within the limits, too."""

    min_score: float = 0.25
    """Minimum score of any detection; one between both scores makes the scene uncertain."""

    nms_iou: float = 0.6
    """Maximum IoU of two detections; above it only the better one stays, and a confident one of another category."""

    min_area_share: float = 0.004
    """Minimum area of a confident box, as a share of the image."""

    max_area_share: float = 0.7
    """Maximum area of a confident box, as a share of the image. Larger boxes often hold a group: they are uncertain if
    their score is good, and dropped otherwise."""

    class_names: Mapping[str, str] = field(default_factory=dict)
    """Categories by the detector's labels, where they differ: ``{"cell phone": "phone"}``. Six of COCO's need no entry:
    a detector's "sofa" counts as the category "couch", for example.

    A zero-shot detector is prompted with these labels instead of the category; several may map to one.
    """

    prompt: str | None = None
    """Prompt of a zero-shot detector, such as ``"a photo of a {category}"``; None takes that of its model family.
    Other detectors ignore it.
    """

    device: str = "auto"
    """Device of torch, or ``auto``: the first GPU, or the CPU without one."""

    def __post_init__(self) -> None:
        if not 0 < self.min_score <= self.confident_score <= 1:
            raise ValueError(
                f"0 < min_score <= confident_score <= 1 must hold, got {self.min_score} and {self.confident_score}"
            )
        if not 0 <= self.min_area_share < self.max_area_share <= 1:
            raise ValueError(
                "0 <= min_area_share < max_area_share <= 1 must hold, "
                f"got {self.min_area_share} and {self.max_area_share}"
            )
        if not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou must lie in (0, 1], got {self.nms_iou}")
        if self.prompt is not None:
            check_prompt(self.prompt)


def check_prompt(prompt: str) -> None:
    """Raise a ValueError unless there is one slot, ``{category}``."""
    try:
        slots = [slot for _, slot, _, _ in Formatter().parse(prompt) if slot is not None]
    except ValueError as error:
        raise ValueError(f"prompt {prompt!r} has unbalanced braces ({error})") from error
    if slots != ["category"] or "{category}" not in prompt:
        raise ValueError(
            f"prompt must hold the slot {{category}} once and no other, got {prompt!r}; try 'a photo of a {{category}}'"
        )
