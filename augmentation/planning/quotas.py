"""How many queries of each kind are wanted, what is missing, and what to ask the composers for next.

quotas = Quotas(QuotaConfig(queries_per_cell=8), cells_of(vocabulary, families))
standings = quotas.standings(outcomes, kept)                   # of each cell: wanted, kept, asked for
quotas.next_requests({"pasted": 288}, outcomes, kept)        # at most so many scenes

A cell is a family of relations, a number of things and a category. What a composer delivers is not what it was asked
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

from augmentation.planning.vocabulary import (
    QUANTIFIERS,
    Arrangement,
    Composer,
    SceneRequest,
    VocabularyConfig,
    arrangements_of,
)
from augmentation.relations.types import LEAST_THINGS, Family

SERVED: Mapping[Arrangement, frozenset[Family]] = {
    "scatter": frozenset({"size", "region", "near", "attribute", "beside"}),
    "row": frozenset({"ordinal", "middle", "side"}),
    "column": frozenset({"ordinal", "middle", "side"}),
    "grid": frozenset({"line", "region"}),
    "cluster": frozenset({"near", "beside"}),
    "depth": frozenset({"depth", "size"}),
    "between": frozenset({"between"}),
}
"""What an arrangement is for. Others may come of it, too; a scene without one may hold anything."""

HOPELESS_AFTER = 40
"""So many scenes that were to serve a cell and gave nothing for it: no more are asked for."""

LEAST_OF_ROUND = 64
"""A round asks for at least so many scenes while anything is missing: loading models for a handful is not worth it."""

_GUESS_SERVED, _GUESS_OTHER = 0.5, 0.1
"""Queries of a cell that a scene is taken to give before any was seen."""

_GUESS_WEIGHT = 4
"""The guess counts as so many scenes seen; so do the other categories beside a category's own scenes."""


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """What a quota is kept of."""

    category: str
    count: int
    """Things of the category that were found in the scene."""

    family: Family


@dataclass(frozen=True, kw_only=True)
class QuotaConfig:
    """How many queries are wanted of each cell."""

    queries_per_cell: int = 8
    tolerance: float = 0.15
    """A cell is reached if no larger share of its queries is missing."""

    queries_per_thing: int = 2
    """At most; each of another family."""

    def __post_init__(self) -> None:
        for name in ("queries_per_cell", "queries_per_thing"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1), got {self.tolerance}; 0 asks for every query")

    @property
    def enough(self) -> int:
        """Queries from which on a cell is reached."""
        return math.ceil((1 - self.tolerance) * self.queries_per_cell - 1e-9)


def cells_of(vocabulary: VocabularyConfig, families: Iterable[Family]) -> list[Cell]:
    """All cells that can exist: so many things allow the family, and the vocabulary has words for it."""
    counts = sorted(QUANTIFIERS[word] for word in vocabulary.quantifiers)
    return [
        Cell(category=category, count=count, family=family)
        for category, count, family in product(sorted(vocabulary.categories), counts, sorted(families))
        if _can_exist(family, count) and (family != "attribute" or vocabulary.attributes)
    ]


