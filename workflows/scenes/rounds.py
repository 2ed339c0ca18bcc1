"""Rounds of scenes: each asks for what the ones before did not bring, until the quotas are reached or the budget spent.

Every round of every composer is a run of its own below ``<data>/<dataset>/scenes-rounds``, so the same command goes on
where it stopped. What a finished round was asked for stays as it is, also if a later command has a larger budget: that
one only adds rounds. Out of all candidates the run ``<data>/<dataset>/scenes`` is chosen.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from upath import UPath

from augmentation.planning.quotas import LEAST_OF_ROUND, Cell, Outcome, Quotas, Standing
from augmentation.planning.selection import (
    Candidate,
    Choice,
    SelectionConfig,
    SelectPayload,
    SelectStage,
    candidate,
    kept_of_cells,
    select,
)
from augmentation.planning.vocabulary import (
    Composer,
    SceneRequest,
    VocabularyConfig,
    arrangements_of,
    even_requests,
    scene_specs,
)
from pipeline.executor import ExecutorConfig
from pipeline.plan import ShardItems, open_plan, remove_run
from pipeline.receipts import runs_below
from pipeline.report import Report
from pipeline.run import Job, PlanRow
from pipeline.stage import Stage
from pipeline.storage import sizes
from shards.reader import SampleReader
from shards.writer import SampleSink
from workflows.cli.console import UserError, console
from workflows.cli.paths import write_whole
from workflows.reports.run_report import run_plotted

_FIRST_ROUND = 256

_WALL = "wall.json"
"""Seconds of the calls that worked on a run, and the number of shards that they delivered."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one composer's scenes are made."""

    composer: Composer
    stages: tuple[Stage[Any, Any], ...]
    """Compose, find what is there, ..., label."""

    fingerprint: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RoundsConfig:
    """What all rounds share."""

    root: UPath
    recipes: tuple[Recipe, ...]
    vocabulary: VocabularyConfig
    quotas: Quotas
    selection: SelectionConfig
    num_scenes: int
    """To ask for, at most."""

    seed: int
    split: str
    scenes_per_shard: int
    executor: ExecutorConfig

    def round_size(self, in_round: int) -> int:
        """Each round is twice as large as the one before, up to one scene for each category, number and arrangement:
        whatever the budget, so that a larger one goes on."""
        largest = len(self.vocabulary.cells) * len(arrangements_of("pasted"))
        return max(LEAST_OF_ROUND, min(_FIRST_ROUND << (in_round - 1), largest))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the rounds, but not how many there are."""
        return {
            "composers": [recipe.composer for recipe in self.recipes],
            "vocabulary": self.vocabulary.to_json(),
            "quotas": asdict(self.quotas.config),
            "families": sorted({cell.family for cell in self.quotas.cells}),
            "selection": asdict(self.selection),
        }


@dataclass(frozen=True, kw_only=True)
class RoundRun:
    """One finished round of one composer, as it lies on disk."""

    folder: UPath
    composer: Composer
    report: Report
    wall_seconds: float | None
    """Of all calls that worked on it; None where none of them came to its end."""

    outcomes: tuple[Outcome, ...]
    candidates: tuple[Candidate, ...]
    """In the order of the run's samples."""

    asked_ious: tuple[float, ...]
    """Of accepted things that were asked for at a place: how well they lie there."""


@dataclass(kw_only=True)
class Rounds:
    """All rounds so far, and what was chosen of them."""

    config: RoundsConfig
    runs: list[RoundRun] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    """In the order of ``candidates``."""

    standings: list[Standing] = field(default_factory=list)
    num_rounds: int = 0
    stopped: str | None = None
    """Why no further round is made."""

    @property
    def candidates(self) -> list[Candidate]:
        return [one for run in self.runs for one in run.candidates]

    @property
    def outcomes(self) -> list[Outcome]:
        return [one for run in self.runs for one in run.outcomes]

    @property
    def kept(self) -> Mapping[Cell, int]:
        return kept_of_cells(self.candidates, self.choices)

    @property
    def num_left(self) -> int:
        """Scenes of the budget that were not asked for yet."""
        return self.config.num_scenes - len(self.outcomes)


