"""Quotas of queries: how many each quota still needs, and which scenes to request next.

quotas = Quotas(QuotaConfig(queries_per_quota=8), list_quota_keys(vocabulary, relation_types))
statuses = quotas.statuses(outcomes, kept)                     # kept, candidates and requested scenes of each quota
quotas.plan_requests({"pasted": 288}, outcomes, kept)        # at most 288 scenes

A quota is kept for each relation type, number of objects and category; queries with no target, two or more have types
of their own. Composers do not always deliver what is
requested, so only queries count. The yield of each kind of request so far decides how many more are requested.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import product

from augmentation.planning.scene_spec import (
    Arrangement,
    Composer,
    SceneRequest,
    get_arrangements,
)
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig
from augmentation.relations.types import MIN_OBJECTS, TARGET_TYPES, RelationType, TargetType
from pipeline import LimitedConfig, PositiveInt, ShareBelowOne

SERVED_RELATION_TYPES: Mapping[Arrangement, frozenset[RelationType]] = {
    "scatter": frozenset({"size", "region", "near", "attribute", "beside"}),
    "row": frozenset({"ordinal", "middle", "side"}),
    "column": frozenset({"ordinal", "middle", "side"}),
    "grid": frozenset({"line", "region"}),
    "cluster": frozenset({"near", "beside"}),
    "depth": frozenset({"depth", "size"}),
    "between": frozenset({"between"}),
    "contact": frozenset({"contact"}),
}
"""Relation types that an arrangement serves; other types may occur, too. Scenes without arrangement serve all."""

MAX_UNPRODUCTIVE_SCENES = 40
"""Stop requesting a quota after this many scenes that yielded no query for it."""

MIN_ROUND_SCENES = 64
"""Minimum number of scenes of a round while any quota is open; loading models for fewer is not worthwhile."""

_GUESS_SERVED, _GUESS_OTHER = 0.5, 0.1
"""Expected queries of a quota per scene before any scene exists, if the scene serves its relation type, and if not."""

_GUESS_WEIGHT = 4
"""Weight of a guess, in scenes; the pooled yield of all categories has the same weight beside a category's own."""


@dataclass(frozen=True, kw_only=True, order=True)
class QuotaKey:
    """Key of a quota."""

    category: str
    count: int
    """Number of detected objects of the category in the scene."""

    relation_type: RelationType | TargetType
    """Relation type of a query with one target; else the type by the number of targets."""


@dataclass(frozen=True, kw_only=True)
class QuotaConfig(LimitedConfig):
    """Targets of the quotas."""

    queries_per_quota: PositiveInt = 8
    """Number of queries that each quota takes."""

    weights: Mapping[RelationType | TargetType, float] = field(default_factory=dict)
    """Factor of ``queries_per_quota`` by relation type: ``attribute 4`` gives four times as many queries that
    appearance alone decides, ``depth 0`` none by depth. By default those of a measured style, and 1 for a written
    one."""

    tolerance: ShareBelowOne = 0.15
    """Maximum share of missing queries of a reached quota, in [0, 1)."""

    max_queries_per_object: PositiveInt = 2
    """Maximum number of queries for one object."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"weights must be 0 or more, got {weight} for {name}")

    def count_queries(self, quota_key: QuotaKey) -> int:
        """Return the number of queries that a quota takes."""
        return round(self.weights.get(quota_key.relation_type, 1) * self.queries_per_quota)

    def count_min_queries(self, quota_key: QuotaKey) -> int:
        """Return the number of queries from which a quota is reached."""
        return math.ceil((1 - self.tolerance) * self.count_queries(quota_key) - 1e-9)


SINGLE_TYPES: frozenset[RelationType] = frozenset({"attribute", "beside", "near", "between"})
"""Relation types of queries about the only object of its category: its name, and its relation to other objects."""


def list_quota_keys(
    vocabulary: VocabularyConfig, relation_types: Iterable[RelationType | TargetType], *, has_single: bool = False
) -> list[QuotaKey]:
    """List all possible quotas: the count allows the relation type, and the vocabulary has words for it.

    Args:
        vocabulary: categories, quantifiers and attributes.
        relation_types: relation types of the style.
        has_single: whether scenes may have one object of a category alone, as photographs do.
    """
    relation_types = sorted(relation_types)
    counts = sorted(QUANTIFIERS[word] for word in vocabulary.quantifiers)
    single = [
        QuotaKey(category=category, count=1, relation_type=relation_type)
        for category, relation_type in product(sorted(vocabulary.categories), relation_types)
        if has_single and relation_type in SINGLE_TYPES
    ]
    return single + [
        QuotaKey(category=category, count=count, relation_type=relation_type)
        for category, count, relation_type in product(sorted(vocabulary.categories), counts, relation_types)
        if count >= MIN_OBJECTS[relation_type]
        and (relation_type != "middle" or count % 2 == 1)  # an even number has no middle object
        and (relation_type != "attribute" or vocabulary.attributes)
        and (relation_type != "contact" or vocabulary.list_anchors(category))
    ]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one requested scene."""

    composer: Composer
    request: SceneRequest | None
    """Request; None for a photograph, which nobody requested."""

    candidates: Mapping[QuotaKey, int]
    """Number of its verified queries by quota; none if it was rejected."""


