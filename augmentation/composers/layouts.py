"""Layouts: a box for each object of a scene, in a row, a grid, a cluster, on a ground plane in perspective, ...

boxes = sample_layout("row", [1.0, 0.5, 1.75], 2, 640, 480, Random(7), LayoutConfig())
for i in sort_far_to_near(boxes):
    ...                    # farther objects first, so that nearer ones cover them
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from augmentation.planning.scene_spec import Arrangement
from augmentation.relations.scene import Contact, ContactKind
from pipeline import LimitedConfig, NotNegativeFloat, PositiveInt, PositiveShare, Range, ShareBelowOne
from shards.boxes import Box, compute_overlap_share

_SHRINK = 0.94
"""Factor of the size in each further try, down to the minimum."""

_MAX_PLACE_TRIES = 40
"""Maximum number of positions tried for one object before a new layout."""


_ANCHOR_SIZE = 1.3
"""Size of an object that others are on or in, relative to the mean size."""

_MAX_SPAN_SHARE = 0.85
"""Maximum width of an object on or in another one, as a share of that one's upper edge."""

_CONTACT_MARGIN = 0.4
"""Minimum gap between objects in contact and all others, as a share of the mean size; so it is clear who is not."""


@dataclass(frozen=True, kw_only=True)
class PlannedContact:
    """Contact of an object with an anchor."""

    kind: ContactKind
    top_span: tuple[float, float]
    """Start and end of the anchor's upper edge, as shares of its width."""


