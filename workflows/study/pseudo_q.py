"""Queries by the rules of Pseudo-Q (Jiang et al., CVPR 2022, section 3.2 and its published code), for comparison.

Each object of a category gets its name and its name with a tag. Left, right, top and bottom mark the outermost object,
if the outermost two are more than 50 px apart, or one in the outer quarters of the image; middle marks the others.
Front and behind compare areas with the largest one. Two objects may get the same words. The rules are implemented from
their description; pixels are those of an image whose longer side is 640.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from augmentation.relations.scene import Scene
from shards.boxes import compute_area_px

MIN_SPREAD = 50 / 640
BEHIND, FRONT = 0.4, 0.8


def generate_pseudo_queries(scene: Scene, category: str) -> list[tuple[str, int]]:
    """Return unique (text, index of the object); several objects may have the same text."""
    members = [i for i, obj in enumerate(scene.objects) if obj.category == category]
    nouns = {i: " ".join([*filter(None, scene.objects[i].attributes.values()), category]) for i in members}
    queries = [(nouns[i], i) for i in members]
    queries += [(f"{tag} {nouns[i]}", i) for i, tag in _iterate_tags(scene, members)]
    return list(dict.fromkeys(queries))


def find_ambiguous(queries: Sequence[tuple[str, int]]) -> set[str]:
    """Return the texts of several objects."""
    return {text for text, count in Counter(text for text, _ in queries).items() if count > 1}


def _iterate_tags(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    if len(members) < 2:
        return
    yield from _tag_horizontal(scene, members)
    yield from _tag_vertical(scene, members)
    yield from _tag_depth(scene, members)


def _tag_horizontal(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    centers = {i: sum(scene.objects[i].box_xyxy[0::2]) / 2 for i in members}
    first, last = min(members, key=centers.__getitem__), max(members, key=centers.__getitem__)
    if centers[last] - centers[first] <= MIN_SPREAD * max(scene.width, scene.height):
        return
    yield from ((first, "left"), (last, "right"))
    for i in (i for i in members if i not in (first, last)):
        fraction = centers[i] / scene.width
        outer = len(members) > 3
        yield i, "right" if outer and fraction > 0.75 else "left" if outer and fraction < 0.25 else "middle"


def _tag_vertical(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    centers = {i: sum(scene.objects[i].box_xyxy[1::2]) / 2 for i in members}
    first, last = min(members, key=centers.__getitem__), max(members, key=centers.__getitem__)
    if centers[last] - centers[first] <= MIN_SPREAD * max(scene.width, scene.height):
        return
    yield from ((last, "bottom"), (first, "top"))
    for i in (i for i in members if i not in (first, last)):
        fraction = centers[i] / scene.height
        if fraction > 0.75 or fraction < 0.25:
            yield i, "bottom" if fraction > 0.75 else "top"


def _tag_depth(scene: Scene, members: list[int]) -> Iterator[tuple[int, str]]:
    areas = {i: compute_area_px(scene.objects[i].box_xyxy) for i in members}
    smallest, largest = min(members, key=areas.__getitem__), max(members, key=areas.__getitem__)
    if areas[smallest] >= BEHIND * areas[largest]:
        return
    yield from ((smallest, "behind"), (largest, "front"))
    for i in (i for i in members if i not in (smallest, largest) and len(members) > 3):
        fraction = areas[i] / areas[largest]
        if fraction < BEHIND or fraction > FRONT:
            yield i, "behind" if fraction < BEHIND else "front"
