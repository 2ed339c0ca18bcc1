"""Report of the rehearsal: time, memory and disk of each step, and the hours that RefCOCO would take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from upath import UPath

from pipeline import Receipt, list_runs, read_receipts
from trainer.evaluate import read_predictions
from workflows.cli.paths import get_dataset_paths
from workflows.cli.steps import StepCost
from workflows.rehearsal.config import RehearsalConfig
from workflows.rehearsal.models import MACHINE_FILE
from workflows.rehearsal.plan import DATASET, NETWORKS

IMAGES = 19_994
"""Images of RefCOCO."""

PRIORS = 42_000
"""Estimate of RefCOCO's different images to render: 0.29 for each of 142,210 queries, as on its split val."""

SCENES = 20_000
"""Requested scenes of each composer, as in the example of ``workflows.augment``."""

CROPS = 835_000
"""Crops of about 167,000 instances in RefCOCO's 16,994 training images, five views each."""

TRAINED_QUERIES = 120_624 * 90
"""RefCOCO's training queries over 90 epochs."""

EVALUATED_QUERIES = 21_586 * 3
"""RefCOCO's queries of val, testA and testB, with own, without and with shuffled priors."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Measured time of one item, extrapolated to RefCOCO."""

    part: str
    item: str
    seconds_per_item: float
    num_items: int
    """Number of items for RefCOCO."""

    @property
    def hours(self) -> float:
        """Return the hours that all items take, one after another."""
        return self.seconds_per_item * self.num_items / 3600


@dataclass(frozen=True, kw_only=True)
class TrainingPace:
    """Time and memory of a training's steps."""

    seconds_per_step: float
    queries_per_step: float
    peak_bytes: int
    """Largest memory of tensors on the GPU, or of the process on a CPU."""


def build_report(config: RehearsalConfig, costs: Mapping[str, StepCost]) -> dict[str, Any]:
    """Build the report from the costs of the steps and the results in the folder."""
    output = config.folder
    paces = {name: read_training_pace(output / name / "log") for name in NETWORKS}
    return {
        "machine": json.loads((output / "models" / MACHINE_FILE).read_bytes()),
        "options": {name: value for name, value in asdict(config.sized).items() if name != "output"},
        "steps": {
            name: {**asdict(cost), "disk_bytes": measure_disk(list_outputs(output, name))}
            for name, cost in costs.items()
        },
        "training": {name: asdict(pace) for name, pace in paces.items()},
        "refcoco": [{**asdict(rate), "hours": rate.hours} for rate in list_rates(output, costs, paces)],
    }


def list_rates(output: Path, costs: Mapping[str, StepCost], paces: Mapping[str, TrainingPace]) -> Iterator[Rate]:
    """Yield the rates of all steps whose time depends on the size of the dataset."""
    data = UPath(output / "data")
    paths = get_dataset_paths(DATASET, data)
    priors = [receipt for store in list_stores(data) for run in list_runs(store) for receipt in read_receipts(run)]
    yield make_rate("ingest", "image", read_receipts(paths.samples), IMAGES)
    yield make_rate("generate-priors", "prior", priors, PRIORS)
    for composer in ("prompted", "pasted", "photographs"):
        runs = [run for run in list_runs(paths.scene_rounds) if run.name.endswith(f"-{composer}")]
        receipts = [receipt for run in runs for receipt in read_receipts(run)]
        yield make_rate(f"augment, {composer}", "scene", receipts, SCENES)
    yield make_rate("crop-features", "crop", read_receipts(paths.get_crop_features_run("samples")), CROPS)
    yield make_rate("pack", "image", read_receipts(paths.get_packed_run("samples")), IMAGES)
    for name, pace in paces.items():
        seconds = pace.seconds_per_step / pace.queries_per_step
        yield Rate(part=f"train, {name}", item="query", seconds_per_item=seconds, num_items=TRAINED_QUERIES)
    for name in paces:
        seconds = costs[f"evaluate, {name}"].seconds / len(read_predictions(output / name / "evaluation"))
        yield Rate(
            part=f"evaluate, {name}, with its start",
            item="query",
            seconds_per_item=seconds,
            num_items=EVALUATED_QUERIES,
        )


def make_rate(part: str, item: str, receipts: Sequence[Receipt], num_items: int) -> Rate:
    """Make the rate of one or more shards; the first one, which loads models, counts only if it is alone."""
    counted = sorted(receipts, key=lambda receipt: receipt.finished_at)[len(receipts) > 1 :]
    items = sum(int(receipt.summary.get("crops", receipt.attempted)) for receipt in counted)
    seconds = sum(sum(receipt.stage_seconds.values()) for receipt in counted)
    return Rate(part=part, item=item, seconds_per_item=seconds / max(1, items), num_items=num_items)