@dataclass(frozen=True, kw_only=True)
class LayoutConfig(LimitedConfig):
    """Sizes and distances of objects.

    An object's size is the geometric mean of its box's width and height, as a share of that of the image.
    """

    min_size: float = 0.08
    """Minimum size of an object."""

    max_size: float = 0.42
    """Maximum size of an object."""

    max_cover: PositiveShare = 0.5
    """Maximum share of the image that the boxes cover together; many objects are smaller."""

    size_spread: ShareBelowOne = 0.4
    """Spread of sizes in ``scatter``, relative to their mean, in [0, 1)."""

    size_jitter: ShareBelowOne = 0.1
    """Spread of sizes in ``row``, ``column``, ``grid`` and ``cluster``, in [0, 1)."""

    jitter: Annotated[float, Range(0, 0.5, high_open=True)] = 0.12
    """Maximum offset from the line in ``row``, ``column`` and ``grid``, as a share of the size, in [0, 0.5)."""

    gap: NotNegativeFloat = 0.1
    """Minimum distance of neighbors in ``row``, ``column``, ``grid`` and ``cluster``, as a share of the size."""

    max_overlap: ShareBelowOne = 0.15
    """Maximum share of the smaller of two boxes in the other, for ``scatter`` and ``depth``, in [0, 1)."""

    max_depth: Annotated[float, Range(1.2)] = 3.0
    """Maximum ratio of the nearest object's size to the farthest one's, for ``depth``."""

    border_share: Annotated[float, Range(0, 0.5, high_open=True)] = 0.03
    """Minimum distance from the border, as a share of the image's width and height."""

    max_tries: PositiveInt = 50
    """Maximum number of tries for a layout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_size <= self.max_size < 1:
            raise ValueError(
                f"0 < min_size <= max_size < 1 must hold, got {self.min_size} and {self.max_size}; "
                "both are shares of the image"
            )


def sample_layout(
    arrangement: Arrangement,
    aspect_ratios: Sequence[float],
    num_arranged: int,
    width: int,
    height: int,
    random: Random,
    config: LayoutConfig,
    contacts: Sequence[PlannedContact] = (),
) -> tuple[Box, ...] | None:
    """Sample a box for each object.

    Args:
        arrangement: arrangement of the first ``num_arranged`` objects.
        aspect_ratios: width / height of each object; the boxes keep them.
        num_arranged: number of arranged objects; the rest is clutter in free places.
        width: width of the image in pixels.
        height: height of the image in pixels.
        random: source of all randomness.
        config: sizes and distances.
        contacts: contacts of the first objects, each with the object of clutter of the same number.

    Returns:
        Boxes in pixels in the order of the objects, or None if they do not fit.
    """
    if not 1 <= num_arranged <= len(aspect_ratios):
        raise ValueError(f"num_arranged must lie in [1, {len(aspect_ratios)}], got {num_arranged}")
    if not all(ratio > 0 and math.isfinite(ratio) for ratio in aspect_ratios):
        raise ValueError(f"aspect ratios must be positive and finite, got {list(aspect_ratios)}")
    first, rest = aspect_ratios[:num_arranged], aspect_ratios[num_arranged:]
    for attempt in range(config.max_tries):
        canvas = _make_canvas(len(aspect_ratios), width, height, attempt, random, config)
        if arrangement == "between" and len(rest) >= 2:
            all_boxes = _arrange_between(first, rest, canvas)
        elif contacts:
            all_boxes = _arrange_contacts(first, rest, contacts, canvas)
        else:
            boxes = _ARRANGERS[arrangement](first, canvas)
            all_boxes = None if boxes is None else _add_clutter(boxes, rest, canvas)
        if all_boxes is not None:
            return tuple(all_boxes)
    return None


def sort_far_to_near(boxes: Sequence[Box], contacts: Iterable[Contact] = ()) -> list[int]:
    """Sort indices far to near: of objects on one ground, the nearer ones reach lower.

    An object on another one comes right after it, and an object in another one right before.
    """
    keys = {i: (box[3], 0) for i, box in enumerate(boxes)}
    for one in contacts:
        keys[one.object_index] = (boxes[one.anchor_index][3], 1 if one.kind == "on" else -1)
    return sorted(keys, key=lambda i: keys[i])


@dataclass(frozen=True, kw_only=True)
class _Canvas:
    """Area and sizes of the objects in one try."""

    left: float
    top: float
    right: float
    bottom: float
    size_px: float
    """Mean size of an object."""

    min_px: float
    max_px: float
    random: Random
    config: LayoutConfig

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def gap_px(self) -> float:
        return self.config.gap * self.size_px

    def sample_size(self, spread: float) -> float:
        """Sample a size near the mean, within the limits."""
        size = self.size_px * self.random.uniform(1 - spread, 1 + spread)
        return min(max(size, self.min_px), self.max_px)

    def contains(self, box: Box) -> bool:
        x1, y1, x2, y2 = box
        return self.left <= x1 and self.top <= y1 and x2 <= self.right and y2 <= self.bottom

    def transpose(self) -> _Canvas:
        """Swap width and height, so rows become columns."""
        return _Canvas(
            left=self.top,
            top=self.left,
            right=self.bottom,
            bottom=self.right,
            size_px=self.size_px,
            min_px=self.min_px,
            max_px=self.max_px,
            random=self.random,
            config=self.config,
        )


def _make_canvas(num: int, width: int, height: int, attempt: int, random: Random, config: LayoutConfig) -> _Canvas:
    unit = math.sqrt(width * height)
    upper = min(config.max_size, math.sqrt(config.max_cover / num))
    size = random.uniform(0.65, 1.0) * upper * _SHRINK**attempt
    return _Canvas(
        left=config.border_share * width,
        top=config.border_share * height,
        right=(1 - config.border_share) * width,
        bottom=(1 - config.border_share) * height,
        size_px=max(size, config.min_size) * unit,
        min_px=config.min_size * unit,
        max_px=config.max_size * unit,
        random=random,
        config=config,
    )


def _compute_extents(ratio: float, size_px: float) -> tuple[float, float]:
    """Compute (width, height) of a box."""
    return size_px * math.sqrt(ratio), size_px / math.sqrt(ratio)


def _arrange_scatter(ratios: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Arrange anywhere, in different sizes, the largest first."""
    sizes = [canvas.sample_size(canvas.config.size_spread) for _ in ratios]
    placed: dict[int, Box] = {}
    for i in sorted(range(len(ratios)), key=lambda i: -sizes[i]):
        box = _find_free_box(ratios[i], sizes[i], placed.values(), canvas, canvas.config.max_overlap)
        if box is None:
            return None
        placed[i] = box
    return [placed[i] for i in range(len(ratios))]


