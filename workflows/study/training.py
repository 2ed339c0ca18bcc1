"""Train and evaluate the networks of a study, each in its own process, several at once; only predictions are kept."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from upath import UPath

from generation.models.checkpoints import compute_fingerprint
from pipeline import open_plan, write_atomic
from trainer import evaluate
from trainer.config import TrainConfig, add_exemplars, claim_run_folder, make_miniature_recipe
from trainer.config_file import parse_overrides, write_config
from trainer.evaluate import EvaluateConfig
from workflows.cli.console import UserError, console
from workflows.cli.processes import ProcessGroup, stop_at_sigterm
from workflows.miniature import WEIGHTS
from workflows.presets import miniature
from workflows.priors.query_parsing import list_appearance_words
from workflows.study.trials import TRIAL_FILE, Trial
from workflows.study.variants import Variant

LOG = "log.txt"
TEXT_ENCODER = WEIGHTS / "bert"
"""Folder of the tokenizer and the size of the text encoder, which starts from random weights."""


@dataclass(frozen=True, kw_only=True)
class TrialRunner:
    """Runner of trainings and evaluations."""

    samples: Callable[[Trial], UPath]
    """Function that returns the real samples with priors, of training and of evaluation."""

    extra: Callable[[Variant], UPath | None]
    """Function that returns the extra training data of a variant; None without any."""

    crop_features: Callable[[Variant], tuple[UPath, ...]]
    """Function that returns the crop features of a variant's training data."""

    pretrained_visual: Path | None
    """Detector that initializes the backbone of all networks; None for networks that ``trainer_args`` start."""

    evaluated_splits: tuple[str, ...]
    """Splits that the networks are evaluated on."""

    output: Path
    """Folder of the study."""

    steps: int
    """Steps of a training, but for variants with a ``steps_factor``."""

    prior_dim: int | None = None
    """Number of features of a prior; default the miniature network's."""

    trainer_args: Sequence[str] = ()
    """Options of ``trainer.train`` for all networks alike."""

    num_threads: int = 1
    """Threads of each network's process."""

    _processes: ProcessGroup = field(default_factory=ProcessGroup)

    def stop(self) -> None:
        """End the running processes and start no more; the same trials resume from their checkpoints."""
        self._processes.stop()

    def run(self, trial: Trial) -> None:
        """Train and evaluate a network, unless that is done; both write to the trial's ``log.txt``.

        Raises:
            UserError: a process failed, another process trains the trial, or it was trained in another way.
        """
        folder = trial.folder(self.output)
        if not self.is_done(trial):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG).open("ab") as log:
                try:
                    fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its child processes hold the lock, too
                except BlockingIOError as error:
                    raise UserError(
                        f"{folder} is being trained by another process; wait for that process, or end it"
                    ) from error
                is_resumed = (folder / "run" / "last").exists()
                train_file = claim_run_folder(self.build_train_config(trial))
                train_command = ("trainer.train", "--config", str(train_file))
                usage = self._processes.run(str(trial), train_command, log, self.num_threads)
                evaluate_file = folder / evaluate.CONFIG_FILE
                write_config(self.build_evaluate_config(trial), evaluate_file)
                evaluate_command = ("trainer.evaluate", "--config", str(evaluate_file))
                self._processes.run(str(trial), evaluate_command, log, self.num_threads)
            cost = {"cpu_seconds": None if is_resumed else round(usage.cpu_s, 1), "num_threads": self.num_threads}
            write_atomic(folder / TRIAL_FILE, json.dumps({**self.describe_training(trial), **cost}, indent=1))
        shutil.rmtree(folder / "run", ignore_errors=True)

    def is_done(self, trial: Trial) -> bool:
        """Return whether a trial is trained and evaluated.

        Raises:
            UserError: the trial was trained in another way.
        """
        path = trial.folder(self.output) / TRIAL_FILE
        if not path.is_file():
            return False
        then, now = json.loads(path.read_text()), self.describe_training(trial)
        differences = [f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
        if differences:
            raise UserError(
                f"{path.parent} was trained in another way ({'; '.join(differences)}); choose another --output, give "
                "the options of then, or remove the folder"
            )
        return True

    def describe_training(self, trial: Trial) -> dict[str, Any]:
        """Return all values that decide a network; instead of paths, the fingerprints of their contents."""
        config = self.build_train_config(trial)
        return {
            **config.describe_training(),
            "train": [open_plan(run).plan_hash for run in config.train],
            "crop_features": [open_plan(run).plan_hash for run in config.crop_features],
            "text_encoder": compute_fingerprint(config.text_encoder),
            "pretrained_visual": config.pretrained_visual and compute_fingerprint(str(config.pretrained_visual)),
        }

    def build_train_config(self, trial: Trial) -> TrainConfig:
        """Return the configuration of a training; the last step's weights count, no split chooses any."""
        variant = trial.variant
        extra = self.extra(variant)
        recipe = make_miniature_recipe(
            trial.folder(self.output) / "run", (self.samples(trial), *([extra] if extra else []))
        )
        network = replace(
            recipe.network,
            use_prior=variant.priors is not None,
            prior_dim=self.prior_dim or recipe.network.prior_dim,
            prior_scale=variant.prior_scale,
        )
        recipe = replace(
            recipe,
            network=network,
            steps=self.steps * variant.steps_factor,
            seed=trial.seed,
            max_synthetic_fraction=variant.max_extra_fraction if extra else None,
            text_encoder=str(TEXT_ENCODER),
            pretrained_visual=self.pretrained_visual,
            validate_split=None,
            tracker="none",
        )
        if variant.exemplars != "none":
            recipe = add_exemplars(recipe, self.crop_features(variant), list_appearance_words(miniature.prior_config()))
            if recipe.exemplars and variant.exemplars == "words":
                exemplars = replace(recipe.exemplars, category_share=1.0, appearance_loss_weight=0.0)
                recipe = replace(recipe, exemplars=exemplars, prior_dropout=1.0)
        return parse_overrides(recipe, (*variant.trainer_args, *self.trainer_args))

    def build_evaluate_config(self, trial: Trial) -> EvaluateConfig:
        """Return the configuration of an evaluation."""
        return EvaluateConfig(
            checkpoint=trial.folder(self.output) / "run" / "best",
            data=self.samples(trial),
            splits=self.evaluated_splits,
            output=trial.folder(self.output),
            priors=trial.variant.evaluated_priors,
        )


def train_all(runner: TrialRunner, trials: Sequence[Trial], num_parallel: int) -> None:
    """Train and evaluate the missing networks, ``num_parallel`` at once.

    Raises:
        UserError: a trial failed; the others are ended.
        Preempted: SIGTERM arrived; all trials are ended.
    """
    stop_at_sigterm()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ThreadPoolExecutor(num_parallel) as pool, Progress(*columns, console=console) as bar:
        task = bar.add_task(f"networks, {num_parallel} at once", total=len(trials))
        running = {pool.submit(runner.run, trial): trial for trial in trials}
        try:
            for done in as_completed(running):
                done.result()
                bar.advance(task)
                bar.console.print(f"{running[done]}: finished")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise


def choose_parallelism(requested: int | None) -> tuple[int, int]:
    """Return the networks to train at once and the threads of each: one network a core, or one on an accelerator."""
    import torch

    cores = len(os.sched_getaffinity(0))
    num_parallel = requested or (1 if torch.accelerator.is_available() else cores)
    return num_parallel, max(1, cores // num_parallel)
