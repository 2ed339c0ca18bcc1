"""Which of all candidates become the data set: near-duplicates go, then each cell takes what it needs.

choices = select(candidates, cells, SelectionConfig())      # of all scenes of all rounds
SelectStage(root).process(items)                            # the samples with the queries that were chosen

Nothing is random: the same candidates give the same choice.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from upath import UPath

from augmentation.planning.quotas import Cell, QuotaConfig
from augmentation.relations.types import family
from pipeline.stage import Item, Rejected, Resources, Stage
from shards.reader import SampleReader
from shards.schema import Query, Sample

Reason = Literal["near_duplicate", "quota_full"]


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """What is too much of the same."""

    most_distance: int = 2
    """Two pictures are near-duplicates if at most so many of the 64 bits of their perceptual hashes differ; -1: none
    are, not even equal ones. Of 1,492 different pasted scenes of the miniature world, which are all alike, 1 is taken
    for a copy at 2 bits and 7 at 4; of JPEG copies (quality 90) 99 % are found at 2, of copies 5 % brighter 98 %."""

    def __post_init__(self) -> None:
        if not -1 <= self.most_distance < 64:
            raise ValueError(f"most_distance must lie in [-1, 64), got {self.most_distance}; a hash has 64 bits")


@dataclass(frozen=True, kw_only=True)
class CandidateQuery:
    """A query that can be proved of a scene."""

    query_id: str
    cell: Cell
    thing: int
    """Index of its target in the scene."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What the choice has to know of a sample."""

    key: str
    picture_hash: int
    """64 bits; see ``picture_hash``."""

    queries: tuple[CandidateQuery, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What becomes of one candidate."""

    key: str
    query_ids: tuple[str, ...] = ()
    """Those that are kept; none where the sample is dropped."""

    reason: Reason | None = None
    detail: str = ""


def candidate(sample: Sample) -> Candidate:
    """Of a sample whose queries are all proved by programs."""
    return Candidate(
        key=sample.key,
        picture_hash=picture_hash(sample.image),
        queries=tuple(_candidate_query(sample, query) for query in sample.queries),
    )


def _candidate_query(sample: Sample, query: Query) -> CandidateQuery:
    rivals = sample.num_rivals(query)
    assert query.program is not None and query.instance is not None and rivals is not None  # as labelling made it
    category = sample.instances[query.instance].category
    cell = Cell(category=category, count=rivals + 1, family=family(query.program))
    return CandidateQuery(query_id=query.query_id, cell=cell, thing=query.instance)


def picture_hash(content: bytes) -> int:
    """The signs of a picture's lowest 8 x 8 frequencies about their median (``imagehash.phash``), as 64 bits."""
    with Image.open(io.BytesIO(content)) as picture:
        return int(str(imagehash.phash(picture)), 16)


def select(
    candidates: Sequence[Candidate], cells: Iterable[Cell], quotas: QuotaConfig, config: SelectionConfig
) -> list[Choice]:
    """What becomes of each candidate, in order.

    Of near-duplicates the first counts. Cells with the fewest queries to choose from are served first, each by the
    first samples that have some; no cell gets more than its quota, and no thing more queries than it may have.
    """
    twins = near_duplicates([one.picture_hash for one in candidates], config.most_distance)
    unique = [one for i, one in enumerate(candidates) if i not in twins]
    kept = _kept(unique, set(cells), quotas)
    return [_choice(one, candidates[twins[i]] if i in twins else None, kept) for i, one in enumerate(candidates)]


def _choice(one: Candidate, twin: Candidate | None, kept: Collection[str]) -> Choice:
    if twin is not None:
        distance = (one.picture_hash ^ twin.picture_hash).bit_count()
        detail = f"{distance} of 64 bits differ from {twin.key}"
        return Choice(key=one.key, reason="near_duplicate", detail=detail)
    chosen = tuple(query.query_id for query in one.queries if query.query_id in kept)
    if chosen:
        return Choice(key=one.key, query_ids=chosen)
    cells = sorted({query.cell for query in one.queries})
    detail = ", ".join(f"{cell.family} of {cell.count} {cell.category}" for cell in cells)
    return Choice(key=one.key, reason="quota_full", detail=detail)


def near_duplicates(hashes: Sequence[int], most_distance: int) -> dict[int, int]:
    """Index of each picture that resembles an earlier one which is none itself, to the index of the first such.

    Args:
        hashes: of 64 bits.
    """
    firsts, originals, twins = np.empty(len(hashes), np.uint64), list[int](), dict[int, int]()
    for i, picture in enumerate(np.array(hashes, np.uint64)):
        differing = np.bitwise_count(firsts[: len(originals)] ^ picture)
        near: npt.NDArray[np.bool_] = differing <= most_distance
        if near.any():
            twins[i] = originals[int(near.argmax())]
        else:
            firsts[len(originals)] = picture
            originals.append(i)
    return twins


def _kept(candidates: Iterable[Candidate], cells: Collection[Cell], quotas: QuotaConfig) -> set[str]:
    """Ids of the queries that are kept."""
    offered: dict[Cell, list[tuple[str, CandidateQuery]]] = defaultdict(list)
    for one in candidates:
        for query in one.queries:
            if query.cell in cells:
                offered[query.cell].append((one.key, query))
    said, kept = Counter[tuple[str, int]](), set[str]()
    for cell in sorted(offered, key=lambda cell: (len(offered[cell]), cell)):
        free = quotas.queries_per_cell
        for key, query in offered[cell]:
            if free and said[key, query.thing] < quotas.queries_per_thing:
                said[key, query.thing] += 1
                kept.add(query.query_id)
                free -= 1
    return kept


def kept_of_cells(candidates: Iterable[Candidate], choices: Iterable[Choice]) -> Counter[Cell]:
    """Queries of each cell that are kept."""
    kept = {query_id for choice in choices for query_id in choice.query_ids}
    return Counter(query.cell for one in candidates for query in one.queries if query.query_id in kept)


@dataclass(frozen=True, kw_only=True)
class SelectPayload:
    """Row of the plan: where a candidate lies, and what becomes of it."""

    run: str
    """Name of the round's folder."""

    number: int
    """Of the sample in that run."""

    query_ids: Sequence[str] = field(default=())
    reason: str | None = None
    detail: str = ""

    @staticmethod
    def of(run: str, number: int, choice: Choice) -> SelectPayload:
        return SelectPayload(
            run=run, number=number, query_ids=choice.query_ids, reason=choice.reason, detail=choice.detail
        )

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "query_ids": list(self.query_ids)}


class SelectStage(Stage[Item, Sample]):
    """Reads each candidate out of its round, with the queries that are kept; rejects it where none is.

    Args:
        root: the folder of the rounds.
    """

    resources = Resources(num_cpus=0.5)

    def __init__(self, root: UPath) -> None:
        self._root = root

    def setup(self) -> None:
        self._reader = cache(lambda run: SampleReader(self._root / run))

    def process(self, items: list[Item]) -> list[Sample | Rejected]:
        return list(self._selected(items))

    def _selected(self, items: Iterable[Item]) -> Iterator[Sample | Rejected]:
        for item in items:
            row = SelectPayload(**item.payload)
            if row.reason:
                yield Rejected(key=item.key, reason=row.reason, detail=row.detail)
                continue
            sample = self._reader(row.run).read(row.number)
            queries = tuple(query for query in sample.queries if query.query_id in row.query_ids)
            yield replace(sample, queries=queries)


def reasons(choices: Iterable[Choice]) -> Mapping[str, int]:
    """How many samples are dropped for what."""
    return Counter(choice.reason for choice in choices if choice.reason)
