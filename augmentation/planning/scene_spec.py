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
"""Arrangement of objects. ``depth``: on one ground plane in perspective, nearer objects lower and larger. ``between``:
one object is between two of another category."""

Composer = Literal["prompted", "layout", "pasted", "photographs"]
"""Composer of a scene: ``prompted`` gets category and count, ``layout`` and ``pasted`` also a box for each object.
``photographs`` gets no request: each existing image becomes a scene once."""

IDENTICAL_SHARE = 0.3
"""Share of pasted scenes whose objects all come from one cut-out, so only their positions differ."""

MAX_CLUTTER = 3
"""Maximum number of objects of other categories; all numbers up to it are equally likely."""

_WITH_CLUTTER: frozenset[Arrangement] = frozenset({"scatter", "cluster"})
"""Arrangements with objects of other categories, for relations to them ("beside the chair")."""


@dataclass(frozen=True, kw_only=True)
class SceneRequest:
    """Category, count and arrangement of a scene; the rest is random."""

    category: str
    count: int
    arrangement: Arrangement | None = None
    """Arrangement; None if the composer places no objects."""


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """Specification of one scene. Only a detector tells what its image shows."""

    key: str
    category: str
    count: int
    attributes: Mapping[str, str]
    """Attributes in the prompt for all objects, such as ``{"color": "red"}``; empty for none."""

    prompt: str
    arrangement: Arrangement = "scatter"
    """Arrangement of the objects for ``layout`` and ``pasted``."""

    identical: bool = False
    """Flag of ``pasted`` scenes whose objects all come from one cut-out."""

    clutter: tuple[str, ...] = ()
    """Categories of further objects for ``layout`` and ``pasted``; none is the scene's own."""

    def to_payload(self) -> dict[str, Any]:
        """Return JSON values for the row of a plan, without the key."""
        return {name: value for name, value in vars(self).items() if name != "key"}

    @staticmethod
    def from_payload(key: str, payload: Mapping[str, Any]) -> SceneSpec:
        """Make a spec from the JSON values of ``to_payload``."""
        return SceneSpec(key=key, **{**payload, "clutter": tuple(payload["clutter"])})


def get_arrangements(composer: Composer) -> tuple[Arrangement | None, ...]:
    """Return the arrangements of a composer; only None if it places no objects."""
    return (None,) if composer == "prompted" else get_args(Arrangement)


def make_uniform_requests(
    vocabulary: VocabularyConfig, num_scenes: int, seed: int, composer: Composer = "prompted"
) -> list[SceneRequest]:
    """Make requests that are spread evenly over categories and quantifiers: their numbers differ by at most one.

    Each pair goes through the composer's arrangements in its own random order. The first requests do not depend on the
    number of scenes.

    Raises:
        AugmentationError: ``num_scenes`` is not positive.
    """
    if num_scenes < 1:
        raise AugmentationError(f"num_scenes must be at least 1, got {num_scenes}")
    category_quantifiers, arrangements = vocabulary.category_quantifiers, get_arrangements(composer)
    requests: list[SceneRequest] = []
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
    """Make the spec of each request; its random parts depend on the seed and its key alone."""
    for index, request in enumerate(requests):
        key = f"{composer}-{round_index:02d}-{index:06d}"
        yield _make_spec(vocabulary, key, request, composer, Random(f"{seed}/scene/{key}"))


def _make_spec(
    vocabulary: VocabularyConfig, key: str, request: SceneRequest, composer: Composer, random: Random
) -> SceneSpec:
    """Make a spec; pasted scenes get no attributes, since cut-outs have their own."""
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
