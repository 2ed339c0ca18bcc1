"""Words for the place of one instance among several that look alike: its side, or its rank in a row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

MIN_GAP = 0.1
"""Smallest distance between the centers of neighbors, as a fraction of the image's side."""

SIDES = (("left", "right", "on"), ("top", "bottom", "at"))
"""Low side, high side and preposition of each axis."""

ORDINALS = {2: "second", 3: "third", 4: "fourth"}

PLACE_WORDS = (
    "the",
    "on",
    "at",
    "from",
    "in",
    "middle",
    *ORDINALS.values(),
    *(side for low, high, _ in SIDES for side in (low, high)),
)
"""All words of the wordings."""


def list_place_wordings(centers: Sequence[tuple[float, float]], target: int) -> list[str]:
    """List wordings of a query with ``{name}`` for which only the target's place is right, such as "left {name}".

    Args:
        centers: centers (x, y) of at least two instances, as fractions of the image.
        target: index of one of them.

    Returns:
        The wordings; none if the target is on no side, or its neighbors are too near.
    """
    wordings: list[str] = []
    count = len(centers)
    for axis, (low, high, preposition) in enumerate(SIDES):
        row = sorted(range(count), key=lambda i: centers[i][axis])
        rank = row.index(target)
        gaps = [centers[b][axis] - centers[a][axis] for a, b in pairwise(row)]
        if min(gaps[max(rank - 1, 0) : rank + 1]) < MIN_GAP:
            continue
        for side, number in ((low, rank + 1), (high, count - rank)):
            if number == 1:
                wordings += [f"{side} {{name}}", f"the {side} {{name}}", f"{{name}} {preposition} the {side}"]
            elif number in ORDINALS and number < count and min(gaps) >= MIN_GAP / 2:
                wordings += [f"{ORDINALS[number]} {{name}} from {the}{side}" for the in ("the ", "")]
        if count == 2 * rank + 1 and min(gaps) >= MIN_GAP / 2:
            wordings += ["middle {name}", "{name} in the middle"]
    return wordings
