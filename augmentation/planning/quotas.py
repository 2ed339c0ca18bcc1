"""How many queries of each kind are wanted, what is missing, and what to ask the composers for next.

quotas = Quotas(QuotaConfig(queries_per_quota=8), list_quota_keys(vocabulary, families))
standings = quotas.standings(outcomes, kept)                   # of each cell: wanted, kept, asked for
quotas.next_requests({"pasted": 288}, outcomes, kept)        # at most so many scenes

A cell is a family of relations, a number of objects and a category. What a composer delivers is not what it was asked
for, so what was asked for is never counted; but how much each kind of request brought so far says how many more of
them the missing queries need.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import product

from augmentation.planning.scene_spec import (
    Arrangement,
    Composer,
    SceneRequest,
    get_arrangements,
)
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig
from augmentation.relations.types import MIN_OBJECTS, RelationType

SERVED_RELATION_TYPES: Mapping[Arrangement, frozenset[RelationType]] = {
    "scatter": frozenset({"size", "region", "near", "attribute", "beside"}),
    "row": frozenset({"ordinal", "middle", "side"}),
    "column": frozenset({"ordinal", "middle", "side"}),
    "grid": frozenset({"line", "region"}),
    "cluster": frozenset({"near", "beside"}),
    "depth": frozenset({"depth", "size"}),
    "between": frozenset({"between"}),
}
"""What an arrangement is for. Others may come of it, too; a scene without one may hold anything."""

MAX_UNPRODUCTIVE_SCENES = 40
"""So many scenes that were to serve a cell and gave nothing for it: no more are asked for."""

MIN_ROUND_SCENES = 64
"""A round asks for at least so many scenes while anything is missing: loading models for a handful is not worth it."""

_GUESS_SERVED, _GUESS_OTHER = 0.5, 0.1
"""Queries of a cell that a scene is taken to give before any was seen."""

_GUESS_WEIGHT = 4
"""The guess counts as so many scenes seen; so do the other categories beside a category's own scenes."""


@dataclass(frozen=True, kw_only=True, order=True)
class QuotaKey:
    """What a quota is kept of."""

    category: str
    count: int
    """Objects of the category that were found in the scene."""

    relation_type: RelationType


@dataclass(frozen=True, kw_only=True)
class QuotaConfig:
    """How many queries are wanted of each cell."""

    queries_per_quota: int = 8
    tolerance: float = 0.15
    """A cell is reached if no larger share of its queries is missing."""

    max_queries_per_object: int = 2
    """At most; each of another family."""

    def __post_init__(self) -> None:
        for name in ("queries_per_quota", "max_queries_per_object"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1), got {self.tolerance}; 0 asks for every query")

    @property
    def min_queries(self) -> int:
        """Queries from which on a cell is reached."""
        return math.ceil((1 - self.tolerance) * self.queries_per_quota - 1e-9)


def list_quota_keys(vocabulary: VocabularyConfig, families: Iterable[RelationType]) -> list[QuotaKey]:
    """All cells that can exist: so many objects allow the family, and the vocabulary has words for it."""
    counts = sorted(QUANTIFIERS[word] for word in vocabulary.quantifiers)
    return [
        QuotaKey(category=category, count=count, relation_type=relation_type)
        for category, count, relation_type in product(sorted(vocabulary.categories), counts, sorted(families))
        if _can_exist(relation_type, count) and (relation_type != "attribute" or vocabulary.attributes)
    ]


