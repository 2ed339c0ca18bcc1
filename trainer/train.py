"""Train a grounding network, on one process or many; run the same command again to go on.

    accelerate launch -m trainer.train published --output runs/refcoco --train data/refcoco-packed data/scenes-packed
    accelerate launch -m trainer.train miniature --output runs/tiny --train data/packed --text-encoder bert-folder

``output/best`` is then a folder for ``trainer.predict`` and ``trainer.evaluate``, ``output/metrics.json`` says how
good it is on the validation split.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import tyro
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration
from torch import Tensor

from shards.errors import SchemaError
from shards.reader import PipelineError, SampleReader
from trainer.config import TrainConfig, make_miniature_recipe, make_published_recipe
from trainer.data.batch import Batch, BatchBuilder
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.sampler import limit_mixing_ratios
from trainer.data.stream import EvaluationStream, TrainStream
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import Predictor, build_evaluation_stream, evaluate_all
from trainer.evaluation.metrics import PredictionRecord, scores
from trainer.model.network import GroundingNetwork, GroundingOutput
from trainer.model.pretrained import LoadReport, choose_text_encoder, load_text, load_visual
from trainer.model.state_dict import format_names, load_strictly, read_safetensors
from trainer.training.checkpoint import Checkpoint, TrainingState, read_state
from trainer.training.ema import EmaWeights
from trainer.training.error_messages import translate_errors
from trainer.training.losses import compute_box_losses, compute_prior_loss, compute_verification_loss
from trainer.training.optimizer import build_optimizer, compute_lr_factor, set_learning_rates
from trainer.training.progress_bar import ProgressBar
from trainer.training.tracking import get_peak_memory_bytes, log_predictions

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # loader processes are forked


def train(config: TrainConfig) -> dict[str, Any]:
    """Train, or go on with it.

    Returns:
        What ``output/metrics.json`` holds: the best score, and a record of each epoch; ``finished`` is False after
        ``stop_after_steps``.

    Raises:
        TrainerError: something a person can mend; checkpoints stay as they were.
    """
    return Trainer(config).run()


class Trainer:
    """One training run on this process."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.accelerator = _new_accelerator(config)
        ranks = self.accelerator.num_processes
        if config.batch_images % (ranks * config.gradient_accumulation_steps):
            raise TrainerError(
                f"batch_images {config.batch_images} must be a multiple of the processes ({ranks}) times accumulate "
                f"({config.gradient_accumulation_steps})"
            )
        torch.manual_seed(config.seed)
        self.network, self.processor, loaded = new_network(config)
        self.network.use_channels_last()
        self.network.gradient_checkpointing = config.gradient_checkpointing
        self.stream = self._build_train_stream()
        self.validation = self._build_validation_stream()
        self.optimizer = build_optimizer(self.network, config.optimization, config.batch_images * config.max_queries)
        self.progress = TrainingState()
        state = self._resume()
        self.model, self.optimizer = self.accelerator.prepare(self.network, self.optimizer)
        self.average = self._new_average(state)
        if config.compile:
            self.network.compile_parts()
        self.progress_bar = ProgressBar(
            self.total_steps, self.stream.num_steps, config.log_every_steps, self.accelerator.is_main_process
        )
        self.progress_bar.print_message(self._describe_start(loaded))

    def _describe_start(self, loaded: LoadReport | None) -> str:
        """What the network starts from, and how many queries each step asks at which learning rate."""
        config = self.config
        if self.progress.epoch or self.progress.step:
            start = f"going on at epoch {self.progress.epoch + 1}, step {self.progress.step}"
        elif loaded is None:
            start = "visual parts start from random weights"
        else:
            unused = f"; unused are {format_names(loaded.unexpected)}" if loaded.unexpected else ""
            parts = ", ".join(part.rstrip(".") for part in loaded.parts)
            start = f"{parts} start from {config.pretrained_visual} ({loaded.num_tensors} tensors{unused})"
        rates = " and ".join(f"{group['initial_lr']:.2g}" for group in self.optimizer.param_groups)
        steps = f"steps of at most {config.batch_images * config.max_queries} queries"
        return f"{start}; {steps}, learning rates {rates} (scaling: {config.optimization.lr_scaling})"

    def run(self) -> dict[str, Any]:
        """All epochs that are left."""
        config, progress = self.config, self.progress
        steps_left = config.stop_after_steps or sys.maxsize
        _start_tracker(self.accelerator, config)
        with self.progress_bar, translate_errors(self._describe_progress, self._suggest_memory_savings()):
            while progress.epoch < self.num_epochs and steps_left > 0:
                steps_left = self._run_epoch(steps_left)
        self.accelerator.end_training()
        return self._write_metrics()

    def _describe_progress(self) -> str:
        place = f"at epoch {self.progress.epoch}, step {self.progress.step}"
        return f"{place}, and {self.config.output / 'last'} is intact"

    def _suggest_memory_savings(self) -> str:
        gradient_accumulation_steps = self.config.gradient_accumulation_steps
        return (
            f"the same result takes less with --gradient-accumulation-steps "
            f"{2 * gradient_accumulation_steps} (parts of a step, {gradient_accumulation_steps} now) or "
            "--gradient-checkpointing"
        )

    def _run_epoch(self, steps_left: int) -> int:
        """Steps of this epoch from where it stands, its validation and its checkpoint; returns the steps left."""
        progress = self.progress
        num_steps = min(self.stream.num_steps, self.total_steps - progress.epoch * self.stream.num_steps)
        self.network.frozen = progress.epoch < self.config.optimization.freeze_epochs
        self.network.train()
        waited_since = time.monotonic()
        for parts in self.stream.iterate_epoch(progress.epoch, progress.step):
            wait_s = time.monotonic() - waited_since
            figures = self._run_step(parts)
            progress.step += 1
            steps_left -= 1
            self._report(figures, wait_s, time.monotonic() - waited_since)
            ended, paused = progress.step == num_steps, steps_left == 0
            if not ended and (paused or progress.step % self.config.save_every_steps == 0):
                self._save(is_best=False)
            if ended or paused:
                break
            waited_since = time.monotonic()
        if progress.step == num_steps:
            self._end_epoch()
        return steps_left

    def _run_step(self, parts: Sequence[Batch]) -> dict[str, float]:
        """One update of the weights, by the mean loss over the queries of all parts and processes.

        Raises:
            TrainerError: the loss is not a number.
        """
        number, accelerator = self._global_step, self.accelerator
        factor = compute_lr_factor(self.config.optimization, number, self.stream.num_steps, self.total_steps)
        set_learning_rates(self.optimizer, factor)
        torch.manual_seed((self.config.seed * 1_000_003 + number) * 1_009 + accelerator.process_index)
        counted = torch.tensor(float(sum(len(part.targets) for part in parts if part.counts)))
        num_queries: Tensor = accelerator.reduce(counted.to(accelerator.device), "sum")
        summed: dict[str, Tensor] = {}
        for part in parts:
            with nullcontext() if part is parts[-1] else accelerator.no_sync(self.model):
                losses = {name: loss.sum() * part.counts for name, loss in self._compute_losses(part).items()}
                # Gradients are averaged over processes.
                accelerator.backward(losses["loss"] * accelerator.num_processes / num_queries)
            for name, loss in losses.items():
                summed[name] = summed.get(name, 0) + loss.detach()
        norm = accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimization.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.network)
        sums: Tensor = accelerator.reduce(torch.stack(list(summed.values())), "sum")
        figures = dict(zip(summed, (sums / num_queries).tolist(), strict=True))
        if not math.isfinite(value := figures["loss"]):
            raise TrainerError(
                f"the loss is {value} {self._describe_progress()}; lower the learning rate, or train without bf16"
            )
        rate = float(self.optimizer.param_groups[0]["lr"])
        return {**figures, "grad_norm": float(norm), "learning_rate": rate, "num_queries": num_queries.item()}

    def _compute_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Of each query of a batch: the whole loss under ``loss``, and parts of it, unweighted, of the last stage."""
        batch = batch.to(self.accelerator.device)
        grounding: GroundingOutput = self.model(self.processor.normalize_inputs(batch.inputs))
        queries = batch.inputs.queries
        boxes = compute_box_losses(grounding.boxes, batch.targets)
        losses = {"loss": boxes.per_query, "l1": boxes.l1[-1], "giou": boxes.giou[-1]}
        if self.config.verification_loss_weight:
            losses["verification"] = compute_verification_loss(grounding.scores, grounding.padding, batch.targets)
            losses["loss"] = losses["loss"] + self.config.verification_loss_weight * losses["verification"]
        if self.config.prior_loss_weight and grounding.appearance is not None:
            prior_inputs = (queries.prior, queries.prior_mask, queries.query_image, batch.targets)
            losses["prior"] = compute_prior_loss(grounding.appearance, *prior_inputs)  # type: ignore[arg-type]
            losses["loss"] = losses["loss"] + self.config.prior_loss_weight * losses["prior"]
        return losses

    @property
    def total_steps(self) -> int:
        """Of the whole training."""
        return self.config.steps or self.config.epochs * self.stream.num_steps

    @property
    def num_epochs(self) -> int:
        """The last one may be cut."""
        return -(-self.total_steps // self.stream.num_steps)

    @property
    def _global_step(self) -> int:
        return self.progress.epoch * self.stream.num_steps + self.progress.step

    def _report(self, figures: dict[str, float], wait_s: float, step_s: float) -> None:
        self.progress_bar.step(self.progress, figures)
        if self._global_step % self.config.log_every_steps == 0:
            pace = {"data_wait_s": wait_s, "step_s": step_s, "queries_per_s": figures["num_queries"] / step_s}
            memory = {"peak_memory_gb": get_peak_memory_bytes(self.accelerator.device) / 1e9}
            self.accelerator.log({**figures, **pace, **memory}, step=self._global_step)

    def _end_epoch(self) -> None:
        """Validate, see whether it is the best, save."""
        progress, config = self.progress, self.config
        record: dict[str, Any] = {"epoch": progress.epoch, "loss": self.progress_bar.pop_mean_loss()}
        last = progress.epoch + 1 == self.num_epochs
        is_best = self.validation is None
        if self.validation and (last or (progress.epoch + 1) % config.validate_every_epochs == 0):
            predictions = self._validate(self.validation)
            record["validation"] = metrics = scores(predictions)
            score = metrics["accuracy"]["0.50"]
            self.accelerator.log({"accuracy": score, "mean_iou": metrics["mean_iou"]}, step=self._global_step)
            log_predictions(self.accelerator, self.validation.samples, predictions, self._global_step)
            is_best = progress.best_score is None or score > progress.best_score
            progress.best_score = score if is_best else progress.best_score
        progress.history.append(record)
        progress.epoch, progress.step = progress.epoch + 1, 0
        self.progress_bar.epoch(record)
        self._save(is_best=is_best)

    def _validate(self, stream: EvaluationStream) -> list[PredictionRecord]:
        network = self.average.network if self.average else self.network
        return evaluate_all(Predictor(network=network, processor=self.processor), stream, self.accelerator)

    def _save(self, *, is_best: bool) -> None:
        if self.accelerator.is_main_process:
            self._make_checkpoint().save(self.config.output, is_best=is_best)
        self.accelerator.wait_for_everyone()

    def _make_checkpoint(self) -> Checkpoint:
        return Checkpoint(
            network=self.network,
            processor=self.processor,
            optimizer=getattr(self.optimizer, "optimizer", self.optimizer),
            progress=self.progress,
            average=self.average,
            config=self.config.to_json(),
            num_queries=sum(self.stream.samples.num_queries),
        )

    def _new_average(self, state: dict[str, Any]) -> EmaWeights | None:
        if self.config.ema_decay is None:
            return None
        average = EmaWeights(self.network, self.config.ema_decay)
        if state:
            average.load_state_dict(state["average"])
        return average

    def _resume(self) -> dict[str, Any]:
        """Go on from ``output/last``; returns what was saved beside its weights, nothing at the beginning.

        Raises:
            TrainerError: it is of another run, or ``resume`` is never.
        """
        output = self.config.output
        if not (output / "last").exists():
            output.mkdir(parents=True, exist_ok=True)
            return {}
        if self.config.resume == "never":
            raise TrainerError(f"{output} already holds a run; give another output, or --resume auto to go on with it")
        state = read_state(output)
        differences = self.config.differences(state["config"])
        if state["num_queries"] != sum(self.stream.samples.num_queries):
            differences.append(f"queries: {state['num_queries']} then, {sum(self.stream.samples.num_queries)} now")
        if differences:
            raise TrainerError(
                f"{output} holds a run with another configuration ({'; '.join(differences)}); "
                "give another output, or the configuration of that run"
            )
        weights = state.get("weights") or read_safetensors(output / "last" / "model.safetensors")
        load_strictly(self.network, weights, str(output / "last"))
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = TrainingState(**state["progress"])
        return state

    def _build_train_stream(self) -> TrainStream:
        config, accelerator = self.config, self.accelerator
        splits = [config.train_split] + [None] * (len(config.train) - 1)
        samples = Samples([SampleReader(run, split) for run, split in zip(config.train, splits, strict=True)])
        if config.network.use_prior:
            samples.check_priors(config.network.prior_dim)
        mixing_ratios = config.mixing_ratios
        if config.max_synthetic_fraction is not None:
            mixing_ratios = limit_mixing_ratios(samples.runs, config.max_queries, config.max_synthetic_fraction)
        return TrainStream(
            samples=samples,
            batch_builder=BatchBuilder(
                processor=self.processor,
                canvas_px=config.network.image_size_px,
                prior_dim=config.network.prior_dim if config.network.use_prior else None,
                seed=config.seed,
                augmentation=config.augmentation,
                prior_dropout=config.prior_dropout,
            ),
            batch_images=config.batch_images,
            max_queries=config.max_queries,
            mixing_ratios=mixing_ratios,
            num_microbatches=config.gradient_accumulation_steps,
            rank=accelerator.process_index,
            num_processes=accelerator.num_processes,
            num_workers=config.num_workers,
        )

    def _build_validation_stream(self) -> EvaluationStream | None:
        if self.config.validate_split is None:
            return None
        run = self.config.validate or self.config.train[0]
        try:
            reader = SampleReader(run, self.config.validate_split)
        except SchemaError as error:
            raise TrainerError(f"{error}; name another with --validate-split, or None for no validation") from error
        return build_evaluation_stream(
            Samples([reader]),
            self.network,
            self.processor,
            self.accelerator,
            batch_images=self.config.validate_batch_images,
            num_workers=self.config.num_workers,
        )

    def _write_metrics(self) -> dict[str, Any]:
        metrics = {
            "finished": self.progress.epoch >= self.num_epochs,
            "best_accuracy": self.progress.best_score,
            "history": self.progress.history,
        }
        if self.accelerator.is_main_process:
            partial = self.config.output / ".metrics.json.partial"
            partial.write_text(json.dumps(metrics, indent=1))
            partial.replace(self.config.output / "metrics.json")
        return metrics


def new_network(config: TrainConfig) -> tuple[GroundingNetwork, Processor, LoadReport | None]:
    """The network at its starting point, its processor, and what a detector gave."""
    network = GroundingNetwork(choose_text_encoder(config.network, config.text_encoder))
    if not config.text_from_scratch:
        load_text(network, config.text_encoder)
    loaded = load_visual(network, config.pretrained_visual) if config.pretrained_visual else None
    return network, Processor(config.processor, load_tokenizer(config.text_encoder)), loaded


def _new_accelerator(config: TrainConfig) -> Accelerator:
    """Parts that are frozen in early epochs give no gradients then, of which several processes must be told."""
    unused = DistributedDataParallelKwargs(find_unused_parameters=config.optimization.freeze_epochs > 0)
    return Accelerator(
        cpu=not torch.accelerator.is_available(),  # or several processes without a GPU would not find each other
        mixed_precision=config.mixed_precision,
        log_with=None if config.tracker == "none" else config.tracker,
        project_config=ProjectConfiguration(project_dir=str(config.output), logging_dir=str(config.output)),
        kwargs_handlers=[unused],
    )


def _start_tracker(accelerator: Accelerator, config: TrainConfig) -> None:
    """
    Raises:
        TrainerError: the tracker is not installed.
    """
    plain = {name: value for name, value in config.to_json().items() if isinstance(value, int | float | str | bool)}
    accelerator.init_trackers("log", config=plain)
    if config.tracker != "none" and accelerator.is_main_process and not accelerator.trackers:
        raise TrainerError(f"{config.tracker} is not installed; pip install {config.tracker}, or use --tracker none")


def main() -> None:
    """The command line."""
    recipes = {
        "published": ("The recipe of the paper", make_published_recipe()),
        "miniature": ("The miniature network on the miniature world", make_miniature_recipe()),
    }
    config = tyro.extras.overridable_config_cli(recipes, description=__doc__)
    try:
        finished = train(config)["finished"]
    except (TrainerError, SchemaError, PipelineError) as error:
        sys.exit(f"error: {error}")
    if PartialState().is_main_process:
        print(f"the network lies in {config.output / 'best'}" if finished else "paused; the same command goes on")


if __name__ == "__main__":
    main()