def _find_free_box(
    ratio: float, size_px: float, taken: Iterable[Box], canvas: _Canvas, max_overlap: float = 0.0
) -> Box | None:
    """Find a random box with at most ``max_overlap`` with any other box."""
    width, height = _compute_extents(ratio, size_px)
    if width > canvas.width or height > canvas.height:
        return None
    taken = list(taken)
    for _ in range(_MAX_PLACE_TRIES):
        x = canvas.random.uniform(canvas.left, canvas.right - width)
        y = canvas.random.uniform(canvas.top, canvas.bottom - height)
        box = (x, y, x + width, y + height)
        if all(compute_overlap_share(box, other) <= max_overlap for other in taken):
            return box
    return None


def _arrange_row(
    ratios: Sequence[float], canvas: _Canvas, align: float = 1.0, highest: float = 0.45
) -> list[Box] | None:
    """Arrange from left to right with gaps, lower edges on one line below ``highest``.

    Args:
        ratios: width / height of each object.
        canvas: area and sizes.
        align: 1 aligns lower edges, 0.5 centers.
        highest: upper limit of the line, as a share of the height.
    """
    random = canvas.random
    extents = [_compute_extents(ratio, canvas.sample_size(canvas.config.size_jitter)) for ratio in ratios]
    stray, tallest = canvas.config.jitter * canvas.size_px, max(height for _, height in extents)
    gaps = max(1, len(ratios) - 1)
    spare = canvas.width - sum(width for width, _ in extents) - gaps * canvas.gap_px
    if spare < 0 or tallest + stray > canvas.height:
        return None
    wider = [random.uniform(0, min(spare / gaps, canvas.size_px)) for _ in ratios[1:]]
    x = canvas.left + random.uniform(0, spare - sum(wider))
    lowest = canvas.height - tallest - stray
    line = canvas.top + random.uniform(min(lowest, max(0.0, highest * canvas.height - tallest)), lowest)
    boxes: list[Box] = []
    for (width, height), extra in zip(extents, [*wider, 0.0], strict=True):
        y = line + align * (tallest - height) + random.uniform(0, stray)
        boxes.append((x, y, x + width, y + height))
        x += width + canvas.gap_px + extra
    return boxes