def make_rounds(config: RoundsConfig) -> Rounds:
    """Make rounds, or read those that are finished, until there is a reason to stop.

    Raises:
        PipelineError: a round was made with another configuration; says what differs.
        UserError: the rounds that are there are larger than the budget.
    """
    rounds = Rounds(config=config)
    while rounds.stopped is None:
        requests = _next_requests(rounds)
        if not any(requests.values()):
            rounds.stopped = "what is missing hardly ever comes"
            break
        rounds.num_rounds += 1
        for recipe in config.recipes:
            if requests.get(recipe.composer):
                rounds.runs.append(_made(rounds, recipe, requests[recipe.composer]))
        _settle(rounds)
    return rounds


def _settle(rounds: Rounds) -> None:
    """Choose among all candidates, and see whether that is enough."""
    config, before = rounds.config, rounds.standings
    rounds.choices = select(rounds.candidates, config.quotas.cells, config.quotas.config, config.selection)
    rounds.standings = config.quotas.standings(rounds.outcomes, rounds.kept)
    rounds.stopped = config.quotas.stop_reason(rounds.standings, before, rounds.num_left)
    reached = sum(standing.is_reached for standing in rounds.standings)
    console.print(
        f"round {rounds.num_rounds}: {reached:,} of {len(rounds.standings):,} cells reached"
        + (f"; {rounds.stopped}" if rounds.stopped else "")
    )


def _next_requests(rounds: Rounds) -> dict[Composer, list[SceneRequest]]:
    """An even spread at first; then what is missing. The scenes are shared between the composers."""
    config = rounds.config
    shares = _shares(
        [recipe.composer for recipe in config.recipes], min(config.round_size(rounds.num_rounds + 1), rounds.num_left)
    )
    if rounds.num_rounds == 0:
        return {one: even_requests(config.vocabulary, share, config.seed, one) for one, share in shares.items()}
    return config.quotas.next_requests(shares, rounds.outcomes, rounds.kept)


def _shares(composers: Sequence[Composer], num_scenes: int) -> dict[Composer, int]:
    each, rest = divmod(num_scenes, len(composers))
    shares = {composer: each + (i < rest) for i, composer in enumerate(composers)}
    return {composer: share for composer, share in shares.items() if share}


def _made(rounds: Rounds, recipe: Recipe, requests: Sequence[SceneRequest]) -> RoundRun:
    config, in_round, composer = rounds.config, rounds.num_rounds, recipe.composer
    folder = config.root / f"{in_round:02d}-{composer}"
    _check_budget(folder, rounds)
    specs = scene_specs(config.vocabulary, requests, config.seed, composer=composer, in_round=in_round)
    job = Job(
        name="scenes",
        fingerprint={**config.fingerprint, **recipe.fingerprint},
        inputs=lambda: (PlanRow(key=spec.key, payload=spec.to_payload(), group=config.split) for spec in specs),
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=recipe.stages,
        sink=SampleSink(),
    )
    with _timed(folder):
        report = run_plotted(job, folder, config.executor)
    return _read(folder, composer, report)


def _check_budget(folder: UPath, rounds: Rounds) -> None:
    """A round that an earlier command with a larger budget asked for is not cut."""
    if not runs_below(folder):
        return
    planned, least = open_plan(folder).num_items, len(rounds.outcomes)
    if planned > rounds.num_left:
        raise UserError(
            f"{folder} was asked for {planned:,} scenes, of the {rounds.config.num_scenes:,} of --num-scenes "
            f"{rounds.num_left:,} are left; give at least {least + planned:,}, or remove {folder.parent} to start anew"
        )


@contextmanager
def _timed(folder: UPath) -> Iterator[None]:
    """Add the time of a call that delivered shards to that of the calls before: a run's report has only the last."""
    before, started = _num_receipts(folder), time.monotonic()
    try:
        yield
    finally:
        if delivered := _num_receipts(folder) - before:
            record = _wall(folder)
            seconds = record["seconds"] + time.monotonic() - started
            write_whole(folder / _WALL, json.dumps({"seconds": seconds, "shards": record["shards"] + delivered}))