def _can_exist(family: Family, count: int) -> bool:
    """Only an odd number of things has one in the middle."""
    return count >= LEAST_THINGS[family] and (family != "middle" or count % 2 == 1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one scene that was asked for."""

    composer: Composer
    request: SceneRequest
    candidates: Mapping[Cell, int]
    """Queries that can be proved of it, by cell; none where it was rejected."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far one cell is."""

    cell: Cell
    kept: int
    enough: int
    candidates: int
    asked: int
    """Scenes of its category and count that were to serve its family."""

    @property
    def is_reached(self) -> bool:
        return self.kept >= self.enough

    @property
    def is_hopeless(self) -> bool:
        return not self.candidates and self.asked >= HOPELESS_AFTER

    @property
    def is_open(self) -> bool:
        return not self.is_reached and not self.is_hopeless

    def why(self, stopped: str) -> str:
        """Why it was not reached."""
        if not self.asked and not self.candidates:
            return f"no scene was asked for it: {stopped}"
        if not self.candidates:
            return f"0 of {self.asked} scenes asked for gave one"
        return f"{stopped}: {self.asked} scenes asked for, {self.candidates} queries to choose from"


class Quotas:
    """The wants of a data set; knows nothing of what was found but what it is told."""

    def __init__(self, config: QuotaConfig, cells: Sequence[Cell]) -> None:
        self.config = config
        self.cells = list(cells)

    def standings(self, outcomes: Iterable[Outcome], kept: Mapping[Cell, int]) -> list[Standing]:
        """Of every cell, in order.

        Args:
            outcomes: of all scenes asked for so far.
            kept: queries of each cell that are in the data set.
        """
        asked, candidates = Counter[SceneRequest](), Counter[Cell]()
        for outcome in outcomes:
            asked[outcome.request] += 1
            candidates.update(outcome.candidates)
        return [
            Standing(
                cell=cell,
                kept=kept.get(cell, 0),
                enough=self.config.enough,
                candidates=candidates[cell],
                asked=sum(asked[request] for request in _serving(cell)),
            )
            for cell in self.cells
        ]

    def next_requests(
        self, shares: Mapping[Composer, int], outcomes: Sequence[Outcome], kept: Mapping[Cell, int]
    ) -> dict[Composer, list[SceneRequest]]:
        """What to ask each composer for: so much that, by what it brought so far, its part of the missing comes.

        Each further request is the one that is expected to bring most of what is still missing after those before it
        (lazy greedy choice, Minoux 1978: what a request is worth only falls).

        Args:
            shares: the most scenes of each composer; as many, up to ``LEAST_OF_ROUND``, while anything is missing.
        """
        missing = [one for one in self.standings(outcomes, kept) if one.is_open]
        wanted = {one.cell: (self.config.queries_per_cell - one.kept) / len(shares) for one in missing}
        yields = Yields(self.cells, outcomes)
        return {composer: self._requests(composer, wanted, yields, share) for composer, share in shares.items()}

    def _requests(
        self, composer: Composer, wanted: Mapping[Cell, float], yields: Yields, num_scenes: int
    ) -> list[SceneRequest]:
        per_thing = self.config.queries_per_thing
        requests = more = _worthwhile(composer, wanted, yields, num_scenes, per_thing)
        while more and len(requests) < (least := min(num_scenes, LEAST_OF_ROUND)):
            more = _worthwhile(composer, wanted, yields, least - len(requests), per_thing)
            requests = requests + more
        return requests

    def stop_reason(self, standings: Sequence[Standing], before: Sequence[Standing], num_left: int) -> str | None:
        """Why no further round is made; None if one is.

        Args:
            before: the standings before the last round; empty after the first, of which all is new.
            num_left: scenes of the budget that were not asked for yet.
        """
        if all(standing.is_reached for standing in standings):
            return "every cell is reached"
        if not any(standing.is_open for standing in standings):
            return "every cell that was ever served is reached"
        if num_left < 1:
            return "budget spent"
        opened = {one.cell: one.kept for one in before if one.is_open} if before else dict.fromkeys(self.cells, 0)
        is_gain = any(one.kept > opened.get(one.cell, one.kept) for one in standings)
        return None if is_gain else "the last round brought nothing that is missing"


def _serving(cell: Cell) -> list[SceneRequest]:
    """The requests that are to bring queries of a cell."""
    arrangements: list[Arrangement | None] = [None, *(name for name, served in SERVED.items() if cell.family in served)]
    return [SceneRequest(category=cell.category, count=cell.count, arrangement=one) for one in arrangements]


class Yields:
    """Queries of each cell for a scene asked for, as far as is known.

    A guess where nothing was seen; corrected by all scenes of the same composer, count and arrangement, and then by
    those of the same category among them.
    """

    def __init__(self, cells: Iterable[Cell], outcomes: Iterable[Outcome]) -> None:
        self._cells: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            self._cells[cell.category].append(cell)
        self._own, self._pooled = defaultdict[_Kind, _Seen](_Seen), defaultdict[_Kind, _Seen](_Seen)
        for outcome in outcomes:
            request = outcome.request
            self._own[outcome.composer, request].add(outcome)
            self._pooled[outcome.composer, _of_any_category(request)].add(outcome)

    def of(self, composer: Composer, request: SceneRequest) -> dict[Cell, float]:
        """Expected queries of one scene, for each cell of its category."""
        pooled, own = self._pooled[composer, _of_any_category(request)], self._own[composer, request]
        return {
            cell: own.mean(cell, guess=pooled.mean(cell, guess=_guess(cell, request)))
            for cell in self._cells[request.category]
        }

    def requests(self, composer: Composer, categories: Iterable[str]) -> list[SceneRequest]:
        """All that a composer can be asked for."""
        return [
            SceneRequest(category=category, count=count, arrangement=arrangement)
            for category in sorted(categories)
            for count, arrangement in product(self._counts(category), arrangements_of(composer))
        ]

    def _counts(self, category: str) -> list[int]:
        return sorted({cell.count for cell in self._cells[category]})


_Kind = tuple[Composer, SceneRequest]


class _Seen:
    """Scenes of one kind, and the queries that they gave."""

    def __init__(self) -> None:
        self.scenes = 0
        self._queries: Counter[tuple[int, Family]] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.scenes += 1
        for cell, number in outcome.candidates.items():
            self._queries[cell.count, cell.family] += number

    def mean(self, cell: Cell, guess: float) -> float:
        return (self._queries[cell.count, cell.family] + guess * _GUESS_WEIGHT) / (self.scenes + _GUESS_WEIGHT)


def _of_any_category(request: SceneRequest) -> SceneRequest:
    return SceneRequest(category="", count=request.count, arrangement=request.arrangement)


def _guess(cell: Cell, request: SceneRequest) -> float:
    if cell.count != request.count:
        return 0.0
    is_served = request.arrangement is None or cell.family in SERVED[request.arrangement]
    return _GUESS_SERVED if is_served else _GUESS_OTHER


class _Greedy:
    """What is still missing after the requests so far, and what a further one is worth."""

    def __init__(self, wanted: Mapping[Cell, float], queries_per_thing: int) -> None:
        self._missing = dict(wanted)
        self._per_thing = queries_per_thing

    def brings(self, request: SceneRequest, expected: Mapping[Cell, float]) -> dict[Cell, float]:
        """The part of what is expected that is missing, as far as there are things to say it of."""
        useful = {cell: min(number, self._missing.get(cell, 0.0)) for cell, number in expected.items()}
        total = sum(useful.values())
        share = min(1.0, request.count * self._per_thing / total) if total else 0.0
        return {cell: share * number for cell, number in useful.items() if number}

    def take(self, brought: Mapping[Cell, float]) -> None:
        for cell, number in brought.items():
            self._missing[cell] -= number


def _worthwhile(
    composer: Composer, wanted: Mapping[Cell, float], yields: Yields, num_scenes: int, queries_per_thing: int
) -> list[SceneRequest]:
    """At most ``num_scenes`` requests, until nothing that is wanted is expected to be missing."""
    greedy, chosen = _Greedy(wanted, queries_per_thing), list[SceneRequest]()
    requests = yields.requests(composer, {cell.category for cell in wanted})
    expected = [yields.of(composer, request) for request in requests]
    # Of requests that are worth the same, since little is missing, the one that is surest to bring it comes first.
    surest = [-sum(number for cell, number in one.items() if cell in wanted) for one in expected]
    heap = [(-math.inf, surest[i], i) for i in range(len(requests))]
    heapify(heap)
    while heap and len(chosen) < num_scenes:
        _, _, i = heappop(heap)
        brought = greedy.brings(requests[i], expected[i])
        worth = sum(brought.values())
        if heap and (-worth, surest[i], i) > heap[0]:
            heappush(heap, (-worth, surest[i], i))
        elif worth > _LEAST_WORTH:
            chosen.append(requests[i])
            greedy.take(brought)
            heappush(heap, (-worth, surest[i], i))
    return chosen


_LEAST_WORTH = 0.02
"""Queries; below it a request is not worth a scene."""