def _arrange_column(ratios: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Arrange from top to bottom with gaps, centers on one line."""
    boxes = _arrange_row([1 / ratio for ratio in ratios], canvas.transpose(), align=0.5, highest=0.0)
    return None if boxes is None else [(x1, y1, x2, y2) for y1, x1, y2, x2 in boxes]


def _arrange_grid(ratios: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Arrange in two or more rows of at least two columns; two objects make a row."""
    if len(ratios) < 3:
        return _arrange_row(ratios, canvas)
    random, num = canvas.random, len(ratios)
    # So many rows that the last one is not empty; fewer rows than objects give at least two columns.
    rows = random.choice([rows for rows in range(2, num) if num > (rows - 1) * math.ceil(num / rows)])
    columns = math.ceil(num / rows)
    extents = [_compute_extents(ratio, canvas.sample_size(canvas.config.size_jitter)) for ratio in ratios]
    stray = canvas.config.jitter * canvas.size_px
    lower = [max(side) + canvas.gap_px + stray for side in zip(*extents, strict=True)]
    upper = (canvas.width / columns, canvas.height / rows)
    if lower[0] > upper[0] or lower[1] > upper[1]:
        return None
    across, down = (random.uniform(a, min(b, 1.6 * a)) for a, b in zip(lower, upper, strict=True))
    left = canvas.left + random.uniform(0, canvas.width - columns * across)
    top = canvas.top + random.uniform(0, canvas.height - rows * down)
    boxes: list[Box] = []
    for i, (width, height) in enumerate(extents):
        row, column = divmod(i, columns)
        x = left + (column + 0.5) * across - width / 2 + random.uniform(-stray, stray) / 2
        y = top + (row + 0.5) * down - height / 2 + random.uniform(-stray, stray) / 2
        boxes.append((x, y, x + width, y + height))
    return boxes


def _arrange_cluster(ratios: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Arrange near each other, each at a small gap from an earlier one."""
    boxes: list[Box] = []
    for ratio in ratios:
        size = max(0.8 * canvas.sample_size(canvas.config.size_jitter), canvas.min_px)
        box = (
            _find_box_beside(boxes, _compute_extents(ratio, size), canvas)
            if boxes
            else _find_free_box(ratio, size, (), canvas)
        )
        if box is None:
            return None
        boxes.append(box)
    return boxes


def _find_box_beside(boxes: list[Box], extents: tuple[float, float], canvas: _Canvas) -> Box | None:
    """Find a free box at the minimum gap from one of the boxes, in any direction."""
    for _ in range(_MAX_PLACE_TRIES):
        x1, y1, x2, y2 = canvas.random.choice(boxes)
        angle = canvas.random.uniform(0, 2 * math.pi)
        across = ((x2 - x1 + extents[0]) / 2 + canvas.gap_px) / max(abs(math.cos(angle)), 1e-9)
        down = ((y2 - y1 + extents[1]) / 2 + canvas.gap_px) / max(abs(math.sin(angle)), 1e-9)
        far = min(across, down)
        x = (x1 + x2 - extents[0]) / 2 + far * math.cos(angle)
        y = (y1 + y2 - extents[1]) / 2 + far * math.sin(angle)
        box = (x, y, x + extents[0], y + extents[1])
        if canvas.contains(box) and all(compute_overlap_share(box, other) == 0 for other in boxes):
            return box
    return None


def _arrange_depth(ratios: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Arrange objects of one true size on a ground plane, as a pinhole camera sees them.

    A foot at distance d below the horizon is at depth proportional to 1/d, and an object at depth z has
    a size proportional to 1/z: so the size is proportional to d (Hoiem, Efros & Hebert, CVPR 2006).
    The depths are spread evenly in ratio, so the order can be seen.
    """
    random, steps = canvas.random, max(1, len(ratios) - 1)
    horizon = canvas.top + random.uniform(0.15, 0.45) * canvas.height
    nearest = canvas.bottom - random.uniform(0, 0.1) * canvas.height - horizon
    largest = min(1.4 * canvas.size_px, canvas.max_px)
    depth = min(random.uniform(0.6, 1.0) * canvas.config.max_depth, largest / canvas.min_px)
    if depth < 1.2:
        return None
    order, placed = random.sample(range(len(ratios)), len(ratios)), dict[int, Box]()
    for step, i in enumerate(order):
        share = depth ** -((step + random.uniform(0, 0.3)) / (steps + 0.3))
        foot = horizon + share * nearest
        box = _find_standing_box(_compute_extents(ratios[i], share * largest), foot, placed.values(), canvas)
        if box is None:
            return None
        placed[i] = box
    return [placed[i] for i in range(len(ratios))]


def _find_standing_box(extents: tuple[float, float], foot: float, taken: Iterable[Box], canvas: _Canvas) -> Box | None:
    """Find a free box with its lower edge at this height."""
    width, height = extents
    taken = list(taken)
    if width > canvas.width or foot - height < canvas.top:
        return None
    for _ in range(_MAX_PLACE_TRIES):
        x = canvas.random.uniform(canvas.left, canvas.right - width)
        box = (x, foot - height, x + width, foot)
        if all(compute_overlap_share(box, other) <= canvas.config.max_overlap for other in taken):
            return box
    return None


def _arrange_between(ratios: Sequence[float], clutter: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Arrange the first object between the first two of the clutter, in a row or column; the others anywhere."""
    arrange_line = canvas.random.choice((_arrange_row, _arrange_column))
    line = arrange_line((clutter[0], ratios[0], clutter[1]), canvas)
    if line is None:
        return None
    start, middle, end = line
    all_boxes = _add_clutter([start, middle, end], (*ratios[1:], *clutter[2:]), canvas)
    if all_boxes is None:
        return None
    others, more = all_boxes[3 : 2 + len(ratios)], all_boxes[2 + len(ratios) :]
    return [middle, *others, start, end, *more]


def _arrange_contacts(
    ratios: Sequence[float], clutter: Sequence[float], contacts: Sequence[PlannedContact], canvas: _Canvas
) -> list[Box] | None:
    """Arrange the first objects on or in the first of the clutter; the others are apart from them."""
    num, margin_px = len(contacts), _CONTACT_MARGIN * canvas.size_px
    objects, anchors, taken = list[Box](), list[Box](), list[Box]()
    for ratio, anchor_ratio, contact in zip(ratios, clutter, contacts, strict=False):
        pair = _find_pair(ratio, anchor_ratio, contact, taken, canvas)
        if pair is None:
            return None
        objects.append(pair[0])
        anchors.append(pair[1])
        (x1, y1, x2, _), (left, _, right, y2) = pair
        taken.append((min(x1, left) - margin_px, y1 - margin_px, max(x2, right) + margin_px, y2 + margin_px))
    placed = _add_clutter(taken, (*ratios[num:], *clutter[num:]), canvas)
    if placed is None:
        return None
    others, more = placed[num : len(ratios)], placed[len(ratios) :]
    return [*objects, *others, *anchors, *more]


def _find_pair(
    ratio: float, anchor_ratio: float, contact: PlannedContact, taken: Iterable[Box], canvas: _Canvas
) -> tuple[Box, Box] | None:
    """Find free boxes of an object and of the anchor that it is on or in; None if the object would be too small."""
    random, (start, end) = canvas.random, contact.top_span
    anchor_size = min(_ANCHOR_SIZE * canvas.sample_size(canvas.config.size_jitter), canvas.max_px)
    anchor_width, anchor_height = _compute_extents(anchor_ratio, anchor_size)
    span_px = (end - start) * anchor_width
    widest, _ = _compute_extents(ratio, 1.0)
    size = min(random.uniform(0.7, 1.0) * anchor_size, _MAX_SPAN_SHARE * span_px / widest)
    if size < canvas.min_px:
        return None
    width, height = _compute_extents(ratio, size)
    if contact.kind == "on":
        overlap = min(random.uniform(0.04, 0.12) * anchor_height, 0.25 * height)
    else:
        overlap = random.uniform(0.15, 0.28) * height
    total = anchor_height + height - overlap
    both = _find_free_box(anchor_width / total, math.sqrt(anchor_width * total), taken, canvas)
    if both is None:
        return None
    left, top, right, bottom = both
    center = left + (start + end) / 2 * anchor_width + random.uniform(-0.3, 0.3) * (span_px - width)
    return (center - width / 2, top, center + width / 2, top + height), (left, bottom - anchor_height, right, bottom)


def _add_clutter(boxes: list[Box], ratios: Sequence[float], canvas: _Canvas) -> list[Box] | None:
    """Add a free box for each object of clutter."""
    all_boxes = list(boxes)
    for ratio in ratios:
        size = max(canvas.sample_size(canvas.config.size_spread) * 0.9, canvas.min_px)
        box = _find_free_box(ratio, size, all_boxes, canvas)
        if box is None:
            return None
        all_boxes.append(box)
    return all_boxes


_ARRANGERS: Mapping[Arrangement, Callable[[Sequence[float], _Canvas], list[Box] | None]] = {
    "scatter": _arrange_scatter,
    "row": _arrange_row,
    "column": _arrange_column,
    "grid": _arrange_grid,
    "cluster": _arrange_cluster,
    "depth": _arrange_depth,
    "between": _arrange_scatter,
    "contact": _arrange_scatter,
}
