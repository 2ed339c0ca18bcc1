"""Comparison of objects by their attributes: which one looks different, and which two look alike.

An object of which a compared attribute is unknown may look like any other. "The two cups of the same pattern" are not
said of plain cups, which have none; "the two that look alike" may be plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from augmentation.relations.scene import NO_ATTRIBUTE, Scene

MIN_COMPARED = 3
"""Minimum number of objects; of two, neither is odd."""

Selection = frozenset[int]
EMPTY: Selection = frozenset()


def select_odd(scene: Scene, members: Selection, attribute: str | None, *, include_borderline: bool) -> Selection:
    """Return the member that is the only one to differ from the others, which share one value of the attribute.

    Args:
        scene: objects with their attributes.
        members: indices of the compared objects.
        attribute: compared attribute; None for all of the scene. Then no two attributes may single out different
            objects.
        include_borderline: return all members if an attribute is unknown, and all that any attribute singles out,
            instead of none.
    """
    names = _list_compared(scene, attribute)
    if len(members) < MIN_COMPARED:
        return EMPTY
    is_plain = attribute is not None and any(_lacks(scene, i, attribute) for i in members)
    if is_plain or not _are_known(scene, members, names):
        return members if include_borderline else EMPTY
    odd = frozenset(i for name in names for i in members if _is_odd(scene, i, members, name))
    return odd if include_borderline or len(odd) == 1 else EMPTY


def select_alike(scene: Scene, members: Selection, attribute: str | None, *, include_borderline: bool) -> Selection:
    """Return the only two members with the same value of the attribute, or of all attributes if it is None."""
    names = _list_compared(scene, attribute)
    if len(members) < MIN_COMPARED:
        return EMPTY
    if not _are_known(scene, members, names):
        return members if include_borderline else EMPTY
    pairs = [pair for pair in combinations(sorted(members), 2) if _may_be_alike(scene, *pair, names)]
    if len(pairs) != 1:
        return EMPTY
    is_plain = attribute is not None and _lacks(scene, pairs[0][0], attribute)
    return EMPTY if is_plain and not include_borderline else frozenset(pairs[0])


def find_possibly_odd(scene: Scene, members: Selection, attribute: str | None) -> Selection:
    """Return the members that may differ from another one; all if every attribute counts, since size may, too."""
    if attribute is None:
        return members
    return frozenset(i for i in members if any(_may_differ(scene, i, j, attribute) for j in members if j != i))


def find_possibly_alike(scene: Scene, members: Selection, attribute: str | None) -> Selection:
    """Return the members that may look like another one."""
    names = _list_compared(scene, attribute)
    return frozenset(i for i in members if any(_may_be_alike(scene, i, j, names) for j in members if j != i))


def _list_compared(scene: Scene, attribute: str | None) -> Sequence[str]:
    return scene.attribute_names if attribute is None else (attribute,)


def _are_known(scene: Scene, members: Selection, names: Sequence[str]) -> bool:
    return all(name in scene.objects[i].attributes for name in names for i in members)


def _lacks(scene: Scene, i: int, name: str) -> bool:
    """Return whether an object is known to have nothing of an attribute: a plain cup has no pattern to compare."""
    return scene.objects[i].attributes.get(name) == NO_ATTRIBUTE


def _is_odd(scene: Scene, i: int, members: Selection, name: str) -> bool:
    others = {scene.objects[j].attributes[name] for j in members if j != i}
    return len(others) == 1 and scene.objects[i].attributes[name] not in others


def _may_differ(scene: Scene, i: int, j: int, name: str) -> bool:
    one, other = (scene.objects[k].attributes.get(name) for k in (i, j))
    return one is None or other is None or one != other


def _may_be_alike(scene: Scene, i: int, j: int, names: Sequence[str]) -> bool:
    facts = ((scene.objects[i].attributes.get(name), scene.objects[j].attributes.get(name)) for name in names)
    return all(one is None or other is None or one == other for one, other in facts)
