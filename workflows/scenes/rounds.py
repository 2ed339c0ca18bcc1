"""Rounds of scenes: each requests the missing queries, until the quotas are reached or the budget is spent.

Each round of each composer is a run below ``<data>/<dataset>/scenes-rounds``. To resume, run the same command. Finished
rounds never change; a larger budget only adds rounds. The run ``<data>/<dataset>/scenes`` is selected from all
candidates.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from upath import UPath

from augmentation.planning.quotas import MIN_ROUND_SCENES, Outcome, QuotaKey, Quotas, QuotaStatus
from augmentation.planning.scene_spec import (
    Composer,
    SceneRequest,
    get_arrangements,
    make_scene_specs,
    make_uniform_requests,
)
from augmentation.planning.selection import (
    Candidate,
    CandidateSink,
    SelectionConfig,
    SelectionDecision,
    SelectStage,
    count_kept_queries,
    read_candidates,
    select,
)
from augmentation.planning.vocabulary import VocabularyConfig
from pipeline import ExecutorConfig, Job, PlanRow, Report, ShardItems, Stage, list_runs, open_plan, remove_run
from shards.writer import SampleSink
from workflows.cli.console import UserError, console
from workflows.reports.run_report import run_and_plot_job

_FIRST_ROUND_SCENES = 256

ROUND_VERSION = 4
"""Version of a round's plan and files; rounds of another version are refused."""


@dataclass(frozen=True, kw_only=True)
class ComposerPipeline:
    """Stages that make one composer's scenes."""

    composer: Composer
    stages: tuple[Stage[Any, Any], ...]
    """Stages in order: compose, detect, ..., label."""

    fingerprint: Mapping[str, Any]
    """JSON values of all that decides the composer's scenes."""

    photographs: tuple[PlanRow, ...] | None = None
    """Rows of the photographs that become scenes, each once, in this order; None if scenes are requested."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Run that holds the images of the scenes, as ``describe_images`` describes it; empty if the rounds hold them."""


@dataclass(frozen=True, kw_only=True)
class RoundsConfig:
    """Configuration of all rounds."""

    root: UPath
    pipelines: tuple[ComposerPipeline, ...]
    vocabulary: VocabularyConfig
    quotas: Quotas
    selection: SelectionConfig
    num_scenes: int
    """Maximum number of requested scenes."""

    seed: int
    split: str
    scenes_per_shard: int
    executor: ExecutorConfig

    def compute_round_size(self, round_index: int) -> int:
        """Compute the number of scenes of a round; it doubles, up to one for each category, count and arrangement.

        The size does not depend on the budget, so a larger budget only adds rounds.
        """
        has_contacts = any(map(self.vocabulary.list_anchors, self.vocabulary.categories))
        arrangements = get_arrangements("pasted", has_contacts=has_contacts)
        largest = len(self.vocabulary.category_quantifiers) * len(arrangements)
        return max(MIN_ROUND_SCENES, min(_FIRST_ROUND_SCENES << (round_index - 1), largest))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return all that decides the rounds, except how many there are, as JSON values."""
        return {
            "version": ROUND_VERSION,
            "composers": [pipeline.composer for pipeline in self.pipelines],
            "vocabulary": asdict(self.vocabulary),
            "quotas": asdict(self.quotas.config),
            "relation_types": sorted({quota_key.relation_type for quota_key in self.quotas.quota_keys}),
            "selection": asdict(self.selection),
        }


@dataclass(frozen=True, kw_only=True)
class RoundRun:
    """One finished round of one composer."""

    folder: UPath
    composer: Composer
    report: Report
    outcomes: tuple[Outcome, ...]
    candidates: tuple[Candidate, ...]
    """Candidates in the order of the run's samples."""


