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
from augmentation.relations.scene import ContactKind

Arrangement = Literal["scatter", "row", "column", "grid", "cluster", "depth", "between", "contact"]
"""Arrangement of objects. ``depth``: on one ground plane in perspective, nearer objects lower and larger. ``between``:
one object is between two of another category. ``contact``: one or two objects stand on or in others; only ``pasted``
knows them."""

Composer = Literal["prompted", "layout", "pasted", "photographs"]
"""Composer of a scene: ``prompted`` gets category and count, ``layout`` and ``pasted`` also a box for each object.
``photographs`` gets no request: each existing image becomes a scene once."""

IDENTICAL_SHARE = 0.3
"""Share of pasted scenes whose objects all come from one cut-out, so only their positions differ."""

MAX_CLUTTER = 3
"""Maximum number of objects of other categories; all numbers up to it are equally likely."""

MAX_CONTACTS = 2
"""Maximum number of objects on or in others."""

_WITH_CLUTTER: frozenset[Arrangement] = frozenset({"scatter", "cluster", "contact"})
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

    contacts: tuple[ContactKind, ...] = ()
    """Contacts of the first objects, each with the object of clutter of the same number."""

    def to_payload(self) -> dict[str, Any]:
        """Return JSON values for the row of a plan, without the key."""
        return {name: value for name, value in vars(self).items() if name != "key"}

    @staticmethod
    def from_payload(key: str, payload: Mapping[str, Any]) -> SceneSpec:
        """Make a spec from the JSON values of ``to_payload``."""
        lists = {name: tuple(payload[name]) for name in ("clutter", "contacts")}
        return SceneSpec(key=key, **{**payload, **lists})


def get_arrangements(composer: Composer, *, has_contacts: bool) -> tuple[Arrangement | None, ...]:
    """Return the arrangements of a composer; only None if it places no objects.

    Args:
        composer: composer of the scenes.
        has_contacts: whether the vocabulary has categories that objects of the scene may be on or in.
    """
    if composer == "prompted":
        return (None,)
    is_known = has_contacts and composer == "pasted"
    return tuple(one for one in get_args(Arrangement) if one != "contact" or is_known)


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
    category_quantifiers = vocabulary.category_quantifiers
    requests: list[SceneRequest] = []
    for index in range(num_scenes):
        in_turn, offset = divmod(index, len(category_quantifiers))
        if offset == 0:
            order = Random(f"{seed}/turn/{in_turn}").sample(category_quantifiers, len(category_quantifiers))
        category, quantifier = order[offset]
        arrangements = get_arrangements(composer, has_contacts=bool(vocabulary.list_anchors(category)))
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
    identical = composer == "pasted" and random.random() < IDENTICAL_SHARE
    contacts, anchors = _sample_contacts(vocabulary, request, random)
    return SceneSpec(
        key=key,
        category=request.category,
        count=request.count,
        attributes=attributes,
        prompt=vocabulary.prompt(request.category, quantifier, attributes),
        arrangement=request.arrangement or "scatter",
        identical=identical,
        clutter=anchors or _sample_clutter(vocabulary, request, random),
        contacts=contacts,
    )


def _sample_contacts(
    vocabulary: VocabularyConfig, request: SceneRequest, random: Random
) -> tuple[tuple[ContactKind, ...], tuple[str, ...]]:
    """Sample one or two contacts and their anchors; none for other arrangements, and without a fitting anchor."""
    choices = vocabulary.list_anchors(request.category) if request.arrangement == "contact" else []
    if not choices:
        return (), ()
    pairs = random.choices(choices, k=random.randint(1, min(MAX_CONTACTS, request.count)))
    return tuple(kind for kind, _ in pairs), tuple(anchor for _, anchor in pairs)


def _sample_clutter(vocabulary: VocabularyConfig, request: SceneRequest, random: Random) -> tuple[str, ...]:
    others = sorted(set(vocabulary.categories) - {request.category})
    if request.arrangement == "between" and others:
        return (random.choice(others),) * 2
    if request.arrangement not in _WITH_CLUTTER:
        return ()
    return tuple(random.sample(others, min(random.randint(0, MAX_CLUTTER), len(others))))
