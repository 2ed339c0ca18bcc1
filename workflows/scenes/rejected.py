"""Images of scenes that were rejected, a sheet for each composer and reason: what goes wrong is seen at a glance.

Rejected images are not kept. A few are made again: the same items through the same first stages, as a small run, so
that it needs no more of this machine than the rounds did.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image
from upath import UPath

from augmentation.detection.detected import DetectedScene
from augmentation.queries.labeling import make_sample
from pipeline import (
    Job,
    PlanRow,
    Rejected,
    Resources,
    ShardItems,
    Stage,
    list_runs,
    open_plan,
    read_ledger,
    read_receipts,
    remove_run,
    run_job,
    write_atomic,
)
from shards.reader import SampleReader
from shards.schema import Sample
from shards.tiles import PREDICTED, decode_image, make_sheet, make_tile
from shards.writer import SampleSink
from workflows.cli.console import print_path
from workflows.scenes.rounds import ComposerPipeline, RoundRun, Rounds

_NUM_SHOWN_STAGES = 2
"""Compose, and find what is there; what the later ones add is in the detail."""


class ShowStage(Stage[DetectedScene, Sample]):
    """The image and what was found in it, with nothing said about it."""

    resources = Resources(num_cpus=1)

    def process(self, items: list[DetectedScene]) -> list[Sample | Rejected]:
        return [make_sample(item, ()) for item in items]


def draw_rejected(rounds: Rounds, output: UPath, max_scenes: int) -> None:
    """Write ``<output>/<composer>-<reason>.png`` with at most so many scenes each; nothing where ``max_scenes`` is
    0."""
    for pipeline in rounds.config.pipelines if max_scenes else ():
        details = _collect_details([run for run in rounds.runs if run.composer == pipeline.composer], max_scenes)
        if details:
            reader = _run_again(
                rounds, pipeline, sorted(key for reason_details in details.values() for key in reason_details), output
            )
            for reason, of_reason in details.items():
                _write_sheet(output / f"{pipeline.composer}-{reason}.png", reader, of_reason)
    if max_scenes and list_runs(output):
        print_path("images of rejected scenes", output)


def _collect_details(runs: Iterable[RoundRun], max_scenes: int) -> dict[str, dict[str, str]]:
    """Reason to key to detail, of the first scenes that were rejected after there was a image."""
    details: dict[str, dict[str, str]] = defaultdict(dict)
    for run in runs:
        for receipt in read_receipts(run.folder):
            for row in read_ledger(run.folder, receipt) if receipt.rejected else ():
                has_image = row["outcome"] == "rejected" and row["stage"] != "compose"
                if has_image and len(details[row["reason"]]) < max_scenes:
                    details[row["reason"]][row["key"]] = row["detail"]
    return {reason: of_reason for reason, of_reason in details.items() if of_reason}


def _run_again(rounds: Rounds, pipeline: ComposerPipeline, keys: Sequence[str], output: UPath) -> SampleReader:
    """A run of the same name and seed, hence of the same random numbers."""
    config, folder = rounds.config, output / pipeline.composer
    job = Job(
        name="scenes",
        fingerprint={
            **config.fingerprint,
            **pipeline.fingerprint,
            "rejected": hashlib.sha256(json.dumps(keys).encode()).hexdigest(),
        },
        inputs=lambda: _iterate_planned_rows(rounds, pipeline, frozenset(keys)),
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=[*pipeline.stages[:_NUM_SHOWN_STAGES], ShowStage()],
        sink=SampleSink(),
    )
    if list_runs(folder) and open_plan(folder).settings.fingerprint != json.loads(json.dumps(job.fingerprint)):
        remove_run(folder)
    run_job(job, folder, config.executor)
    return SampleReader(folder)


def _iterate_planned_rows(rounds: Rounds, pipeline: ComposerPipeline, keys: frozenset[str]) -> Iterable[PlanRow]:
    for run in rounds.runs:
        if run.composer == pipeline.composer:
            plan = open_plan(run.folder)
            items = ShardItems(plan)
            planned_items = (item for shard in plan.shards for item in items.read(shard))
            yield from (PlanRow(key=item.key, payload=item.payload) for item in planned_items if item.key in keys)


def _write_sheet(path: UPath, reader: SampleReader, details: Mapping[str, str]) -> None:
    samples = (reader.read(i) for i, entry in enumerate(reader.index) if entry.key in details)
    content = io.BytesIO()
    make_sheet([_make_rejected_tile(sample, details[sample.key]) for sample in samples]).save(content, "PNG")
    write_atomic(path, content.getvalue())


def _make_rejected_tile(sample: Sample, detail: str) -> Image.Image:
    return make_tile(decode_image(sample.image), detail, [(one.box_xyxy, PREDICTED) for one in sample.instances])