@dataclass(kw_only=True)
class Rounds:
    """All rounds so far, and the selection from them."""

    config: RoundsConfig
    runs: list[RoundRun] = field(default_factory=list)
    decisions: list[SelectionDecision] = field(default_factory=list)
    """Decisions in the order of ``candidates``."""

    statuses: list[QuotaStatus] = field(default_factory=list)
    num_rounds: int = 0
    stopped: str | None = None
    """Reason to stop; None if there should be another round."""

    @property
    def candidates(self) -> list[Candidate]:
        return [one for run in self.runs for one in run.candidates]

    @property
    def outcomes(self) -> list[Outcome]:
        return [one for run in self.runs for one in run.outcomes]

    @property
    def kept(self) -> Mapping[QuotaKey, int]:
        return count_kept_queries(self.candidates, self.decisions)

    @property
    def num_left(self) -> int:
        """Return the number of scenes of the budget that are not yet requested."""
        return self.config.num_scenes - len(self.outcomes)


def make_rounds(config: RoundsConfig) -> Rounds:
    """Make rounds, or read those that are finished, until there is a reason to stop.

    Raises:
        PipelineError: a round was made with another configuration; names the differences.
        UserError: the existing rounds are larger than the budget.
    """
    rounds = Rounds(config=config)
    while rounds.stopped is None:
        planned = _plan_round(rounds)
        if not any(planned.values()):
            rounds.stopped = (
                "no request is likely to yield a missing query"
                if any(pipeline.photographs is None for pipeline in config.pipelines)
                else "every photograph is used"
            )
            break
        rounds.num_rounds += 1
        for pipeline in config.pipelines:
            if rows := planned.get(pipeline.composer):
                rounds.runs.append(_run_round(rounds, pipeline, rows))
        _update_selection(rounds)
    return rounds


def _update_selection(rounds: Rounds) -> None:
    """Select from all candidates, and update the quotas and the reason to stop."""
    config, before = rounds.config, rounds.statuses
    rounds.decisions = select(rounds.candidates, config.quotas.quota_keys, config.quotas.config, config.selection)
    rounds.statuses = config.quotas.statuses(rounds.outcomes, rounds.kept)
    rounds.stopped = config.quotas.find_stop_reason(rounds.statuses, before, rounds.num_left)
    reached = sum(status.is_reached for status in rounds.statuses)
    console.print(
        f"round {rounds.num_rounds}: {reached:,} of {len(rounds.statuses):,} quotas reached"
        + (f"; {rounds.stopped}" if rounds.stopped else "")
    )


def _plan_round(rounds: Rounds) -> dict[Composer, list[PlanRow]]:
    """Plan the scenes of the next round, divided among composers: requested ones, and photographs not yet used.

    Requests are spread evenly at first, then for open quotas.
    """
    config = rounds.config
    num_scenes = min(config.compute_round_size(rounds.num_rounds + 1), rounds.num_left)
    each, rest = divmod(num_scenes, len(config.pipelines))
    shares = [(pipeline, each + (i < rest)) for i, pipeline in enumerate(config.pipelines)]
    requesting = {one.composer: share for one, share in shares if share and one.photographs is None}
    if rounds.num_rounds == 0:
        requests = {
            one: make_uniform_requests(config.vocabulary, share, config.seed, one) for one, share in requesting.items()
        }
    else:
        requests = config.quotas.plan_requests(requesting, rounds.outcomes, rounds.kept) if requesting else {}
    planned = {composer: _make_rows(rounds, composer, of_composer) for composer, of_composer in requests.items()}
    for pipeline, share in shares:
        if pipeline.photographs is not None:
            num_used = sum(outcome.composer == pipeline.composer for outcome in rounds.outcomes)
            planned[pipeline.composer] = list(pipeline.photographs[num_used : num_used + share])
    return planned


def _make_rows(rounds: Rounds, composer: Composer, requests: Sequence[SceneRequest]) -> list[PlanRow]:
    config = rounds.config
    specs = make_scene_specs(
        config.vocabulary, requests, config.seed, composer=composer, round_index=rounds.num_rounds + 1
    )
    return [PlanRow(key=spec.key, payload=spec.to_payload()) for spec in specs]