@dataclass(frozen=True, kw_only=True)
class QuotaStatus:
    """Status of one quota."""

    quota_key: QuotaKey
    kept: int
    min_queries: int
    candidates: int
    requested: int
    """Number of requested scenes of its category and count that serve its relation type."""

    @property
    def is_reached(self) -> bool:
        return self.kept >= self.min_queries

    @property
    def is_unreachable(self) -> bool:
        return not self.candidates and self.requested >= MAX_UNPRODUCTIVE_SCENES

    @property
    def is_open(self) -> bool:
        return not self.is_reached and not self.is_unreachable

    def explain_shortfall(self, stopped: str) -> str:
        """Explain why the quota was not reached; ``stopped`` is why there were no more rounds."""
        if not self.requested and not self.candidates:
            return f"no scene was requested: {stopped}"
        if not self.candidates:
            return f"none of {self.requested} requested scenes yielded a query"
        return f"{stopped}: {self.requested} requested scenes yielded {self.candidates} candidate queries"


class Quotas:
    """Tracker of the queries that each quota still needs."""

    def __init__(self, config: QuotaConfig, quota_keys: Sequence[QuotaKey]) -> None:
        self.config = config
        self.quota_keys = list(quota_keys)

    def statuses(self, outcomes: Iterable[Outcome], kept: Mapping[QuotaKey, int]) -> list[QuotaStatus]:
        """Compute the status of every quota, in order.

        Args:
            outcomes: outcomes of all scenes requested so far.
            kept: number of selected queries by quota.
        """
        requested, candidates = Counter[SceneRequest | None](), Counter[QuotaKey]()
        for outcome in outcomes:
            requested[outcome.request] += 1
            candidates.update(outcome.candidates)
        return [
            QuotaStatus(
                quota_key=quota_key,
                kept=kept.get(quota_key, 0),
                min_queries=self.config.count_min_queries(quota_key),
                candidates=candidates[quota_key],
                requested=sum(requested[request] for request in _list_serving_requests(quota_key)),
            )
            for quota_key in self.quota_keys
        ]

    def plan_requests(
        self, shares: Mapping[Composer, int], outcomes: Sequence[Outcome], kept: Mapping[QuotaKey, int]
    ) -> dict[Composer, list[SceneRequest]]:
        """Plan the requests of a round, so that each composer is expected to yield its share of the missing queries.

        Each request is the one with the largest expected gain after those before it (lazy greedy choice, Minoux 1978:
        the gain of a request only falls).

        Args:
            shares: maximum number of scenes by composer. Up to ``MIN_ROUND_SCENES`` are requested if any quota is open.
            outcomes: outcomes of all scenes requested so far.
            kept: number of selected queries by quota.
        """
        missing = [one for one in self.statuses(outcomes, kept) if one.is_open]
        wanted = {one.quota_key: (self.config.count_queries(one.quota_key) - one.kept) / len(shares) for one in missing}
        yields = Yields(self.quota_keys, outcomes)
        return {
            composer: self._plan_composer_requests(composer, wanted, yields, share)
            for composer, share in shares.items()
        }

    def _plan_composer_requests(
        self, composer: Composer, wanted: Mapping[QuotaKey, float], yields: Yields, num_scenes: int
    ) -> list[SceneRequest]:
        max_per_object = self.config.max_queries_per_object
        requests = more = _select_requests(composer, wanted, yields, num_scenes, max_per_object)
        while more and len(requests) < (min_scenes := min(num_scenes, MIN_ROUND_SCENES)):
            more = _select_requests(composer, wanted, yields, min_scenes - len(requests), max_per_object)
            requests = requests + more
        return requests

    def find_stop_reason(
        self, statuses: Sequence[QuotaStatus], before: Sequence[QuotaStatus], num_left: int
    ) -> str | None:
        """Find the reason to stop; return None if there should be another round.

        Args:
            statuses: statuses after the last round.
            before: statuses before the last round; empty after the first one.
            num_left: scenes of the budget that are not yet requested.
        """
        if all(status.is_reached for status in statuses):
            return "every quota is reached"
        if not any(status.is_open for status in statuses):
            return "every quota with any candidate is reached"
        if num_left < 1:
            return "budget spent"
        opened = (
            {one.quota_key: one.kept for one in before if one.is_open} if before else dict.fromkeys(self.quota_keys, 0)
        )
        is_gain = any(one.kept > opened.get(one.quota_key, one.kept) for one in statuses)
        return None if is_gain else "the last round yielded no missing query"


