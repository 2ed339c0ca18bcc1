"""Selection of the dataset among all candidates: near-duplicates are dropped, then each quota is filled.

decisions = select(candidates, quota_keys, quotas, SelectionConfig())      # candidates of all rounds
SelectStage(root).process(items)                                           # samples with their selected queries

Selection is deterministic: the same candidates give the same decisions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import imagehash
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from augmentation.planning.quotas import QuotaConfig, QuotaKey
from augmentation.queries.labeled import ParaphrasedSample
from augmentation.relations.programs import from_json, get_category
from augmentation.relations.types import TARGET_TYPES, get_relation_type
from pipeline import (
    Item,
    LimitedConfig,
    Location,
    MapStage,
    Range,
    Rejected,
    Resources,
    SinkOutput,
    get_verified_path,
    read_receipts,
)
from shards.images import decode_rgb_image
from shards.reader import SampleReader
from shards.schema import Query, Sample
from shards.writer import SampleSink

Reason = Literal["near_duplicate", "quota_full"]

NO_TARGET, SEVERAL_TARGETS = -1, -2

PARAPHRASES = "paraphrases "
"""Start of the figures of a round that count paraphrases; see ``ParaphrasedSample``."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig(LimitedConfig):
    """Threshold of near-duplicate images."""

    max_distance: Annotated[int, Range(-1, 64, high_open=True)] = 2
    """Maximum number of differing bits, of 64, in the perceptual hashes of near-duplicates; -1 keeps even copies.

    Among 1,492 different pasted scenes of the miniature world, which are similar, 1 counts as a copy at 2 bits and 7 at
    4. At 2 bits, 99 % of JPEG copies (quality 90) and 98 % of copies that are 5 % brighter are detected."""


@dataclass(frozen=True, kw_only=True)
class CandidateQuery:
    """A verified query of a scene."""

    query_id: str
    quota_key: QuotaKey
    target: int
    """Index of its target in the scene; of queries without a single target ``NO_TARGET`` or ``SEVERAL_TARGETS``, which
    share the limit of one object."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The facts of a sample that selection needs."""

    key: str
    image_hash: int
    """Perceptual hash of 64 bits; see ``compute_image_hash``."""

    queries: tuple[CandidateQuery, ...]
    requested_ious: tuple[float, ...] = ()
    """IoU of each detected box with its requested box, for the objects that have one."""


@dataclass(frozen=True, kw_only=True)
class SelectionDecision:
    """Decision on one candidate."""

    key: str
    query_ids: tuple[str, ...] = ()
    """Ids of the selected queries; none if the sample is dropped."""

    reason: Reason | None = None
    detail: str = ""

    def to_payload(self, run: str, number: int) -> dict[str, Any]:
        """Return the payload of ``SelectStage``; ``number`` is the index of the sample in the run of that name."""
        return {"run": run, "number": number, **{name: value for name, value in vars(self).items() if name != "key"}}


def make_candidate(sample: Sample) -> Candidate:
    """Make the candidate of a sample; a program verifies each of its queries."""
    return Candidate(
        key=sample.key,
        image_hash=compute_image_hash(sample.image),
        queries=tuple(_make_candidate_query(sample, query) for query in sample.queries),
        requested_ious=tuple(obj.requested_iou for obj in sample.instances if obj.requested_iou is not None),
    )


def _make_candidate_query(sample: Sample, query: Query) -> CandidateQuery:
    if len(query.boxes_xyxy) != 1:
        assert query.program is not None
        category = get_category(from_json(query.program))
        counts = Counter(one.category for one in sample.instances)
        if category not in counts:  # nothing answers to its name; the scene was requested for its other objects
            category, _ = counts.most_common(1)[0]
        target_type = TARGET_TYPES[min(max(len(query.boxes_xyxy) - 1, 0), 2)]  # of 0, 2 and more targets
        quota_key = QuotaKey(category=category, count=counts[category], relation_type=target_type)
        target = SEVERAL_TARGETS if query.boxes_xyxy else NO_TARGET
        return CandidateQuery(query_id=query.query_id, quota_key=quota_key, target=target)
    distractors = sample.count_distractors(query)
    assert (
        query.program is not None and query.instance is not None and distractors is not None
    )  # labeling sets all of them
    category = sample.instances[query.instance].category
    quota_key = QuotaKey(category=category, count=distractors + 1, relation_type=get_relation_type(query.program))
    return CandidateQuery(query_id=query.query_id, quota_key=quota_key, target=query.instance)