def _can_exist(relation_type: RelationType, count: int) -> bool:
    """Only an odd number of objects has one in the middle."""
    return count >= MIN_OBJECTS[relation_type] and (relation_type != "middle" or count % 2 == 1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one scene that was asked for."""

    composer: Composer
    request: SceneRequest
    candidates: Mapping[QuotaKey, int]
    """Queries that can be proved of it, by cell; none where it was rejected."""


@dataclass(frozen=True, kw_only=True)
class QuotaStatus:
    """How far one cell is."""

    quota_key: QuotaKey
    kept: int
    min_queries: int
    candidates: int
    requested: int
    """Scenes of its category and count that were to serve its family."""

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
        """Why it was not reached."""
        if not self.requested and not self.candidates:
            return f"no scene was asked for it: {stopped}"
        if not self.candidates:
            return f"0 of {self.requested} scenes asked for gave one"
        return f"{stopped}: {self.requested} scenes asked for, {self.candidates} queries to choose from"


class Quotas:
    """The wants of a data set; knows nothing of what was found but what it is told."""

    def __init__(self, config: QuotaConfig, quota_keys: Sequence[QuotaKey]) -> None:
        self.config = config
        self.quota_keys = list(quota_keys)

    def statuses(self, outcomes: Iterable[Outcome], kept: Mapping[QuotaKey, int]) -> list[QuotaStatus]:
        """Of every cell, in order.

        Args:
            outcomes: of all scenes asked for so far.
            kept: queries of each cell that are in the data set.
        """
        requested, candidates = Counter[SceneRequest](), Counter[QuotaKey]()
        for outcome in outcomes:
            requested[outcome.request] += 1
            candidates.update(outcome.candidates)
        return [
            QuotaStatus(
                quota_key=quota_key,
                kept=kept.get(quota_key, 0),
                min_queries=self.config.min_queries,
                candidates=candidates[quota_key],
                requested=sum(requested[request] for request in _list_serving_requests(quota_key)),
            )
            for quota_key in self.quota_keys
        ]

    def plan_requests(
        self, shares: Mapping[Composer, int], outcomes: Sequence[Outcome], kept: Mapping[QuotaKey, int]
    ) -> dict[Composer, list[SceneRequest]]:
        """What to ask each composer for: so much that, by what it brought so far, its part of the missing comes.

        Each further request is the one that is expected to bring most of what is still missing after those before it
        (lazy greedy choice, Minoux 1978: what a request is worth only falls).

        Args:
            shares: the most scenes of each composer; as many, up to ``MIN_ROUND_SCENES``, while anything is missing.
        """
        missing = [one for one in self.statuses(outcomes, kept) if one.is_open]
        wanted = {one.quota_key: (self.config.queries_per_quota - one.kept) / len(shares) for one in missing}
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
        """Why no further round is made; None if one is.

        Args:
            before: the standings before the last round; empty after the first, of which all is new.
            num_left: scenes of the budget that were not asked for yet.
        """
        if all(status.is_reached for status in statuses):
            return "every cell is reached"
        if not any(status.is_open for status in statuses):
            return "every cell that was ever served is reached"
        if num_left < 1:
            return "budget spent"
        opened = (
            {one.quota_key: one.kept for one in before if one.is_open} if before else dict.fromkeys(self.quota_keys, 0)
        )
        is_gain = any(one.kept > opened.get(one.quota_key, one.kept) for one in statuses)
        return None if is_gain else "the last round brought nothing that is missing"


def _list_serving_requests(quota_key: QuotaKey) -> list[SceneRequest]:
    """The requests that are to bring queries of a cell."""
    arrangements: list[Arrangement | None] = [
        None,
        *(name for name, served in SERVED_RELATION_TYPES.items() if quota_key.relation_type in served),
    ]
    return [SceneRequest(category=quota_key.category, count=quota_key.count, arrangement=one) for one in arrangements]


class Yields:
    """Queries of each cell for a scene asked for, as far as is known.

    A guess where nothing was seen; corrected by all scenes of the same composer, count and arrangement, and then by
    those of the same category among them.
    """

    def __init__(self, quota_keys: Iterable[QuotaKey], outcomes: Iterable[Outcome]) -> None:
        self._quota_keys: dict[str, list[QuotaKey]] = defaultdict(list)
        for quota_key in quota_keys:
            self._quota_keys[quota_key.category].append(quota_key)
        self._own, self._pooled = (
            defaultdict[_RequestKey, _ObservedYield](_ObservedYield),
            defaultdict[_RequestKey, _ObservedYield](_ObservedYield),
        )
        for outcome in outcomes:
            request = outcome.request
            self._own[outcome.composer, request].add(outcome)
            self._pooled[outcome.composer, _drop_category(request)].add(outcome)

    def estimate_queries(self, composer: Composer, request: SceneRequest) -> dict[QuotaKey, float]:
        """Expected queries of one scene, for each cell of its category."""
        pooled, own = self._pooled[composer, _drop_category(request)], self._own[composer, request]
        return {
            quota_key: own.compute_mean(
                quota_key, guess=pooled.compute_mean(quota_key, guess=_estimate_unseen(quota_key, request))
            )
            for quota_key in self._quota_keys[request.category]
        }

    def requests(self, composer: Composer, categories: Iterable[str]) -> list[SceneRequest]:
        """All that a composer can be asked for."""
        return [
            SceneRequest(category=category, count=count, arrangement=arrangement)
            for category in sorted(categories)
            for count, arrangement in product(self._list_counts(category), get_arrangements(composer))
        ]

    def _list_counts(self, category: str) -> list[int]:
        return sorted({quota_key.count for quota_key in self._quota_keys[category]})


_RequestKey = tuple[Composer, SceneRequest]


class _ObservedYield:
    """Scenes of one kind, and the queries that they gave."""

    def __init__(self) -> None:
        self.num_scenes = 0
        self._queries: Counter[tuple[int, RelationType]] = Counter()

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
    is_served = request.arrangement is None or quota_key.relation_type in SERVED_RELATION_TYPES[request.arrangement]
    return _GUESS_SERVED if is_served else _GUESS_OTHER


class _MissingQueries:
    """What is still missing after the requests so far, and what a further one is worth."""

    def __init__(self, wanted: Mapping[QuotaKey, float], max_queries_per_object: int) -> None:
        self._missing = dict(wanted)
        self._max_per_object = max_queries_per_object

    def compute_gain(self, request: SceneRequest, expected: Mapping[QuotaKey, float]) -> dict[QuotaKey, float]:
        """The part of what is expected that is missing, as far as there are objects to say it of."""
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
    """At most ``num_scenes`` requests, until nothing that is wanted is expected to be missing."""
    greedy, chosen = _MissingQueries(wanted, max_queries_per_object), list[SceneRequest]()
    requests = yields.requests(composer, {quota_key.category for quota_key in wanted})
    expected = [yields.estimate_queries(composer, request) for request in requests]
    # Of requests that are worth the same, since little is missing, the one that is surest to bring it comes first.
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
"""Queries; below it a request is not worth a scene."""