def _list_serving_requests(quota_key: QuotaKey) -> list[SceneRequest]:
    """List the requests that serve a quota."""
    arrangements: list[Arrangement | None] = [
        None,
        *(name for name in SERVED_RELATION_TYPES if _serves(name, quota_key)),
    ]
    return [SceneRequest(category=quota_key.category, count=quota_key.count, arrangement=one) for one in arrangements]


def _serves(arrangement: Arrangement, quota_key: QuotaKey) -> bool:
    """Return whether an arrangement serves a quota; queries without a single target occur in every one."""
    served = SERVED_RELATION_TYPES[arrangement]
    return quota_key.relation_type in served or quota_key.relation_type in TARGET_TYPES


class Yields:
    """Estimates of the queries that a requested scene yields.

    An estimate starts with a guess. All scenes of the same composer, count and arrangement correct it, then those of
    the same category among them.
    """

    def __init__(self, quota_keys: Iterable[QuotaKey], outcomes: Iterable[Outcome]) -> None:
        self._quota_keys: dict[str, list[QuotaKey]] = defaultdict(list)
        for quota_key in quota_keys:
            self._quota_keys[quota_key.category].append(quota_key)
        self._own = defaultdict[_RequestKey, _ObservedYield](_ObservedYield)
        self._pooled = defaultdict[_RequestKey, _ObservedYield](_ObservedYield)
        for outcome in outcomes:
            if request := outcome.request:
                self._own[outcome.composer, request].add(outcome)
                self._pooled[outcome.composer, _drop_category(request)].add(outcome)

    def estimate_queries(self, composer: Composer, request: SceneRequest) -> dict[QuotaKey, float]:
        """Estimate the queries of one scene, for each quota of its category."""
        pooled, own = self._pooled[composer, _drop_category(request)], self._own[composer, request]
        return {
            quota_key: own.compute_mean(
                quota_key, guess=pooled.compute_mean(quota_key, guess=_estimate_unseen(quota_key, request))
            )
            for quota_key in self._quota_keys[request.category]
        }

    def requests(self, composer: Composer, categories: Iterable[str]) -> list[SceneRequest]:
        """Return all possible requests to a composer."""
        return [
            SceneRequest(category=category, count=count, arrangement=arrangement)
            for category in sorted(categories)
            for count in sorted({quota_key.count for quota_key in self._quota_keys[category]})
            for arrangement in get_arrangements(
                composer, has_contacts=any(one.relation_type == "contact" for one in self._quota_keys[category])
            )
        ]