CANDIDATE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_hash", pa.uint64()),
        ("requested_ious", pa.list_(pa.float64())),
        (
            "queries",
            pa.list_(
                pa.struct(
                    [
                        ("query_id", pa.string()),
                        ("category", pa.string()),
                        ("count", pa.int32()),
                        ("relation_type", pa.string()),
                        ("target", pa.int32()),
                    ]
                )
            ),
        ),
    ]
)
"""Columns of the role ``candidates``: one row for each sample, in the order of the shard."""


class CandidateSink(SampleSink):
    """Sink of a round: writes samples, and as role ``candidates`` the facts that selection needs of them.

    Args:
        keeps_images: whether the images are written; False if the run that the plan names holds them.
    """

    def __init__(self, *, keeps_images: bool = True) -> None:
        self._keeps_images = keeps_images

    def write(self, items: list[Sample], folder: Path) -> SinkOutput:
        written = items if self._keeps_images else [replace(sample, image=b"") for sample in items]
        output, path = super().write(written, folder), folder / "candidates.parquet"
        rows = []
        for candidate in map(make_candidate, items):
            queries = [
                {"query_id": query.query_id, **asdict(query.quota_key), "target": query.target}
                for query in candidate.queries
            ]
            rows.append({**vars(candidate), "queries": queries})
        pq.write_table(pa.Table.from_pylist(rows, schema=CANDIDATE_SCHEMA), path)
        paraphrases = Counter[str]()
        for sample in items:
            paraphrases.update(sample.paraphrases if isinstance(sample, ParaphrasedSample) else {})
        counts = {f"{PARAPHRASES}{outcome}": count for outcome, count in sorted(paraphrases.items())}
        return replace(output, files={**output.files, "candidates": path}, summary={**output.summary, **counts})


def read_candidates(run: Location) -> list[Candidate]:
    """Read the candidates of a finished round, in the order of its samples.

    Raises:
        PipelineError: the run is unfinished or damaged, or its sink was not ``CandidateSink``.
    """
    tables = (pq.read_table(get_verified_path(run, receipt, "candidates")) for receipt in read_receipts(run))
    return [_from_row(row) for table in tables for row in table.to_pylist()]


def _from_row(row: Mapping[str, Any]) -> Candidate:
    queries = (
        CandidateQuery(
            query_id=query["query_id"],
            quota_key=QuotaKey(category=query["category"], count=query["count"], relation_type=query["relation_type"]),
            target=query["target"],
        )
        for query in row["queries"]
    )
    return Candidate(**{**row, "queries": tuple(queries), "requested_ious": tuple(row["requested_ious"])})


def compute_image_hash(content: bytes) -> int:
    """Compute the perceptual hash of an image, 64 bits (``imagehash.phash``).

    Each bit tells whether one of the lowest 8 x 8 frequencies is above their median.
    """
    return int(str(imagehash.phash(decode_rgb_image(content))), 16)


def select(
    candidates: Sequence[Candidate], quota_keys: Iterable[QuotaKey], quotas: QuotaConfig, config: SelectionConfig
) -> list[SelectionDecision]:
    """Decide on each candidate, in order.

    The first of near-duplicates is kept. Quotas with the fewest candidates for each query that they take are filled
    first, each by its first samples. No quota and no object gets more queries than its limit.
    """
    duplicates = find_near_duplicates([one.image_hash for one in candidates], config.max_distance)
    unique = [one for i, one in enumerate(candidates) if i not in duplicates]
    kept = _select_query_ids(unique, set(quota_keys), quotas)
    return [
        _decide(one, candidates[duplicates[i]] if i in duplicates else None, kept) for i, one in enumerate(candidates)
    ]


