"""Trials of a study, and the predictions of the finished ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from trainer.evaluate import read_predictions
from trainer.evaluation.metrics import PredictionRecord
from workflows.study.variants import Variant

TRIAL_FILE = "trial.json"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Variant with one size of the data and one seed."""

    size: int
    variant: Variant
    seed: int

    def folder(self, output: Path) -> Path:
        return output / str(self.size) / re.sub(r"\W+", "-", self.variant.name.lower()) / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.variant.name}, {self.size:,} queries, seed {self.seed}"


def list_trials(
    sizes: Sequence[int], variants: Sequence[Variant], *, num_seeds: int, num_control_seeds: int, control_size: int
) -> Iterator[Trial]:
    """Yield the trials seed by seed, so that an interrupted study has equally many seeds of all variants."""
    for seed in range(max(num_seeds, num_control_seeds)):
        for size in sizes:
            for variant in variants:
                num_variant_seeds = num_seeds if variant.is_main or variant.all_seeds else num_control_seeds
                if seed < num_variant_seeds and (variant.all_sizes or size == control_size):
                    yield Trial(size=size, variant=variant, seed=seed)


def read_trial_predictions(trial: Trial, output: Path) -> dict[str, list[PredictionRecord]]:
    """Read the predictions of a finished trial by prior mode, the query's own prior first; none of other trials."""
    folder, modes = trial.folder(output), dict[str, list[PredictionRecord]]()
    if (folder / TRIAL_FILE).is_file():
        for one in read_predictions(folder):
            modes.setdefault(one.priors, []).append(one)
    return modes


def compute_training_costs(trials: Iterable[Trial], output: Path) -> dict[str, dict[str, float]]:
    """Compute the median CPU seconds of a training by size and variant, without resumed trainings."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for trial in trials:
        path = trial.folder(output) / TRIAL_FILE
        taken = json.loads(path.read_text()).get("cpu_seconds") if path.is_file() else None
        if taken is not None:
            seconds.setdefault(str(trial.size), {}).setdefault(trial.variant.name, []).append(taken)
    return {
        size: {variant: round(median(values), 1) for variant, values in variants.items()}
        for size, variants in seconds.items()
    }
