"""Gallery entries of runs: samples and scenes, priors, rejected scenes, predictions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow.parquet as pq
from upath import UPath

from generation.priors.store import PriorStore
from pipeline import list_runs, list_verified_paths, read_ledger, read_receipts
from shards.reader import SampleReader
from shards.schema import Query, Sample
from trainer.evaluation.metrics import PredictionRecord
from workflows.gallery.site import Entry, Line, Mark

MAX_QUERIES = 12
"""Limit of the queries listed for one prior."""


def iterate_samples(run: UPath, split: str | None = None) -> Iterator[Entry]:
    """Yield an entry per image with all of its queries, programs and boxes."""
    reader = SampleReader(run, split)
    for sample in reader:
        relations = sorted({relation for query in sample.queries for relation in list_relations(query.program)})
        counts = Counter(one.category for one in sample.instances if one.category)
        target_counts = Counter(
            "" if query.instance is None else sample.instances[query.instance].category for query in sample.queries
        ).most_common(1)
        kind = "scene" if any(query.program for query in sample.queries) else "sample"
        ious = [one.requested_iou for one in sample.instances if one.requested_iou is not None]
        yield Entry(
            key=sample.key,
            facts=", ".join([_get_split(sample), *(f"{count} {name}" for name, count in counts.most_common(4))]),
            image=sample.image,
            marks=tuple(_make_mark(one.box_xyxy, one.category, one.score) for one in sample.instances)
            or tuple(Mark(box_xyxy=box, role="object") for query in sample.queries for box in query.boxes_xyxy),
            lines=tuple(
                Line(text=query.text, note=describe_query(query), marks=find_target_marks(sample, i))
                for i, query in enumerate(sample.queries)
            ),
            choices={"kind": [kind], "split": [_get_split(sample)], "category": sorted(counts), "relation": relations},
            numbers={
                "count": counts[target_counts[0][0]] if target_counts else len(sample.instances),
                "score": min((one.score for one in sample.instances if one.score is not None), default=None),
                "iou": min(ious, default=None),
            },
        )


def iterate_rejected(rounds: UPath) -> Iterator[Entry]:
    """Yield the kept images of rejected scenes with stage, reason and detail."""
    reasons = _read_reasons(rounds)
    for run in list_runs(rounds / "rejected"):
        for sample in SampleReader(run):
            stage, reason, detail = reasons.get(sample.key, ("", "unknown", ""))
            counts = Counter(one.category for one in sample.instances)
            yield Entry(
                key=sample.key,
                facts=f"rejected by {stage or run.name}: {reason}",
                image=sample.image,
                marks=tuple(_make_mark(one.box_xyxy, one.category, one.score) for one in sample.instances),
                lines=(Line(text=detail or reason),),
                choices={"kind": ["rejected scene"], "category": sorted(counts), "reason": [reason]},
                numbers={
                    "count": max(counts.values(), default=0),
                    "score": min((one.score for one in sample.instances if one.score is not None), default=None),
                },
            )


def _read_reasons(rounds: UPath) -> dict[str, tuple[str, str, str]]:
    """Return stage, reason and detail of each rejected scene, by key."""
    return {
        row["key"]: (row["stage"], row["reason"], row["detail"])
        for run in list_runs(rounds)
        for receipt in read_receipts(run, allow_partial=True)
        if receipt.rejected
        for row in read_ledger(run, receipt)
        if row["outcome"] == "rejected"
    }


def iterate_priors(store: UPath, parsed: Sequence[UPath] = (), only_shared: bool = False) -> Iterator[Entry]:
    """Yield an entry per prior with its queries, attributes, prompt, image and CLIP score.

    Args:
        store: prior store.
        parsed: runs of parsed queries that share the priors.
        only_shared: skip priors that none of these queries has.
    """
    priors, queries_by_prior = PriorStore.open(store), _find_queries(parsed)
    for prior_id in priors:
        if only_shared and prior_id not in queries_by_prior:
            continue
        record = priors.record(prior_id)
        attributes = record.get("attributes") or {}
        queries, score = queries_by_prior.get(prior_id, []), priors.clip_score(prior_id)
        target = attributes.get("target") or {}
        category = str(attributes.get("category") or target.get("lemma") or "")
        note = "; ".join(f"{name}: {_format_value(value)}" for name, value in attributes.items() if name != "query")
        more = f"and {len(queries) - MAX_QUERIES} more queries" if len(queries) > MAX_QUERIES else ""
        yield Entry(
            key=prior_id,
            facts="" if score is None else f"CLIP {score:.1f}",
            image=priors.read_encoded_image(prior_id),
            lines=(
                Line(text=priors.prompt(prior_id), note=note),
                *(Line(text=f"“{text}”") for text in queries[:MAX_QUERIES]),
                *((Line(text=more),) if more else ()),
            ),
            choices={"kind": ["prior"], "category": [category] if category else []},
            numbers={"clip": score, "count": len(queries) or None},
        )


def _find_queries(parsed: Sequence[UPath]) -> dict[str, list[str]]:
    """Return the different queries of each prior, by prior id."""
    texts_by_prior: dict[str, dict[str, None]] = defaultdict(dict)
    for path in chain.from_iterable(list_verified_paths(run, "queries") for run in parsed):
        for row in pq.read_table(path, columns=["prior_id", "text"]).to_pylist():
            texts_by_prior[row["prior_id"]][row["text"]] = None
    return {prior_id: list(texts) for prior_id, texts in texts_by_prior.items()}


def iterate_predictions(records: Sequence[PredictionRecord], run: UPath) -> Iterator[Entry]:
    """Yield an entry per query with truth, prediction, IoU, confidence and the predictions with other priors."""
    reader = SampleReader(run)
    number = {entry.key: i for i, entry in enumerate(reader.index)}
    by_query: dict[tuple[str, str], list[PredictionRecord]] = defaultdict(list)
    for one in records:
        by_query[one.key, one.query_id].append(one)
    for (key, query_id), answers in by_query.items():
        sample, first = reader.read(number[key]), answers[0]
        query = next(query for query in sample.queries if query.query_id == query_id)
        distractors = "unknown" if first.num_distractors is None else str(first.num_distractors)
        yield Entry(
            key=f"{key} {query_id}",
            facts=f"{first.split}, IoU {first.iou:.2f}, distractors: {distractors}",
            image=sample.image,
            marks=(
                Mark(box_xyxy=first.target_xyxy, role="truth", label="truth"),
                *(
                    Mark(
                        box_xyxy=one.box_xyxy,
                        role="predicted" if one is first else "other",
                        label=f"{one.priors} priors",
                    )
                    for one in answers
                ),
            ),
            lines=(
                Line(text=query.text, note=format_program(query.program), marks=(0,)),
                *(
                    Line(
                        text=f"predicted box: IoU {one.iou:.2f}, {_format_confidence(one)}priors: {one.priors}",
                        marks=(i,),
                    )
                    for i, one in enumerate(answers, 1)
                ),
            ),
            choices={
                "kind": ["prediction"],
                "split": [first.split],
                "category": [first.category] if first.category else [],
                "relation": sorted(list_relations(query.program)),
            },
            numbers={
                "iou": first.iou,
                "confidence": first.score,
                "count": None if first.num_distractors is None else first.num_distractors + 1,
            },
        )


def _format_confidence(record: PredictionRecord) -> str:
    """Return the score and the presence of a prediction, each if it has one, with a comma after each."""
    score = "" if record.score is None else f"confidence {record.score:.0%}, "
    return score if record.presence is None else f"{score}presence {record.presence:.0%}, "


def _make_mark(box: Any, category: str, score: float | None) -> Mark:
    return Mark(box_xyxy=box, role="object", label=category if score is None else f"{category} {score:.2f}")


def describe_query(query: Query) -> str:
    """Return the program of a query, and that it has no target."""
    return "; ".join(filter(None, ("" if query.boxes_xyxy else "no target", format_program(query.program))))


def find_target_marks(sample: Sample, number: int) -> tuple[int, ...]:
    """Return the indices of the marks of a query's targets."""
    query = sample.queries[number]
    if not sample.instances:
        first = sum(len(other.boxes_xyxy) for other in sample.queries[:number])
        return tuple(range(first, first + len(query.boxes_xyxy)))
    if query.instances is not None:
        return query.instances
    return tuple(i for i, one in enumerate(sample.instances) if one.box_xyxy in query.boxes_xyxy)


def _get_split(sample: Sample) -> str:
    return sample.queries[0].split if sample.queries else "train"


def list_relations(program: Mapping[str, Any] | None) -> set[str]:
    """Return the operators of a program's record, without that of the category."""
    if not program:
        return set()
    own = {str(program["op"])} - {"category"}
    parts = (value for value in program.values() if isinstance(value, Mapping))
    return own.union(*(list_relations(part) for part in parts))


def format_program(program: Mapping[str, Any] | None) -> str:
    """Format the record of a program, as in "ordinal(category(cup), 2, right)"."""
    if not program:
        return ""
    values = (value for name, value in program.items() if name != "op")
    inside = (format_program(value) if isinstance(value, Mapping) else str(value) for value in values)
    return f"{program['op']}({', '.join(inside)})"


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_format_value(one) for one in value.values())
    if isinstance(value, list | tuple):
        return ", ".join(_format_value(one) for one in value)
    return str(value)
