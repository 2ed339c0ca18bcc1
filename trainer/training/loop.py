"""The training loop: steps, validation, checkpoints and resuming.

Random numbers need no state: each step seeds its own from (seed, step, process). So a resumed run computes the same
weights as an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline import lock_descriptor
from trainer.confidence import UNCALIBRATED, Calibration, fit_calibration
from trainer.config import TrainConfig, claim_run_folder
from trainer.data.batch import Batch
from trainer.data.dataset import Samples
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import Predictor, evaluate_all
from trainer.evaluation.generalized import compute_generalized_scores
from trainer.evaluation.metrics import PredictionRecord, compute_scores
from trainer.files import write_atomic
from trainer.model.network import GroundingNetwork, GroundingOutput
from trainer.model.pretrained import LoadReport
from trainer.model.state_dict import format_names, load_strictly, read_safetensors
from trainer.model_card import format_training_card
from trainer.training.checkpoint import Checkpoint, TrainingState, read_state
from trainer.training.error_messages import translate_errors
from trainer.training.figures import StepFigures
from trainer.training.optimizer import build_optimizer, compute_lr_factor, set_learning_rates
from trainer.training.progress_bar import ProgressBar
from trainer.training.setup import (
    build_accelerator,
    build_exemplar_sampler,
    build_network,
    build_processor,
    build_train_stream,
    build_validation_stream,
    open_train_samples,
    start_tracker,
)
from trainer.training.step_losses import StepCounts, StepLosses
from trainer.training.tracking import get_peak_memory_bytes, log_predictions


class Trainer:
    """One training run, on this process."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        torch.set_float32_matmul_precision(config.float32_matmul_precision)
        self.accelerator = build_accelerator(config)
        ranks = self.accelerator.num_processes
        if config.batch_images % (ranks * config.gradient_accumulation_steps):
            raise TrainerError(
                f"batch_images {config.batch_images} must be a multiple of the processes ({ranks}) times "
                f"gradient_accumulation_steps ({config.gradient_accumulation_steps})"
            )
        torch.manual_seed(config.seed)
        self.network, loaded = build_network(config)
        self.network.use_channels_last()
        self.network.gradient_checkpointing = config.gradient_checkpointing
        samples = open_train_samples(config)
        self.processor = build_processor(config, samples)
        exemplars = build_exemplar_sampler(config, samples, self.processor)
        if exemplars is not None and self.network.exemplar_scoring is not None:
            self.network.exemplar_scoring.mean_feature.copy_(torch.from_numpy(exemplars.crops.mean_feature))
        self.stream = build_train_stream(config, samples, self.processor, exemplars, self.accelerator)
        self.validation = build_validation_stream(config, self.network, self.processor, self.accelerator)
        self.optimizer = build_optimizer(self.network, config.optimization, config.batch_images * config.max_queries)
        self.losses = StepLosses(verification_loss_weight=config.verification_loss_weight, exemplars=config.exemplars)
        self.model: Any = None
        """Network as this process calls it: wrapped for several processes, or the network itself."""

        self.progress = TrainingState()
        self._pending: tuple[StepFigures, float, float] | None = None
        """Figures of the last step, its wait for data and its duration in seconds, until they are reported."""

        state = self._resume()
        self._freeze(self.progress.epoch < config.optimization.freeze_epochs)
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            average_fn = get_ema_multi_avg_fn(config.ema_decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.network, multi_avg_fn=average_fn)
            if state:
                self.average.load_state_dict(state["average"])
        if config.compile:
            self.network.compile_parts(dynamic=False)
        self.progress_bar = ProgressBar(
            self.total_steps, self.stream.num_steps, config.log_every_steps, self.accelerator.is_main_process
        )
        self.progress_bar.print_message(self._describe_start(loaded))
        for message in _describe_targets(samples, config):
            self.progress_bar.print_message(message)

    def _describe_start(self, loaded: LoadReport | None) -> str:
        """Describe the starting point, the queries of a step and the learning rates in one line."""
        config = self.config
        if self.progress.epoch or self.progress.step:
            start = f"resuming at epoch {self.progress.epoch + 1}, step {self.progress.step}"
        elif loaded is None:
            start = "visual parts start from random weights"
        else:
            new = f"; new are {format_names(loaded.missing)}" if loaded.missing else ""
            unused = f"; unused are {format_names(loaded.unexpected)}" if loaded.unexpected else ""
            parts = ", ".join(part.rstrip(".") for part in loaded.parts)
            origin = config.start or config.pretrained_visual
            start = f"{parts} start from {origin} ({loaded.num_tensors} tensors{new}{unused})"
        rates = " and ".join(f"{group['initial_lr']:.2g}" for group in self.optimizer.param_groups)
        steps = f"steps of at most {config.batch_images * config.max_queries} queries"
        return f"{start}; {steps}, learning rates {rates} (scaling: {config.optimization.lr_scaling})"

    def run(self) -> dict[str, Any]:
        """Train the remaining epochs, and return the contents of ``metrics.json``.

        Raises:
            TrainerError: memory ran out, a background process died, the disk is full, or the loss is not a number.
            PipelineError: another process trains into the folder.
        """
        config, progress = self.config, self.progress
        steps_left = config.stop_after_steps or sys.maxsize
        start_tracker(self.accelerator, config)
        hint = self._suggest_memory_savings()
        with self._lock_folder(), self.progress_bar, translate_errors(self._describe_progress, hint):
            while progress.epoch < self.num_epochs and steps_left > 0:
                steps_left = self._run_epoch(steps_left)
        self.model = self.network  # DDP keeps the process group alive, whose threads can abort a process that is done
        self.accelerator.free_memory()
        self.accelerator.end_training()
        return self._write_metrics()

    @contextmanager
    def _lock_folder(self) -> Iterator[None]:
        """Keep other trainings out of the folder of the run."""
        if not self.accelerator.is_main_process:
            yield
            return
        with (self.config.output / ".lock").open("w") as lock:
            lock_descriptor(lock.fileno(), self.config.output)
            yield

    def _describe_progress(self, step: int | None = None) -> str:
        place = f"at epoch {self.progress.epoch}, step {self.progress.step if step is None else step}"
        return f"{place}, and {self.config.output / 'last'} is intact"

    def _suggest_memory_savings(self) -> str:
        parts = self.config.gradient_accumulation_steps
        return (
            f"the same result needs less memory with --gradient-accumulation-steps {2 * parts} "
            f"(parts of a step, {parts} now) or --gradient-checkpointing"
        )

    def _run_epoch(self, steps_left: int) -> int:
        """Train the rest of this epoch, validate and save; return the number of steps left in this call."""
        progress = self.progress
        num_steps = min(self.stream.num_steps, self.total_steps - progress.epoch * self.stream.num_steps)
        if self.network.frozen and progress.epoch >= self.config.optimization.freeze_epochs:
            self._freeze(False)
        self.network.train()
        waited_since = time.monotonic()
        for parts in self.stream.iterate_epoch(progress.epoch, progress.step):
            wait_s = time.monotonic() - waited_since
            figures = self._run_step(parts)
            self._report_pending()  # figures of the step before, while the device computes this one
            progress.step += 1
            steps_left -= 1
            self._pending = (figures, wait_s, time.monotonic() - waited_since)
            ended, paused = progress.step == num_steps, steps_left == 0
            saves = not ended and (paused or progress.step % self.config.save_every_steps == 0)
            if ended or saves:
                self._report_pending()
            if saves:
                self._save(UNCALIBRATED, is_best=False)
            if ended or paused:
                break
            waited_since = time.monotonic()
        if progress.step == num_steps:
            self._end_epoch()
        return steps_left

    def _freeze(self, frozen: bool) -> None:
        """Freeze or release the pretrained parts, and wrap the network for several processes.

        Only while parts are frozen, DDP must search for parameters without gradients in each step.
        """
        self.network.frozen = frozen
        if self.accelerator.ddp_handler is not None:
            self.accelerator.ddp_handler.find_unused_parameters = frozen
        if self.model is self.network:  # a single process, which wraps nothing
            return
        if self.model is not None:
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.model = None  # the old wrapper must go, or both would exchange gradients
            self.accelerator.free_memory()
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # without accelerate's wrapper
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)

    def _run_step(self, parts: Sequence[Batch]) -> StepFigures:
        """Update the weights once, by the mean loss over the queries of all parts and processes."""
        number, accelerator = self._global_step, self.accelerator
        factor = compute_lr_factor(self.config.optimization, number, self.stream.num_steps, self.total_steps)
        set_learning_rates(self.optimizer, factor)
        torch.manual_seed((self.config.seed * 1_000_003 + number) * 1_009 + accelerator.process_index)
        counted = self.losses.count(parts).to(
            accelerator.device, non_blocking=True
        )  # or it would wait for the last step
        counts = StepCounts(*accelerator.reduce(counted, "sum").clamp(min=1).unbind())
        summed: dict[str, Tensor] = {}
        with torch.autocast(accelerator.device.type, enabled=False):  # the parts share the weights that it casts
            for part in parts:
                with nullcontext() if part is parts[-1] else accelerator.no_sync(self.model):
                    batch = part.to(accelerator.device)
                    output: GroundingOutput = self.model(self.processor.normalize_inputs(batch.inputs))
                    losses = self.losses.compute(output, batch, counts, self.network.exemplar_scoring)
                    losses = {name: loss * part.counts for name, loss in losses.items()}
                    # DDP averages gradients over processes; a mean over all queries needs their sum.
                    accelerator.backward(losses["loss"] * accelerator.num_processes)
                for name, loss in losses.items():
                    summed[name] = summed.get(name, 0) + loss.detach()
        norm = accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimization.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.network)
        means: Tensor = accelerator.reduce(torch.stack(list(summed.values())), "sum")
        figures = {**dict(zip(summed, means, strict=True)), "grad_norm": norm, "num_queries": counts.queries}
        return StepFigures.copy_from(figures, learning_rate=float(self.optimizer.param_groups[0]["lr"]))

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole training."""
        return self.config.steps or self.config.epochs * self.stream.num_steps

    @property
    def num_epochs(self) -> int:
        """Number of epochs; the last one may end early."""
        return -(-self.total_steps // self.stream.num_steps)

    @property
    def _global_step(self) -> int:
        return self.progress.epoch * self.stream.num_steps + self.progress.step

    def _report_pending(self) -> None:
        """Report the last step, if that has not been done; ``progress`` is behind it.

        Raises:
            TrainerError: the loss is not a number.
        """
        if self._pending is None:
            return
        (pending, wait_s, step_s), self._pending = self._pending, None
        figures = pending.read()
        if not math.isfinite(value := figures["loss"]):
            raise TrainerError(
                f"the loss is {value} {self._describe_progress(self.progress.step - 1)}; lower the learning rate, or "
                "train with --mixed-precision no"
            )
        self._report(figures, wait_s, step_s)

    def _report(self, figures: dict[str, float], wait_s: float, step_s: float) -> None:
        self.progress.summed_loss += figures["loss"]
        self.progress_bar.show_step(self.progress, figures)
        if self._global_step % self.config.log_every_steps == 0:
            pace = {"data_wait_s": wait_s, "step_s": step_s, "queries_per_s": figures["num_queries"] / step_s}
            memory = {"peak_memory_gb": get_peak_memory_bytes(self.accelerator.device) / 1e9}
            self.accelerator.log({**figures, **pace, **memory}, step=self._global_step)

    def _end_epoch(self) -> None:
        """Validate, record the epoch, and save it as ``last`` and, if it has the best score, as ``best``."""
        progress, config = self.progress, self.config
        record: dict[str, Any] = {"epoch": progress.epoch, "loss": progress.summed_loss / progress.step}
        last = progress.epoch + 1 == self.num_epochs
        is_best, calibration = self.validation is None, UNCALIBRATED
        predictions: Sequence[PredictionRecord] = ()
        if self.validation and (last or (progress.epoch + 1) % config.validate_every_epochs == 0):
            network = cast(GroundingNetwork, self.average.module) if self.average else self.network
            predictor = Predictor(network=network, processor=self.processor)
            with torch.compiler.set_stance("force_eager"):  # its batches are of many sizes
                evaluation = evaluate_all(predictor, self.validation, self.accelerator)
            predictions = evaluation.records
            absent = [one.presence for one in evaluation.sets if not one.targets_xyxy]
            calibration = fit_calibration(predictions, absent)
            record["validation"] = metrics = compute_scores(predictions)
            if evaluation.sets:
                record["generalized"] = compute_generalized_scores(evaluation.sets)
            score = metrics["accuracy"]["0.50"]
            self.accelerator.log({"accuracy": score, "mean_iou": metrics["mean_iou"]}, step=self._global_step)
            log_predictions(self.accelerator, self.validation.samples, predictions, self._global_step)
            is_best = progress.best_score is None or score > progress.best_score
            progress.best_score = score if is_best else progress.best_score
        progress.history.append(record)
        progress.epoch, progress.step, progress.summed_loss = progress.epoch + 1, 0, 0.0
        self.progress_bar.show_epoch(record)
        self._save(calibration, predictions, is_best=is_best)

    def _save(self, calibration: Calibration, predictions: Sequence[PredictionRecord] = (), *, is_best: bool) -> None:
        if self.accelerator.is_main_process:
            checkpoint = Checkpoint(
                network=self.network,
                processor=self.processor,
                calibration=calibration,
                optimizer=getattr(self.optimizer, "optimizer", self.optimizer),  # without accelerate's wrapper
                progress=self.progress,
                average=self.average,
                scaler=None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
                num_queries=sum(self.stream.samples.num_queries),
                card=format_training_card(
                    replace(self.config, mixed_precision=self.accelerator.mixed_precision),
                    [(len(run), sum(run)) for run in self.stream.samples.runs],
                    sum(parameter.numel() for parameter in self.network.parameters()),
                    min(self._global_step, self.total_steps),
                    predictions,
                ),
            )
            checkpoint.save(self.config.output, is_best=is_best)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> dict[str, Any]:
        """Load ``output/last`` and return its state beside the weights; empty in a new folder.

        Raises:
            TrainerError: the folder holds another run, or ``resume`` is never.
        """
        output = self.config.output
        is_resumed = (output / "last").exists()
        claim_run_folder(self.config, write=self.accelerator.is_main_process)
        if not is_resumed:
            return {}
        state = read_state(output)
        num_queries = sum(self.stream.samples.num_queries)
        if state["num_queries"] != num_queries:
            raise TrainerError(
                f"{output} holds a run on other data (queries: {state['num_queries']} then, {num_queries} now); "
                "give another output, or the data of that run"
            )
        weights = state.get("weights") or read_safetensors(output / "last" / "model.safetensors")
        load_strictly(self.network, weights, str(output / "last"))
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = TrainingState(**state["progress"])
        return state

    def _write_metrics(self) -> dict[str, Any]:
        metrics = {
            "finished": self.progress.epoch >= self.num_epochs,
            "best_accuracy": self.progress.best_score,
            "history": self.progress.history,
        }
        if self.accelerator.is_main_process:
            write_atomic(self.config.output / "metrics.json", json.dumps(metrics, indent=1))
        return metrics


def _describe_targets(samples: Samples, config: TrainConfig) -> Iterator[str]:
    """Yield a sentence on each kind of training queries that the network learns nothing, or not all, from."""
    if samples.num_left_out:
        yield f"left out: {samples.num_left_out:,} training queries without a target"
    if not config.network.presence:
        return
    if not samples.num_without_target:
        yield "no training query is without a target, so presence learns to be 1; add such queries"
    num_tokens = config.network.num_target_tokens
    if count := samples.count_queries_with_more(num_tokens):
        learned = "the box around them" if num_tokens == 1 else f"{num_tokens} of them"
        yield (
            f"{count:,} training queries have more targets than the network has target tokens ({num_tokens}); it "
            f"learns {learned}. Raise --network.num-target-tokens to learn all"
        )