def _num_receipts(folder: UPath) -> int:
    return sum(name.endswith(".json") for name in sizes(folder / "receipts"))


def _wall(folder: UPath) -> dict[str, Any]:
    path = folder / _WALL
    record: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {"seconds": 0.0, "shards": 0}
    return record


def _read(folder: UPath, composer: Composer, report: Report) -> RoundRun:
    """What a finished run was asked for and what came of it."""
    candidates, ious = list[Candidate](), list[float]()
    for sample in SampleReader(folder):
        candidates.append(candidate(sample))
        ious += [one.asked_iou for one in sample.instances if one.asked_iou is not None]
    wall = _wall(folder)
    return RoundRun(
        folder=folder,
        composer=composer,
        report=report,
        # Of shards whose call was killed no time is known: they count as the others do.
        wall_seconds=wall["seconds"] * report.num_shards / wall["shards"] if wall["shards"] else None,
        outcomes=tuple(_outcomes(folder, composer, {one.key: _cells(one) for one in candidates})),
        candidates=tuple(candidates),
        asked_ious=tuple(ious),
    )


def _outcomes(folder: UPath, composer: Composer, brought: Mapping[str, dict[Cell, int]]) -> Iterator[Outcome]:
    """Of all scenes of the plan, in order."""
    plan = open_plan(folder)
    items = ShardItems(plan)
    for item in (item for shard in plan.shards for item in items.read(shard)):
        request = _request(composer, item.payload)
        yield Outcome(composer=composer, request=request, candidates=brought.get(item.key, {}))


def _cells(one: Candidate) -> dict[Cell, int]:
    cells = [query.cell for query in one.queries]
    return {cell: cells.count(cell) for cell in cells}


def _request(composer: Composer, payload: Mapping[str, Any]) -> SceneRequest:
    arrangement = payload["arrangement"] if arrangements_of(composer) != (None,) else None
    return SceneRequest(category=payload["category"], count=payload["count"], arrangement=arrangement)


def write_selection(rounds: Rounds, output: UPath) -> Report:
    """Write the samples that were chosen as a run, which accounts for every candidate.

    A choice that was made before of fewer or other candidates of the same configuration is replaced: it can be made
    again from the rounds at any time.
    """
    config = rounds.config
    rows = _selection_rows(rounds)
    digest = hashlib.sha256(json.dumps([[row.key, row.payload] for row in rows]).encode()).hexdigest()
    job = Job(
        name="select-scenes",
        fingerprint={
            **config.fingerprint,
            "recipes": {recipe.composer: dict(recipe.fingerprint) for recipe in config.recipes},
            "candidates": digest,
        },
        inputs=lambda: rows,
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=[SelectStage(config.root)],
        sink=SampleSink(),
    )
    _remove_other_choice(output, job.fingerprint)
    return run_plotted(job, output, config.executor)


def _selection_rows(rounds: Rounds) -> list[PlanRow]:
    places = [(run.folder.name, number) for run in rounds.runs for number in range(len(run.candidates))]
    return [
        PlanRow(key=choice.key, payload=SelectPayload.of(*place, choice).to_json(), group=rounds.config.split)
        for place, choice in zip(places, rounds.choices, strict=True)
    ]


def _remove_other_choice(output: UPath, fingerprint: Mapping[str, Any]) -> None:
    """Remove a run that differs in its candidates alone; any other is refused when it is opened."""
    if not runs_below(output):
        return
    planned, now = dict(open_plan(output).settings.fingerprint), json.loads(json.dumps(dict(fingerprint)))
    is_other = planned.get("candidates") != now["candidates"]
    if is_other and "candidates" in planned and {**planned, "candidates": ""} == {**now, "candidates": ""}:
        console.print(f"{output} is chosen anew, since there are other candidates now; pack it again, too")
        remove_run(output)
