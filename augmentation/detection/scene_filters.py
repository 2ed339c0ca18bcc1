"""When a scene is used: rules over what was found, each with a reason that the report counts.

What was asked for decides only which category the queries are about. How many of it there are is what was found: a
scene of four cups that was asked for as three is a scene of four cups. Only ``pasted`` knows what is in its pictures:
a thing that it put there and that was not found, or one found that it did not put there, would make queries false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from augmentation.detection.detector import Detected, Found
from augmentation.detection.matching import matches
from pipeline.stage import Rejected
from shards.boxes import overlap_share
from shards.schema import Box


@dataclass(frozen=True, kw_only=True)
class AcceptanceConfig:
    """The limits within which a scene is clear."""

    least_things: int = 2
    """Of the category asked for; fewer leave nothing to tell apart."""

    most_things: int = 8
    most_overlap: float = 0.4
    """Share of the smaller of two boxes that may lie in the other: more are one thing twice, a part, or a group."""

    least_border_share: float = 0.01
    """Things of the category that come nearer to the border, as a share of the picture, may be cut off by it."""

    least_asked_iou: float = 0.75
    """A thing lies where it was put if it was found with a box that overlaps its own so much. Each that was pasted has
    to; a scene counts as seen in perspective only if all things of its category do."""

    def __post_init__(self) -> None:
        if not 2 <= self.least_things <= self.most_things:
            raise ValueError(
                f"2 <= least_things <= most_things must hold, got {self.least_things} and {self.most_things}"
            )
        for name in ("most_overlap", "least_border_share", "least_asked_iou"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")


def refusal(detected: Detected, config: AcceptanceConfig) -> Rejected | None:
    """Why the scene cannot be used, by the first rule it breaks; None if it can."""
    rules: Sequence[tuple[str, Callable[[Detected, AcceptanceConfig], str]]] = (
        ("uncertain_detection", _uncertain),
        ("wrong_category", _wrong_category),
        ("missed_instance", _missed),
        ("unexpected_instance", _unexpected),
        ("too_few_instances", _too_few),
        ("too_many_instances", _too_many),
        ("overlapping_boxes", _overlapping),
        ("near_border", _near_border),
    )
    for reason, broken in rules:
        if detail := broken(detected, config):
            return Rejected(key=detected.key, reason=reason, detail=f"{detail}; asked for {detected.spec.prompt!r}")
    return None


def _of_category(detected: Detected) -> list[Found]:
    return [one for one in detected.found if one.category == detected.spec.category]


def _uncertain(detected: Detected, config: AcceptanceConfig) -> str:
    return _listed(one for one in detected.found if not one.is_sure)


def _wrong_category(detected: Detected, config: AcceptanceConfig) -> str:
    """Something was found, and none of it is what was asked for."""
    return "" if _of_category(detected) else _listed(detected.found)


def _missed(detected: Detected, config: AcceptanceConfig) -> str:
    """Something was pasted and not found. Of a layout nothing follows: whether a model drew all of it is not known."""
    if detected.composer != "pasted":
        return ""
    pairs = matches(detected.asked, detected.found)
    seen = {pair.asked for pair in pairs if pair.iou >= config.least_asked_iou}
    missed = (one for i, one in enumerate(detected.asked) if i not in seen)
    return ", ".join(f"{one.category} pasted at {_rounded(one.box_xyxy)} was not found" for one in missed)


def _unexpected(detected: Detected, config: AcceptanceConfig) -> str:
    """More of something that was pasted was found than was pasted: either nobody annotated it, or it is not there."""
    if detected.composer != "pasted":
        return ""
    known = {pair.found for pair in matches(detected.asked, detected.found)}
    pasted = {one.category for one in detected.asked}
    return _listed(one for i, one in enumerate(detected.found) if one.category in pasted and i not in known)


def _too_few(detected: Detected, config: AcceptanceConfig) -> str:
    num = len(_of_category(detected))
    return f"found {num}" if num < config.least_things else ""


def _too_many(detected: Detected, config: AcceptanceConfig) -> str:
    num = len(_of_category(detected))
    return f"found {num}" if num > config.most_things else ""


def _overlapping(detected: Detected, config: AcceptanceConfig) -> str:
    for a, b in combinations(detected.found, 2):
        if overlap_share(a.box_xyxy, b.box_xyxy) > config.most_overlap:
            return _listed((a, b))
    return ""


def _near_border(detected: Detected, config: AcceptanceConfig) -> str:
    height, width = detected.picture.shape[:2]
    return _listed(
        one for one in _of_category(detected) if _border_share(one.box_xyxy, width, height) < config.least_border_share
    )


def _border_share(box: Box, width: int, height: int) -> float:
    """Distance to the nearest border as a share of the picture's extent there."""
    x1, y1, x2, y2 = box
    return min(x1 / width, y1 / height, 1 - x2 / width, 1 - y2 / height)


def _listed(found: Iterable[Found]) -> str:
    return ", ".join(f"{one.category} {one.score:.2f} at {_rounded(one.box_xyxy)}" for one in found)


def _rounded(box: Box) -> tuple[float, ...]:
    return tuple(round(edge, 1) for edge in box)
