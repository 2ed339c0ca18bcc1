"""Everything that a person could mean by a relation program; a program without it is proved absent.

    fourth = p.Ordinal(base=p.Category(name="cup"), rank=4, side="left")
    PossibilityEvaluator(scene, noise=0.03).evaluate(fourth) == frozenset()    # of three cups: there is no fourth

``ProgramEvaluator`` selects what is clear. Here an object is left out only if it is clearly something else: its
attribute is known to be another, or to be like those of all others though it must differ (or the reverse), it lies
clearly in the opposite part of the image or on the opposite side of the anchor, or there are fewer objects than the
ordinal counts. An operator that picks the best object could pick any.
"""

from __future__ import annotations

from collections.abc import Iterable

from augmentation.relations import programs as p
from augmentation.relations.appearance import Selection, find_possibly_alike, find_possibly_odd
from augmentation.relations.evaluator import (
    OPPOSITE,
    SIDE_OF_DIRECTION,
    make_attribute_test,
    make_region_test,
    make_side_test,
)
from augmentation.relations.geometry import Geometry
from augmentation.relations.scene import Scene


class PossibilityEvaluator:
    """Evaluator of what programs could mean on one scene.

    Args:
        scene: objects with their boxes and attributes.
        noise: noise of box edges, as a share of the box's size.
    """

    def __init__(self, scene: Scene, noise: float = 0.0) -> None:
        self._scene = scene
        self._geometry = Geometry(scene, noise)
        self._cache: dict[p.Program, Selection] = {}

    def evaluate(self, program: p.Program) -> Selection:
        """Return the indices of all objects that the program could mean."""
        if program not in self._cache:
            self._cache[program] = self._evaluate(program)
        return self._cache[program]

    def _evaluate(self, program: p.Program) -> Selection:
        if isinstance(program, p.Category):
            return frozenset(i for i, obj in enumerate(self._scene.objects) if obj.category == program.name)
        members = self.evaluate(program.base)
        match program:
            case p.WithAttribute(attribute=attribute, value=value):
                has = make_attribute_test(self._scene, attribute, value)
                return frozenset(i for i in members if has(i) is not False)
            case p.Without(attribute=attribute, value=value):
                has = make_attribute_test(self._scene, attribute, value)
                return frozenset(i for i in members if not has(i))
            case p.Ordinal(rank=rank) | p.Line(rank=rank):
                return members if rank <= len(members) else frozenset()
            case p.Region(region=region):
                return members - self._find_elsewhere(members, region)
            case p.Beside(direction=direction, anchor=anchor):
                return self._find_beside(members, direction, self.evaluate(anchor))
            case p.NextTo(anchor=anchor) | p.Nearest(anchor=anchor):
                return members if self.evaluate(anchor) else frozenset()
            case p.Between(ends=ends):
                return members if self.evaluate(ends) else frozenset()
            case p.Both(other=other):
                return members | self.evaluate(other)
            case p.Odd(attribute=name):
                return find_possibly_odd(self._scene, members, name)
            case p.Alike(attribute=name):
                return find_possibly_alike(self._scene, members, name)
            case _:
                return members

    def _find_elsewhere(self, members: Selection, region: p.RegionName) -> Selection:
        """Return the members that are clearly not in a part of the image."""
        if region == "middle":
            is_in_middle = make_region_test(self._geometry, region)
            return frozenset(i for i in members if is_in_middle(i) is False)
        is_opposite = make_region_test(self._geometry, OPPOSITE[region])
        return frozenset(i for i in members if is_opposite(i))

    def _find_beside(self, members: Selection, direction: p.Direction, anchors: Iterable[int]) -> Selection:
        """Return the members that are not clearly on the opposite side of every anchor, or away from every one."""
        if direction in ("on", "in"):
            tests = {anchor: make_side_test(self._geometry, anchor, direction) for anchor in anchors}
            return frozenset(
                i for i in members if any(i != anchor and test(i) is not False for anchor, test in tests.items())
            )
        if direction not in SIDE_OF_DIRECTION:
            return members if anchors else frozenset()
        side = SIDE_OF_DIRECTION[direction]
        return frozenset(
            i
            for i in members
            if any(i != anchor and not self._geometry.is_clearly_before(anchor, i, side) for anchor in anchors)
        )
