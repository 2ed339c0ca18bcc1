"""Pictures of scenes that were rejected, a sheet for each composer and reason: what goes wrong is seen at a glance.

Rejected pictures are not kept. A few are made again: the same items through the same first stages, as a small run, so
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

from augmentation.detection.detector import Detected
from augmentation.queries.labeling import encoded
from pipeline.plan import ShardItems, open_plan, remove_run
from pipeline.receipts import read_ledger, read_receipts, runs_below
from pipeline.run import Job, PlanRow, run_job
from pipeline.stage import Rejected, Resources, Stage
from pipeline.storage import replace
from shards.reader import SampleReader
from shards.schema import Instance, Sample
from shards.writer import SampleSink
from workflows.cli.console import lies_in
from workflows.scenes.rounds import Recipe, RoundRun, Rounds
from workflows.visualization.tiles import PREDICTED, picture_of, sheet, tile

_NUM_SHOWN_STAGES = 2
"""Compose, and find what is there; what the later ones add is in the detail."""


class ShowStage(Stage[Detected, Sample]):
    """The picture and what was found in it, with nothing said about it."""

    resources = Resources(num_cpus=1)

    def process(self, items: list[Detected]) -> list[Sample | Rejected]:
        return [_shown(item) for item in items]


def _shown(item: Detected) -> Sample:
    height, width = item.picture.shape[:2]
    return Sample(
        key=item.key,
        width=width,
        height=height,
        image_name=item.key,
        image=encoded(item.picture),
        instances=tuple(Instance(box_xyxy=one.box_xyxy, category=one.category, score=one.score) for one in item.found),
        queries=(),
    )


def draw_rejected(rounds: Rounds, output: UPath, most: int) -> None:
    """Write ``<output>/<composer>-<reason>.png`` with at most so many scenes each; nothing where ``most`` is 0."""
    for recipe in rounds.config.recipes if most else ():
        details = _first_details([run for run in rounds.runs if run.composer == recipe.composer], most)
        if details:
            shown = _shown_again(rounds, recipe, sorted(key for of in details.values() for key in of), output)
            for reason, of_reason in details.items():
                _write_sheet(output / f"{recipe.composer}-{reason}.png", shown, of_reason)
    if most and runs_below(output):
        lies_in("pictures of rejected scenes", output)


def _first_details(runs: Iterable[RoundRun], most: int) -> dict[str, dict[str, str]]:
    """Reason to key to detail, of the first scenes that were rejected after there was a picture."""
    details: dict[str, dict[str, str]] = defaultdict(dict)
    for run in runs:
        for receipt in read_receipts(run.folder):
            for row in read_ledger(run.folder, receipt) if receipt.rejected else ():
                has_picture = row["outcome"] == "rejected" and row["stage"] != "compose"
                if has_picture and len(details[row["reason"]]) < most:
                    details[row["reason"]][row["key"]] = row["detail"]
    return {reason: of_reason for reason, of_reason in details.items() if of_reason}


def _shown_again(rounds: Rounds, recipe: Recipe, keys: Sequence[str], output: UPath) -> SampleReader:
    """A run of the same name and seed, hence of the same random numbers."""
    config, folder = rounds.config, output / recipe.composer
    job = Job(
        name="scenes",
        fingerprint={
            **config.fingerprint,
            **recipe.fingerprint,
            "rejected": hashlib.sha256(json.dumps(keys).encode()).hexdigest(),
        },
        inputs=lambda: _planned(rounds, recipe, frozenset(keys)),
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=[*recipe.stages[:_NUM_SHOWN_STAGES], ShowStage()],
        sink=SampleSink(),
    )
    if runs_below(folder) and open_plan(folder).settings.fingerprint != json.loads(json.dumps(job.fingerprint)):
        remove_run(folder)
    run_job(job, folder, config.executor)
    return SampleReader(folder)


def _planned(rounds: Rounds, recipe: Recipe, keys: frozenset[str]) -> Iterable[PlanRow]:
    for run in rounds.runs:
        if run.composer == recipe.composer:
            plan = open_plan(run.folder)
            items = ShardItems(plan)
            every = (item for shard in plan.shards for item in items.read(shard))
            yield from (PlanRow(key=item.key, payload=item.payload) for item in every if item.key in keys)


def _write_sheet(path: UPath, shown: SampleReader, details: Mapping[str, str]) -> None:
    samples = (shown.read(i) for i, entry in enumerate(shown.index) if entry.key in details)
    content = io.BytesIO()
    sheet([_tile(sample, details[sample.key]) for sample in samples]).save(content, "PNG")
    replace(path, content.getvalue())


def _tile(sample: Sample, detail: str) -> Image.Image:
    return tile(picture_of(sample), detail, [(one.box_xyxy, PREDICTED) for one in sample.instances])
