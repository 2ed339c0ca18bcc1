"""Run the whole job on the miniature world: dataset, priors, scenes, two trainings, one table, images.

    make demo               # about 20 minutes on two cores
    make demo SIZE=smoke    # a test of every step; the networks are too small to be useful

Generation and augmentation run on Ray, as on a cluster. To resume the demo, run it again. In full size it writes to the
folders from which `make predict`, `make evaluate` and the other commands read by default.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from upath import UPath

from pipeline import ExecutorConfig
from workflows import augment, generate_priors, ingest, pack, train
from workflows.cli.console import console, print_path, run
from workflows.evaluate import EvaluateCommandConfig, evaluate_to, print_table
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.visualization.demo_sheets import draw_demo_sheets


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """Sizes of the dataset and of the trainings."""

    num_train: int
    num_val: int
    num_test: int
    num_scenes: int
    epochs: int | None = None
    """Epochs of each training; None uses the default of `make train`."""

    pretrained_visual: Path | None = None
    """Checkpoint of both networks' backbones; None uses the default of `make train`."""


SIZES = {
    "full": DemoSize(num_train=2000, num_val=250, num_test=400, num_scenes=900),
    "smoke": DemoSize(
        num_train=40, num_val=12, num_test=12, num_scenes=24, epochs=1, pretrained_visual=WEIGHTS / "detector"
    ),
}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Size and folder of the demo."""

    size: Literal["full", "smoke"] = "full"
    """Size of the dataset and of the trainings; ``smoke`` only tests every step."""

    output: Path | None = None
    """Folder of ``data`` and ``runs``; by default the current one, and ``runs/demo-smoke`` for a smoke demo."""

    workers: int = 2
    """Ray workers per stage."""


def main(config: DemoConfig) -> None:
    """Run all steps, then print times and results."""
    root = config.output or (Path() if config.size == "full" else Path("runs/demo-smoke"))
    data, runs, output = UPath(root / "data"), root / "runs", root / "runs" / "demo"
    size, executor = SIZES[config.size], ExecutorConfig(executor="ray", workers=config.workers)
    refer = root / "data" / "miniature" / "refer"
    networks = {variant: runs / f"miniature-{variant}" for variant in ("base", "both")}
    reports: dict[str, dict[str, Any]] = {}

    def evaluate_variant(variant: str) -> None:
        best = networks[variant] / "best"
        chosen = EvaluateCommandConfig(checkpoint=best, data=data, splits=("testA", "testB"))
        reports[variant] = evaluate_to(chosen, networks[variant] / "evaluation")

    def train_variant(variant: Literal["base", "both"]) -> None:
        chosen = train.TrainCommandConfig(
            variant=variant,
            output=networks[variant],
            data=data,
            epochs=size.epochs,
            pretrained_visual=size.pretrained_visual,
        )
        train.main(chosen)

    world = WorldConfig(output=refer, num_train=size.num_train, num_val=size.num_val, num_test=size.num_test)
    annotations, images = UPath(refer / "miniature"), UPath(refer / "images")
    steps: list[tuple[str, Callable[[], object]]] = [
        ("draw the world", lambda: write_dataset(world)),
        ("ingest", lambda: ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=data))),
        (
            "generate priors",
            lambda: generate_priors.main(generate_priors.GeneratePriorsConfig(data=data, executor=executor)),
        ),
        (
            "augment",
            lambda: augment.main(
                augment.AugmentConfig(num_scenes=size.num_scenes, num_rejected_images=0, data=data, executor=executor)
            ),
        ),
        ("pack", lambda: pack.main(pack.PackConfig(data=data))),
        ("train base", lambda: train_variant("base")),
        ("train both", lambda: train_variant("both")),
        ("evaluate base", lambda: evaluate_variant("base")),
        ("evaluate both", lambda: evaluate_variant("both")),
        ("images", lambda: draw_demo_sheets(data, networks, output / "images")),
    ]
    seconds = {}
    for name, step in steps:
        console.rule(name)
        started = time.monotonic()
        step()
        seconds[name] = round(time.monotonic() - started, 1)
    print_table(reports)
    _print_times(seconds)
    peak_bytes = (
        max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
    )
    summary = {"seconds": seconds, "peak_bytes_of_one_process": peak_bytes, "reports": reports}
    (output / "demo.json").write_text(json.dumps(summary, indent=1))
    print_path("table saved to", output / "demo.json")
    print_path("images of priors, scenes and predictions saved to", output / "images")


def _print_times(seconds: dict[str, float]) -> None:
    table = Table(title="Time of each step")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name, value in {**seconds, "all": round(sum(seconds.values()), 1)}.items():
        table.add_row(name, f"{value:.0f}")
    console.print(table)


if __name__ == "__main__":
    run(main, DemoConfig, __doc__)