def _decide(one: Candidate, original: Candidate | None, kept: Collection[str]) -> SelectionDecision:
    if original is not None:
        distance = (one.image_hash ^ original.image_hash).bit_count()
        detail = f"{distance} of 64 bits differ from {original.key}"
        return SelectionDecision(key=one.key, reason="near_duplicate", detail=detail)
    chosen = tuple(query.query_id for query in one.queries if query.query_id in kept)
    if chosen:
        return SelectionDecision(key=one.key, query_ids=chosen)
    quota_keys = sorted({query.quota_key for query in one.queries})
    detail = ", ".join(
        f"{quota_key.relation_type} of {quota_key.count} {quota_key.category}" for quota_key in quota_keys
    )
    return SelectionDecision(key=one.key, reason="quota_full", detail=detail)


def find_near_duplicates(hashes: Sequence[int], max_distance: int) -> dict[int, int]:
    """Find the images that resemble an earlier one.

    Args:
        hashes: perceptual hashes of 64 bits.
        max_distance: see ``SelectionConfig``.

    Returns:
        Index of each near-duplicate to that of the first image that it resembles; the latter is no near-duplicate.
    """
    firsts, originals, duplicates = np.empty(len(hashes), np.uint64), list[int](), dict[int, int]()
    for i, image in enumerate(np.array(hashes, np.uint64)):
        differing = np.bitwise_count(firsts[: len(originals)] ^ image)
        near: npt.NDArray[np.bool_] = differing <= max_distance
        if near.any():
            duplicates[i] = originals[int(near.argmax())]
        else:
            firsts[len(originals)] = image
            originals.append(i)
    return duplicates


def _select_query_ids(
    candidates: Iterable[Candidate], quota_keys: Collection[QuotaKey], quotas: QuotaConfig
) -> set[str]:
    """Select the ids of the queries to keep."""
    offered: dict[QuotaKey, list[tuple[str, CandidateQuery]]] = defaultdict(list)
    for one in candidates:
        for query in one.queries:
            if query.quota_key in quota_keys:
                offered[query.quota_key].append((one.key, query))
    num_queries, kept = Counter[tuple[str, int]](), set[str]()
    num_free = {quota_key: quotas.count_queries(quota_key) for quota_key in offered}
    for quota_key in sorted(offered, key=lambda one: (len(offered[one]) / max(1, num_free[one]), one)):
        free = num_free[quota_key]
        for key, query in offered[quota_key]:
            if free and num_queries[key, query.target] < quotas.max_queries_per_object:
                num_queries[key, query.target] += 1
                kept.add(query.query_id)
                free -= 1
    return kept


def count_kept_queries(candidates: Iterable[Candidate], decisions: Iterable[SelectionDecision]) -> Counter[QuotaKey]:
    """Count the selected queries of each quota."""
    kept = {query_id for decision in decisions for query_id in decision.query_ids}
    return Counter(query.quota_key for one in candidates for query in one.queries if query.query_id in kept)


class SelectStage(MapStage[Item, Sample]):
    """Stage that reads each candidate from its round, with its selected queries; it rejects those with none.

    Payload: ``SelectionDecision.to_payload``.

    Args:
        root: folder of the rounds.
    """

    resources = Resources(num_cpus=0.5)

    def __init__(self, root: UPath) -> None:
        self._root = root

    def setup(self) -> None:
        self._reader: Callable[[str], SampleReader] = cache(lambda run: SampleReader(self._root / run))

    def process_item(self, item: Item) -> Sample | Rejected:
        row = item.payload
        if row["reason"]:
            return Rejected(key=item.key, reason=row["reason"], detail=row["detail"])
        reader = self._reader(row["run"])
        has_image = reader.index[row["number"]].image_bytes >= 0
        sample = reader.read(row["number"]) if has_image else Sample.from_json(reader.record(row["number"]), image=b"")
        return replace(sample, queries=tuple(query for query in sample.queries if query.query_id in row["query_ids"]))


def count_reasons(decisions: Iterable[SelectionDecision]) -> Mapping[str, int]:
    """Count the dropped samples by reason."""
    return Counter(decision.reason for decision in decisions if decision.reason)