def list_stores(data: UPath) -> list[UPath]:
    """List the prior stores in a folder of datasets."""
    return sorted((data / "priors").iterdir(), key=str)


def read_training_pace(log: Path) -> TrainingPace:
    """Read the pace from a training's events; its first step, which warms up, does not count."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(log))
    events.Reload()
    seconds, queries, memory_gb = (
        [event.value for event in events.Scalars(name)] for name in ("step_s", "num_queries", "peak_memory_gb")
    )
    counted = len(seconds) - 1
    return TrainingPace(
        seconds_per_step=sum(seconds[1:]) / counted,
        queries_per_step=sum(queries[1:]) / counted,
        peak_bytes=round(max(memory_gb) * 1e9),
    )


def list_outputs(output: Path, step: str) -> list[Path]:
    """List what a step writes; priors of scenes count as those of the samples."""
    dataset = output / "data" / DATASET
    outputs: dict[str, list[Path]] = {
        "save models": [output / "models"],
        "draw images": [output / name for name in ("refer", "cutouts", "backgrounds")],
        "ingest": [dataset / "samples"],
        "generate-priors": [output / "data" / "priors"],
        "augment": [dataset / "scenes", dataset / "scenes-rounds"],
        "crop-features": [dataset / "crop_features", dataset / "crop_features_scenes"],
        "pack": [dataset / "packed-samples", dataset / "packed-scenes"],
        "predict": [output / "predictions"],
    }
    kind, _, network = step.partition(", ")
    return outputs.get(step) or [output / network / ("evaluation" if kind == "evaluate" else "")]


def measure_disk(paths: Iterable[Path]) -> int:
    """Measure the bytes of all files in some folders; files with several links count once."""
    files = {
        (status.st_dev, status.st_ino): status.st_size
        for path in paths
        for file in path.rglob("*")
        if not file.is_symlink() and file.is_file()
        for status in [file.stat()]
    }
    return sum(files.values())


def format_report(report: Mapping[str, Any]) -> str:
    """Format the report as Markdown."""
    machine, options, steps = report["machine"], report["options"], report["steps"]
    is_gpu = machine["is_gpu"]
    title = "Rehearsal with small models" if options["smoke"] else "Rehearsal with full-size models"
    lines = [
        f"# {title}, random weights",
        "",
        f"{machine['device']}, torch {machine['torch']}; {options['num_images']} images, {options['image_size_px']} px "
        f"and {options['num_inference_steps']} steps for a rendered image, {options['batch_images']} queries and "
        f"precision {options['mixed_precision']} for a step of training.",
        "",
        f"| step | time, s | CPU, s | memory, GB |{' GPU memory, GB |' if is_gpu else ''} disk, MB |",
        f"|---|--:|--:|--:|{'--:|' if is_gpu else ''}--:|",
    ]
    for name, step in steps.items():
        gpu = f" {(step['gpu_peak_bytes'] or 0) / 1e9:.1f} |" if is_gpu else ""
        disk_mb = step["disk_bytes"] / 1e6
        times = f"{step['seconds']:.0f} | {step['cpu_s']:.0f}"
        lines.append(f"| {name} | {times} | {step['peak_bytes'] / 1e9:.1f} |{gpu} {disk_mb:,.0f} |")
    seconds, cpu_s, disk = (sum(step[key] for step in steps.values()) for key in ("seconds", "cpu_s", "disk_bytes"))
    lines += [f"| all | {seconds:.0f} | {cpu_s:.0f} | |{' |' if is_gpu else ''} {disk / 1e6:,.0f} |", ""]
    lines += ["| training | s per step | queries per step | memory, GB |", "|---|--:|--:|--:|"]
    for name, pace in report["training"].items():
        peak_gb = pace["peak_bytes"] / 1e9
        lines.append(f"| {name} | {pace['seconds_per_step']:.2f} | {pace['queries_per_step']:.0f} | {peak_gb:.1f} |")
    if options["smoke"]:  # hours of small models say nothing
        return "\n".join(lines) + "\n"
    hours = "GPU-hours" if is_gpu else "hours on this CPU"
    lines += ["", f"| RefCOCO, with these options | items | ms per item | {hours} |", "|---|--:|--:|--:|"]
    for rate in report["refcoco"]:
        lines.append(
            f"| {rate['part']} | {rate['num_items']:,} x {rate['item']} | {1000 * rate['seconds_per_item']:.1f} | "
            f"{rate['hours']:,.1f} |"
        )
    return "\n".join(lines) + "\n"
