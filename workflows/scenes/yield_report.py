"""Yield and cost of the scenes of all rounds, as ``scenes-rounds/yield.json`` and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from rich.table import Table

from augmentation.planning.quotas import QuotaStatus
from augmentation.planning.selection import PARAPHRASES, SelectionDecision, count_reasons
from workflows.cli.console import console
from workflows.scenes.rounds import RoundRun, Rounds


def build_yield_record(rounds: Rounds) -> dict[str, Any]:
    """Build the record as JSON values, with the reason for each quota that was not reached."""
    decision_by_key = {decision.key: decision for decision in rounds.decisions}
    composers = sorted({run.composer for run in rounds.runs})
    return {
        "rounds": rounds.num_rounds,
        "scenes_requested": len(rounds.outcomes),
        "stopped": rounds.stopped,
        "composers": {
            name: _summarize_composer([run for run in rounds.runs if run.composer == name], decision_by_key)
            for name in composers
        },
        "selection": _count_selection(rounds.decisions),
        "quotas": _summarize_quotas(rounds.statuses, rounds.stopped or ""),
    }


def _summarize_composer(runs: Sequence[RoundRun], decisions: Mapping[str, SelectionDecision]) -> dict[str, Any]:
    """Summarize the runs of a composer; rates are per second of work, also if a run was resumed."""
    chosen = [decisions[one.key] for run in runs for one in run.candidates]
    rejected, failed, work = Counter[str](), Counter[str](), Counter[str]()
    for run in runs:
        rejected.update(run.report.rejected)
        failed.update(run.report.failed)
        work.update(run.report.stage_seconds)
    accepted, queries = sum(run.report.accepted for run in runs), sum(len(one.query_ids) for one in chosen)
    paraphrases = Counter[str]()
    for run in runs:
        figures = run.report.summary.items()
        paraphrases.update({k.removeprefix(PARAPHRASES): v for k, v in figures if k.startswith(PARAPHRASES)})
    walls = [run.report.estimated_seconds for run in runs]
    wall = None if None in walls else sum(seconds for seconds in walls if seconds is not None)
    ious = [iou for run in runs for candidate in run.candidates for iou in candidate.requested_ious]
    return {
        "attempted": sum(run.report.attempted for run in runs),
        "accepted": accepted,
        "rejected": dict(rejected.most_common()),
        "failed": dict(failed.most_common()),
        **_count_selection(chosen),
        "wall_seconds": wall if wall is None else round(wall, 1),
        "work_seconds": {stage: round(seconds, 1) for stage, seconds in work.items()},
        "accepted_per_second": round(accepted / wall, 4) if wall else None,
        "kept_queries_per_second": round(queries / wall, 4) if wall else None,
        "requested_iou": round(fmean(ious), 4) if ious else None,
        **({"paraphrases": dict(paraphrases.most_common())} if paraphrases else {}),
    }


def _count_selection(decisions: Sequence[SelectionDecision]) -> dict[str, Any]:
    return {
        "candidates": len(decisions),
        "kept_scenes": sum(bool(one.query_ids) for one in decisions),
        "kept_queries": sum(len(one.query_ids) for one in decisions),
        "near_duplicate": count_reasons(decisions).get("near_duplicate", 0),
        "quota_full": count_reasons(decisions).get("quota_full", 0),
    }


def _summarize_quotas(statuses: Sequence[QuotaStatus], stopped: str) -> dict[str, Any]:
    return {
        **_count_reached(statuses),
        "by_relation_type_and_count": {
            relation_type: {
                str(count): _count_reached(of_count) for count, of_count in _group_by_field(of_type, "count")
            }
            for relation_type, of_type in _group_by_field(statuses, "relation_type")
        },
        "unreached": [
            {
                "relation_type": one.quota_key.relation_type,
                "count": one.quota_key.count,
                "category": one.quota_key.category,
                "kept": one.kept,
                "min_queries": one.min_queries,
                "reason": one.explain_shortfall(stopped),
            }
            for one in statuses
            if not one.is_reached
        ],
    }


def _group_by_field(statuses: Iterable[QuotaStatus], name: str) -> list[tuple[Any, list[QuotaStatus]]]:
    """Group by a field of the quota key, in order."""

    def value(one: QuotaStatus) -> Any:
        return getattr(one.quota_key, name)

    return [(key, list(group)) for key, group in groupby(sorted(statuses, key=value), value)]


def _count_reached(statuses: Sequence[QuotaStatus]) -> dict[str, int]:
    return {"reached": sum(one.is_reached for one in statuses), "total": len(statuses)}


def print_yield(record: Mapping[str, Any]) -> None:
    """Print the record as tables."""
    console.print(_build_composer_table(record["composers"]))
    for name, figures in record["composers"].items():
        if paraphrases := figures.get("paraphrases"):
            _print_paraphrases(name, paraphrases)
    console.print(_build_quota_table(record["quotas"]["by_relation_type_and_count"]))
    unreached = record["quotas"]["unreached"]
    if unreached:
        console.print(f"{len(unreached):,} quotas are not reached ({record['stopped']}); by relation type:")
        for relation_type, count in Counter(one["relation_type"] for one in unreached).most_common():
            none = sum(not one["kept"] for one in unreached if one["relation_type"] == relation_type)
            console.print(f"  {relation_type}: {count:,}, {none:,} of them without any query")


def _print_paraphrases(composer: str, paraphrases: Mapping[str, int]) -> None:
    """Print how many queries were paraphrased, and why other paraphrases were rejected."""
    rejected = ", ".join(
        f"{count:,} {outcome}" for outcome, count in paraphrases.items() if outcome not in ("queries", "kept")
    )
    kept, queries = paraphrases.get("kept", 0), paraphrases["queries"]
    console.print(
        f"{composer}: {kept:,} of {queries:,} queries paraphrased; rejected paraphrases: {rejected or 'none'}"
    )


def _build_composer_table(composers: Mapping[str, Mapping[str, Any]]) -> Table:
    """Build a table with a row for each figure and a column for each composer."""
    table = Table("scenes", *composers, title="yield by composer")
    figures = ["attempted", "accepted", "near_duplicate", "quota_full", "kept_scenes", "kept_queries"]
    figures += ["wall_seconds", "accepted_per_second", "kept_queries_per_second", "requested_iou"]
    for figure in figures:
        table.add_row(figure.replace("_", " "), *(_format_value(one[figure]) for one in composers.values()))
        if figure == "accepted":
            for outcome in ("rejected", "failed"):
                for reason in sorted({reason for one in composers.values() for reason in one[outcome]}):
                    counts = (_format_value(one[outcome].get(reason, 0)) for one in composers.values())
                    table.add_row(f"  {outcome}: {reason}", *counts)
    return table


def _format_value(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _build_quota_table(relation_types: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    counts = sorted({count for of_count in relation_types.values() for count in of_count}, key=int)
    table = Table("relation type", *(f"{count} objects" for count in counts), title="reached quotas / all")
    for relation_type, of_count in relation_types.items():
        cells = (of_count.get(count) for count in counts)
        table.add_row(
            relation_type,
            *("" if quota_key is None else f"{quota_key['reached']} / {quota_key['total']}" for quota_key in cells),
        )
    return table