def _run_round(rounds: Rounds, pipeline: ComposerPipeline, rows: Sequence[PlanRow]) -> RoundRun:
    config, round_index, composer = rounds.config, rounds.num_rounds, pipeline.composer
    folder = config.root / f"{round_index:02d}-{composer}"
    _check_budget(folder, rounds)
    job = Job(
        name="scenes",
        fingerprint={**config.fingerprint, **pipeline.fingerprint, **pipeline.images},
        inputs=lambda: (replace(row, group=config.split) for row in rows),
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=pipeline.stages,
        sink=CandidateSink(keeps_images=not pipeline.images),
    )
    report, candidates = run_and_plot_job(job, folder, config.executor), read_candidates(folder)
    quota_keys = {one.key: Counter(query.quota_key for query in one.queries) for one in candidates}
    return RoundRun(
        folder=folder,
        composer=composer,
        report=report,
        outcomes=tuple(_iterate_outcomes(folder, pipeline, quota_keys)),
        candidates=tuple(candidates),
    )


def _check_budget(folder: UPath, rounds: Rounds) -> None:
    """Raise an error if the round exists with more scenes than the budget has left; existing rounds are not cut."""
    if not list_runs(folder):
        return
    planned, num_requested = open_plan(folder).num_items, len(rounds.outcomes)
    if planned > rounds.num_left:
        raise UserError(
            f"{folder} has {planned:,} scenes, but {rounds.num_left:,} of --num-scenes {rounds.config.num_scenes:,} "
            f"are left; give at least {num_requested + planned:,}, or remove {folder.parent} to start again"
        )


def _iterate_outcomes(
    folder: UPath, pipeline: ComposerPipeline, counts_by_scene: Mapping[str, Mapping[QuotaKey, int]]
) -> Iterator[Outcome]:
    """Yield the outcomes of all scenes of the plan, in order."""
    plan = open_plan(folder)
    items, is_arranged = ShardItems(plan), pipeline.composer != "prompted"
    for item in (item for shard in plan.shards for item in items.read(shard)):
        request = None
        if pipeline.photographs is None:
            request = SceneRequest(
                category=item.payload["category"],
                count=item.payload["count"],
                arrangement=item.payload["arrangement"] if is_arranged else None,
            )
        yield Outcome(composer=pipeline.composer, request=request, candidates=counts_by_scene.get(item.key, {}))


def write_selection(rounds: Rounds, output: UPath) -> Report:
    """Write the selected samples as a run with a row for every candidate.

    An earlier selection of the same configuration from other candidates is replaced, since the rounds remain.
    """
    config = rounds.config
    rows = _build_selection_rows(rounds)
    digest = hashlib.sha256(json.dumps([[row.key, row.payload] for row in rows]).encode()).hexdigest()
    job = Job(
        name="select-scenes",
        fingerprint={
            **config.fingerprint,
            "pipelines": {pipeline.composer: dict(pipeline.fingerprint) for pipeline in config.pipelines},
            "candidates": digest,
            **{name: value for pipeline in config.pipelines for name, value in pipeline.images.items()},
        },
        inputs=lambda: rows,
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=[SelectStage(config.root)],
        sink=SampleSink(),
    )
    _remove_old_selection(output, job.fingerprint)
    return run_and_plot_job(job, output, config.executor)


def _build_selection_rows(rounds: Rounds) -> list[PlanRow]:
    locations = [(run.folder.name, number) for run in rounds.runs for number in range(len(run.candidates))]
    return [
        PlanRow(
            key=decision.key,
            payload=decision.to_payload(*location),
            group=rounds.config.split,
        )
        for location, decision in zip(locations, rounds.decisions, strict=True)
    ]


def _remove_old_selection(output: UPath, fingerprint: Mapping[str, Any]) -> None:
    """Remove a run that differs in its candidates alone; any other is refused when it is opened."""
    if not list_runs(output):
        return
    planned, now = dict(open_plan(output).settings.fingerprint), json.loads(json.dumps(dict(fingerprint)))
    is_other = planned.get("candidates") != now["candidates"]
    if is_other and "candidates" in planned and {**planned, "candidates": ""} == {**now, "candidates": ""}:
        console.print(f"{output} is selected again, since the candidates have changed; pack it again, too")
        remove_run(output)
