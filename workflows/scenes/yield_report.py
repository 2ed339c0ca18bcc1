"""What the scenes of all rounds cost and brought: ``scenes-rounds/yield.json``, and the same as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from rich.table import Table

from augmentation.planning.quotas import Standing
from augmentation.planning.selection import Choice, reasons
from workflows.cli.console import console
from workflows.scenes.rounds import RoundRun, Rounds


def yield_record(rounds: Rounds) -> dict[str, Any]:
    """JSON values; the reasons of all cells that were not reached are in it."""
    of_key = {choice.key: choice for choice in rounds.choices}
    composers = sorted({run.composer for run in rounds.runs})
    return {
        "rounds": rounds.num_rounds,
        "scenes_asked_for": len(rounds.outcomes),
        "stopped": rounds.stopped,
        "composers": {
            name: _of_composer([run for run in rounds.runs if run.composer == name], of_key) for name in composers
        },
        "selection": _selection(rounds.choices),
        "cells": _cells(rounds.standings, rounds.stopped or ""),
    }


def _of_composer(runs: Sequence[RoundRun], choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Rates are over the time of all calls that did some of the work, so a resumed run has those of the work."""
    chosen = [choices[one.key] for run in runs for one in run.candidates]
    rejected, failed, work = Counter[str](), Counter[str](), Counter[str]()
    for run in runs:
        rejected.update(run.report.rejected)
        failed.update(run.report.failed)
        work.update(run.report.stage_seconds)
    accepted, queries = sum(run.report.accepted for run in runs), sum(len(one.query_ids) for one in chosen)
    walls = [run.wall_seconds for run in runs]
    wall = None if None in walls else sum(seconds for seconds in walls if seconds is not None)
    ious = [iou for run in runs for iou in run.asked_ious]
    return {
        "attempted": sum(run.report.attempted for run in runs),
        "accepted": accepted,
        "rejected": dict(rejected.most_common()),
        "failed": dict(failed.most_common()),
        **_selection(chosen),
        "wall_seconds": wall if wall is None else round(wall, 1),
        "work_seconds": {stage: round(seconds, 1) for stage, seconds in work.items()},
        "accepted_per_second": round(accepted / wall, 4) if wall else None,
        "kept_queries_per_second": round(queries / wall, 4) if wall else None,
        "asked_found_iou": round(fmean(ious), 4) if ious else None,
    }


def _selection(choices: Sequence[Choice]) -> dict[str, Any]:
    return {
        "candidates": len(choices),
        "kept_scenes": sum(bool(one.query_ids) for one in choices),
        "kept_queries": sum(len(one.query_ids) for one in choices),
        "near_duplicate": reasons(choices).get("near_duplicate", 0),
        "quota_full": reasons(choices).get("quota_full", 0),
    }


def _cells(standings: Sequence[Standing], stopped: str) -> dict[str, Any]:
    return {
        "reached": sum(one.is_reached for one in standings),
        "total": len(standings),
        "by_family_and_count": {
            family: {str(count): _reached(of_count) for count, of_count in _grouped(of_family, "count")}
            for family, of_family in _grouped(standings, "family")
        },
        "unreached": [
            {**_named(one), "kept": one.kept, "enough": one.enough, "why": one.why(stopped)}
            for one in standings
            if not one.is_reached
        ],
    }


def _grouped(standings: Iterable[Standing], name: str) -> list[tuple[Any, list[Standing]]]:
    """By family or count of the cell, in order."""

    def value(one: Standing) -> Any:
        return getattr(one.cell, name)

    return [(key, list(group)) for key, group in groupby(sorted(standings, key=value), value)]


def _reached(standings: Sequence[Standing]) -> dict[str, int]:
    return {"reached": sum(one.is_reached for one in standings), "total": len(standings)}


def _named(standing: Standing) -> dict[str, Any]:
    cell = standing.cell
    return {"family": cell.family, "count": cell.count, "category": cell.category}


def print_yield(record: Mapping[str, Any]) -> None:
    """The record as tables."""
    console.print(_composer_table(record["composers"]))
    console.print(_cell_table(record["cells"]["by_family_and_count"]))
    unreached = record["cells"]["unreached"]
    if unreached:
        console.print(f"{len(unreached):,} cells are not reached ({record['stopped']}); by family:")
        for family, count in Counter(one["family"] for one in unreached).most_common():
            none = sum(not one["kept"] for one in unreached if one["family"] == family)
            console.print(f"  {family}: {count:,}, {none:,} of them without any query")


def _composer_table(composers: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a figure, a column a composer."""
    table = Table("scenes", *composers, title="what the composers brought")
    figures = ["attempted", "accepted", "near_duplicate", "quota_full", "kept_scenes", "kept_queries"]
    figures += ["wall_seconds", "accepted_per_second", "kept_queries_per_second", "asked_found_iou"]
    for figure in figures:
        table.add_row(figure.replace("_", " "), *(_shown(one[figure]) for one in composers.values()))
        if figure == "accepted":
            for outcome in ("rejected", "failed"):
                for reason in sorted({reason for one in composers.values() for reason in one[outcome]}):
                    counts = (_shown(one[outcome].get(reason, 0)) for one in composers.values())
                    table.add_row(f"  {outcome}: {reason}", *counts)
    return table


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _cell_table(families: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    counts = sorted({count for of_count in families.values() for count in of_count}, key=int)
    table = Table("cells reached", *(f"{count} things" for count in counts), title="cells reached / all, by family")
    for family, of_count in families.items():
        cells = (of_count.get(count) for count in counts)
        table.add_row(family, *("" if cell is None else f"{cell['reached']} / {cell['total']}" for cell in cells))
    return table
