"""Queries by the rules of Pseudo-Q (Jiang et al., CVPR 2022, section 3.2 and its published code), for comparison.

Each thing of a category gets its name and name with tag: left, right, top or bottom as the outermost one, if the
outermost two are more than 50 px apart, or in the outer quarters of the picture; middle otherwise; front or behind by
its area beside the largest. Nothing keeps two things from the same words. The rules are written anew from their
description; pixels are those of a picture whose longer side is 640.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from augmentation.relations.scene import Scene
from shards.boxes import area_px

LEAST_SPREAD = 50 / 640
BEHIND, FRONT = 0.4, 0.8


def pseudo_queries(scene: Scene, category: str) -> list[tuple[str, int]]:
    """(text, index of the thing), each once; one text may be given to several things."""
    members = [i for i, thing in enumerate(scene.things) if thing.category == category]
    nouns = {i: " ".join([*filter(None, scene.things[i].attributes.values()), category]) for i in members}
    said = [(nouns[i], i) for i in members]
    said += [(f"{tag} {nouns[i]}", i) for i, tag in _tags(scene, members)]
    return list(dict.fromkeys(said))


def ambiguous(queries: Sequence[tuple[str, int]]) -> set[str]:
    """The texts that several things have."""
    return {text for text, count in Counter(text for text, _ in queries).items() if count > 1}


def _tags(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    if len(members) < 2:
        return
    yield from _across(scene, members)
    yield from _down(scene, members)
    yield from _in_depth(scene, members)


def _across(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    centres = {i: sum(scene.things[i].box_xyxy[0::2]) / 2 for i in members}
    first, last = min(members, key=centres.__getitem__), max(members, key=centres.__getitem__)
    if centres[last] - centres[first] <= LEAST_SPREAD * max(scene.width, scene.height):
        return
    yield from ((first, "left"), (last, "right"))
    for i in (i for i in members if i not in (first, last)):
        share = centres[i] / scene.width
        outer = len(members) > 3
        yield i, "right" if outer and share > 0.75 else "left" if outer and share < 0.25 else "middle"


def _down(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    centres = {i: sum(scene.things[i].box_xyxy[1::2]) / 2 for i in members}
    first, last = min(members, key=centres.__getitem__), max(members, key=centres.__getitem__)
    if centres[last] - centres[first] <= LEAST_SPREAD * max(scene.width, scene.height):
        return
    yield from ((last, "bottom"), (first, "top"))
    for i in (i for i in members if i not in (first, last)):
        share = centres[i] / scene.height
        if share > 0.75 or share < 0.25:
            yield i, "bottom" if share > 0.75 else "top"


def _in_depth(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    areas = {i: area_px(scene.things[i].box_xyxy) for i in members}
    least, most = min(members, key=areas.__getitem__), max(members, key=areas.__getitem__)
    if areas[least] >= BEHIND * areas[most]:
        return
    yield from ((least, "behind"), (most, "front"))
    for i in (i for i in members if i not in (least, most) and len(members) > 3):
        share = areas[i] / areas[most]
        if share < BEHIND or share > FRONT:
            yield i, "behind" if share < BEHIND else "front"
