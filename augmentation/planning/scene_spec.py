"""Scenes to request: categories, counts and arrangements, spread evenly at first, as in ResVG (section 3.2).

requests = make_uniform_requests(vocabulary, num_scenes=1000, seed=7)
for spec in make_scene_specs(vocabulary, requests, seed=7):
    spec.prompt    # "three striped red cups"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, get_args

from augmentation.errors import AugmentationError
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig

Arrangement = Literal["scatter", "row", "column", "grid", "cluster", "depth", "between"]
"""``depth``: on one ground plane in perspective, nearer objects lower and larger. ``between``: one of the objects is
between two of another category."""

Composer = Literal["prompted", "layout", "pasted"]
"""Who makes a scene: ``prompted`` is told how many of what, ``layout`` and ``pasted`` also where each object is."""

IDENTICAL_SHARE = 0.3
"""Of pasted scenes: all objects look the same, so only their places differ; in the others they vary."""

MAX_CLUTTER = 3
"""Objects of other categories, where there are any; none to so many are equally likely."""

_WITH_CLUTTER: frozenset[Arrangement] = frozenset({"scatter", "cluster"})
"""Arrangements for relations to other objects ("beside the chair"); elsewhere those would only stand in the way."""


@dataclass(frozen=True, kw_only=True)
class SceneRequest:
    """How many of what, and where; the rest of a scene is left to chance."""

    category: str
    count: int
    arrangement: Arrangement | None = None
    """None where the composer places nothing."""


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """One scene to ask for; what is in the image only a detector can say."""

    key: str
    category: str
    count: int
    attributes: Mapping[str, str]
    """Asked of all the objects, such as ``{"color": "red"}``; empty for none."""

    prompt: str
    arrangement: Arrangement = "scatter"
    """How ``layout`` and ``pasted`` place the objects."""

    identical: bool = False
    """Whether ``pasted`` takes one cut-out for all of them, so that only their places differ."""

    clutter: tuple[str, ...] = ()
    """Category of each further object, for ``layout`` and ``pasted``; none is the scene's own."""

    def to_payload(self) -> dict[str, Any]:
        """JSON values for the row of a plan, without the key."""
        return {
            "category": self.category,
            "count": self.count,
            "attributes": dict(self.attributes),
            "prompt": self.prompt,
            "arrangement": self.arrangement,
            "identical": self.identical,
            "clutter": list(self.clutter),
        }

    @staticmethod
    def from_payload(key: str, payload: Mapping[str, Any]) -> SceneSpec:
        """The inverse of ``to_payload``."""
        return SceneSpec(key=key, **{**payload, "clutter": tuple(payload["clutter"])})


def get_arrangements(composer: Composer) -> tuple[Arrangement | None, ...]:
    """What a composer can be asked for; None alone of one that places nothing."""
    return (None,) if composer == "prompted" else get_args(Arrangement)


def make_uniform_requests(
    vocabulary: VocabularyConfig, num_scenes: int, seed: int, composer: Composer = "prompted"
) -> list[SceneRequest]:
    """Scenes to ask for, spread evenly over the cells: their numbers differ by at most one.

    Each cell goes through the composer's arrangements in an order of its own. The first scenes do not depend on how
    many follow.

    Raises:
        AugmentationError: ``num_scenes`` is not positive.
    """
    if num_scenes < 1:
        raise AugmentationError(f"num_scenes must be at least 1, got {num_scenes}")
    category_quantifiers, arrangements, requests = (
        vocabulary.category_quantifiers,
        get_arrangements(composer),
        list[SceneRequest](),
    )
    for index in range(num_scenes):
        in_turn, offset = divmod(index, len(category_quantifiers))
        if offset == 0:
            order = Random(f"{seed}/turn/{in_turn}").sample(category_quantifiers, len(category_quantifiers))
        category, quantifier = order[offset]
        own_order = Random(f"{seed}/{composer}/{category}/{quantifier}").sample(arrangements, len(arrangements))
        arrangement = own_order[in_turn % len(arrangements)]
        requests.append(SceneRequest(category=category, count=QUANTIFIERS[quantifier], arrangement=arrangement))
    return requests


def make_scene_specs(
    vocabulary: VocabularyConfig,
    requests: Iterable[SceneRequest],
    seed: int,
    *,
    composer: Composer = "prompted",
    round_index: int = 1,
) -> Iterator[SceneSpec]:
    """A scene for each request; what the request leaves open is drawn by the scene's own random numbers."""
    for index, request in enumerate(requests):
        key = f"{composer}-{round_index:02d}-{index:06d}"
        yield _make_spec(vocabulary, key, request, composer, Random(f"{seed}/scene/{key}"))


def _make_spec(
    vocabulary: VocabularyConfig, key: str, request: SceneRequest, composer: Composer, random: Random
) -> SceneSpec:
    """Cut-outs bring their own attributes, so none are asked of them: they vary, unless they are identical."""
    attribute_names = () if composer == "pasted" else random.choice(vocabulary.attribute_sets)
    attributes = {attribute: random.choice(vocabulary.attributes[attribute]) for attribute in attribute_names}
    quantifier = next(word for word, count in QUANTIFIERS.items() if count == request.count)
    return SceneSpec(
        key=key,
        category=request.category,
        count=request.count,
        attributes=attributes,
        prompt=vocabulary.prompt(request.category, quantifier, attributes),
        arrangement=request.arrangement or "scatter",
        identical=composer == "pasted" and random.random() < IDENTICAL_SHARE,
        clutter=_sample_clutter(vocabulary, request, random),
    )


def _sample_clutter(vocabulary: VocabularyConfig, request: SceneRequest, random: Random) -> tuple[str, ...]:
    others = sorted(set(vocabulary.categories) - {request.category})
    if request.arrangement == "between" and others:
        return (random.choice(others),) * 2
    if request.arrangement not in _WITH_CLUTTER:
        return ()
    return tuple(random.sample(others, min(random.randint(0, MAX_CLUTTER), len(others))))
