"""Measure what a trained network is worth as the start of a training on few queries of other data.

    make benchmark NAME=fine_tuning        # two minutes on one core

Networks without priors train the same steps on about 200 queries of the miniature world with another seed than the
shipped network's: from the shipped network (``--start miniature``), with the recipe's learning rates and with a tenth
of them, and as ``make train`` starts. The table has these, the shipped network as it is, and the paired differences.
Writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from upath import UPath

from shards.reader import SampleReader
from trainer.config import make_miniature_recipe
from trainer.evaluate import EvaluateConfig, evaluate
from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.metrics import PredictionRecord
from trainer.files import find_checkpoint
from trainer.train import train
from workflows import ingest
from workflows.cli.paths import get_dataset_paths
from workflows.miniature import BACKBONE, WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset

SPLITS = ("val", "testA", "testB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--images", type=int, default=58, help="training images, with 3.5 queries each")
    parser.add_argument("--test-images", type=int, default=200, help="images of val, testA and testB each")
    parser.add_argument("--seed", type=int, default=1001, help="seed of the world")
    parser.add_argument("--work", type=Path, default=Path("runs/fine-tuning"), help="folder of data and networks")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/fine_tuning.json"))
    options = parser.parse_args()
    samples = make_samples(options.work, options.seed, options.images, options.test_images)
    networks = train_networks(samples, options.work, options.steps)
    records = {name: evaluate_network(folder, samples, options.work / name) for name, folder in networks.items()}
    settings = {
        "steps": options.steps,
        "seed_of_world": options.seed,
        "train_queries": SampleReader(samples, "train").num_queries,
        "test_queries": len(records["scratch"]),
    }
    figures = {**settings, **summarize(records)}
    print_table(figures)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


def make_samples(work: Path, seed: int, num_train: int, num_test: int) -> UPath:
    """Draw and ingest the world of a seed, and return the run of its samples."""
    refer, data = work / "refer", UPath(work / "data")
    write_dataset(WorldConfig(output=refer, num_train=num_train, num_val=num_test, num_test=num_test, seed=seed))
    config = ingest.IngestConfig(annotations=UPath(refer / "miniature"), images=UPath(refer / "images"), data=data)
    ingest.main(config)
    return get_dataset_paths("miniature", data).samples


def train_networks(samples: UPath, work: Path, steps: int) -> dict[str, Path]:
    """Train the networks, and return the folders of all, also of the shipped one."""
    recipe = make_miniature_recipe(work, (samples,))
    recipe = replace(
        recipe,
        network=replace(recipe.network, use_prior=False),
        steps=steps,
        validate_split=None,
        tracker="none",
        resume="never",
    )
    slow = replace(recipe.optimization, learning_rate=3e-5, pretrained_learning_rate=3e-5)
    trainings = {
        "scratch": replace(recipe, text_encoder=str(WEIGHTS / "bert"), pretrained_visual=BACKBONE),
        "fine-tuned": replace(recipe, start="miniature"),
        "fine-tuned, a tenth": replace(recipe, start="miniature", optimization=slow),
    }
    networks = {"shipped": find_checkpoint("miniature")}
    for name, config in trainings.items():
        train(replace(config, output=work / name))
        networks[name] = work / name / "best"
    return networks


def evaluate_network(checkpoint: Path, samples: UPath, output: Path) -> list[PredictionRecord]:
    """Evaluate a network without priors."""
    return evaluate(EvaluateConfig(checkpoint=checkpoint, data=samples, splits=SPLITS, output=output, priors=("none",)))


def summarize(records: dict[str, Sequence[PredictionRecord]]) -> dict[str, Any]:
    """Return Acc@0.5 of each network, and the differences of the fine-tuned ones to the others, with intervals."""
    images = [one.key for one in records["scratch"]]
    right = {name: [float(one.iou > 0.5) for one in rows] for name, rows in records.items()}
    differences = {
        f"{tuned} minus {name}": [a - b for a, b in zip(right[tuned], right[name], strict=True)]
        for tuned in right
        if tuned.startswith("fine-tuned")
        for name in ("scratch", "shipped")
    }
    return {name: asdict(compute_intervals(values, images)[0]) for name, values in {**right, **differences}.items()}


def print_table(figures: dict[str, Any]) -> None:
    """Print Acc@0.5 in percent."""
    table = Table("network", f"Acc@0.5 of {figures['test_queries']:,} queries (95 %)")
    for name, figure in figures.items():
        if isinstance(figure, dict):
            table.add_row(name, "{mean:.1%} ({low:.1%} to {high:.1%})".format(**figure))
    Console().print(table)


if __name__ == "__main__":
    main()