_RequestKey = tuple[Composer, SceneRequest]


class _ObservedYield:
    """Number of scenes of one kind, and of their queries."""

    def __init__(self) -> None:
        self.num_scenes = 0
        self._queries: Counter[tuple[int, RelationType | TargetType]] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.num_scenes += 1
        for quota_key, number in outcome.candidates.items():
            self._queries[quota_key.count, quota_key.relation_type] += number

    def compute_mean(self, quota_key: QuotaKey, guess: float) -> float:
        return (self._queries[quota_key.count, quota_key.relation_type] + guess * _GUESS_WEIGHT) / (
            self.num_scenes + _GUESS_WEIGHT
        )


def _drop_category(request: SceneRequest) -> SceneRequest:
    return SceneRequest(category="", count=request.count, arrangement=request.arrangement)


def _estimate_unseen(quota_key: QuotaKey, request: SceneRequest) -> float:
    if quota_key.count != request.count:
        return 0.0
    is_served = request.arrangement is None or _serves(request.arrangement, quota_key)
    return _GUESS_SERVED if is_served else _GUESS_OTHER


class _MissingQueries:
    """Queries that are still missing after the planned requests, and the gain of another request."""

    def __init__(self, wanted: Mapping[QuotaKey, float], max_queries_per_object: int) -> None:
        self._missing = dict(wanted)
        self._max_per_object = max_queries_per_object

    def compute_gain(self, request: SceneRequest, expected: Mapping[QuotaKey, float]) -> dict[QuotaKey, float]:
        """Compute how many of the expected queries are missing, limited by the scene's objects."""
        useful = {quota_key: min(number, self._missing.get(quota_key, 0.0)) for quota_key, number in expected.items()}
        total = sum(useful.values())
        share = min(1.0, request.count * self._max_per_object / total) if total else 0.0
        return {quota_key: share * number for quota_key, number in useful.items() if number}

    def take(self, brought: Mapping[QuotaKey, float]) -> None:
        for quota_key, number in brought.items():
            self._missing[quota_key] -= number


def _select_requests(
    composer: Composer, wanted: Mapping[QuotaKey, float], yields: Yields, num_scenes: int, max_queries_per_object: int
) -> list[SceneRequest]:
    """Select at most ``num_scenes`` requests, until no query is expected to be missing."""
    greedy, chosen = _MissingQueries(wanted, max_queries_per_object), list[SceneRequest]()
    requests = yields.requests(composer, {quota_key.category for quota_key in wanted})
    expected = [yields.estimate_queries(composer, request) for request in requests]
    # Of requests with equal gain, since little is missing, the one with the largest expected yield comes first.
    surest = [-sum(number for quota_key, number in one.items() if quota_key in wanted) for one in expected]
    heap = [(-math.inf, surest[i], i) for i in range(len(requests))]
    heapify(heap)
    while heap and len(chosen) < num_scenes:
        _, _, i = heappop(heap)
        brought = greedy.compute_gain(requests[i], expected[i])
        worth = sum(brought.values())
        if heap and (-worth, surest[i], i) > heap[0]:
            heappush(heap, (-worth, surest[i], i))
        elif worth > _MIN_GAIN:
            chosen.append(requests[i])
            greedy.take(brought)
            heappush(heap, (-worth, surest[i], i))
    return chosen


_MIN_GAIN = 0.02
"""Minimum expected gain of a request, in queries."""
