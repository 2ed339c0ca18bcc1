"""Training, evaluation and loading of the grounding network beside a plain one of the same weights."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from upath import UPath

from benchmarks.gpu.record import Record, Stopwatch, find_host_waits, measure_seconds, profile_kernels, watch_gpu
from benchmarks.trainer import KINDS, TrainingSteps, measure_evaluation, new_network
from benchmarks.trainer_data import PRIOR_DIM, write_shards
from trainer.config import TrainConfig, make_miniature_recipe, make_published_recipe
from trainer.model.network import GroundingNetwork
from trainer.training.loop import Trainer
from workflows.presets import random_weights

Precision = Callable[[], contextlib.AbstractContextManager[Any]]
"""Function that returns the context of a forward pass."""

PRECISIONS = ("float32", "float32, TF32 products", "bf16")


@contextlib.contextmanager
def use_precision(name: str, device: torch.device) -> Iterator[Precision]:
    """Yield a function that returns the context of a forward pass in this precision."""
    previous = torch.get_float32_matmul_precision()
    if "TF32" in name:
        torch.set_float32_matmul_precision("high")
    try:
        yield lambda: torch.autocast(device.type, torch.bfloat16) if "bf16" in name else contextlib.nullcontext()
    finally:
        torch.set_float32_matmul_precision(previous)


class Steps(TrainingSteps):
    """Training steps with the milliseconds and the memory of their parts."""

    def __init__(self, record: Record) -> None:
        network = new_network("miniature" if record.smoke else "published").to(record.device).use_channels_last()
        super().__init__(network, 8 if record.smoke else 64, record.device)

    def measure_parts(self, kind: str, half: Precision) -> dict[str, float]:
        """Measure milliseconds of a step of ours: of each part's forward pass, loss, backward pass, optimizer."""
        stopwatch, handles, pending = Stopwatch(), [], []
        for part in ("backbone", "encoder", "text", "verification", "decoder"):

            def enter(*_: Any, part: str = part) -> None:
                pending.append(stopwatch.time(f"forward of {part}"))
                pending[-1].__enter__()

            def leave(*_: Any) -> None:
                pending.pop().__exit__(None, None, None)

            module = getattr(self.network, part)
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        for _ in range(5):
            self.run(kind, half, stopwatch.time)
        for handle in handles:
            handle.remove()
        return {name: round(median(values), 2) for name, values in stopwatch.pop_ms().items()}

    def measure_memory(self, half: Precision, kinds: Sequence[str]) -> dict[str, float]:
        """Measure the peak memory of a step over that before it, in MB per query; empty without a GPU."""
        figures = {}
        for kind in kinds if self.device.type == "cuda" else ():
            self.run(kind, half)
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self.run(kind, half)
            figures[kind] = round(
                (torch.cuda.max_memory_allocated() - before) / len(self.queries[kind].targets) / 1e6, 1
            )
        return figures

    def add_figures(self, record: Record, name: str, half: Precision, kinds: Sequence[str] = KINDS) -> None:
        """Measure everything in one precision."""
        record.add("training", name, self.measure_rates(half, record.rounds, kinds))
        record.add("training", f"{name}: peak MB per query", self.measure_memory(half, kinds))
        for kind in kinds[1:]:
            record.add("training", f"{name}: ms of a step, {kind}", self.measure_parts(kind, half))


def measure_training_speed(record: Record) -> None:
    """Measure steps of both networks in each precision."""
    steps = Steps(record)
    for precision in PRECISIONS:
        with use_precision(precision, record.device) as half:
            steps.add_figures(record, precision, half)


def measure_compiled_training_speed(record: Record) -> None:
    """Measure steps of ours, compiled, beside the plain network, in bf16; one kind after the other."""
    steps = Steps(record)
    with use_precision("bf16", record.device) as half:
        steps.network.compile_parts()
        for kind in KINDS[1:]:
            step = partial(steps.run, kind, half)
            record.add("training", f"first compiled step_s, {kind}", round(measure_seconds(step), 1))
            if record.rounds:
                steps.add_figures(record, f"bf16 compiled, {kind}", half, (KINDS[0], kind))
            if record.rounds and not record.smoke:
                record.add("training", f"profile, bf16 compiled, {kind}", profile_kernels(step, 30))


def profile_training(record: Record) -> None:
    """Profile a step of each kind in bf16, not compiled: running kernels, gaps, and the longest kernels."""
    if record.smoke:
        return
    steps = Steps(record)
    with use_precision("bf16", record.device) as half:
        for kind in KINDS:
            step = partial(steps.run, kind, half)
            record.add("training", f"waits of the host in a step, {kind}", find_host_waits(step))
            record.add("training", f"profile, bf16, {kind}", profile_kernels(step, 30))


def measure_evaluation_speed(record: Record) -> None:
    """Measure both networks with the same images in a call, at the queries per image of RefCOCO's validation split."""
    for bf16 in (False, True):
        options = argparse.Namespace(
            num_images=4 if record.smoke else 64, rounds=min(record.rounds, 4), bf16=bf16, compile=False
        )
        network: GroundingNetwork = new_network("miniature" if record.smoke else "published")
        network = network.to(record.device).use_channels_last()
        record.add("evaluation", "bf16" if bf16 else "float32", measure_evaluation(network, options, record.device))


class WatchedTrainer(Trainer):
    """Trainer that keeps the wait for data and the duration of each step."""

    waits: list[tuple[float, float, float]]

    def _report(self, figures: dict[str, float], wait_s: float, step_s: float) -> None:
        self.waits.append((wait_s, step_s, figures["num_queries"]))
        super()._report(figures, wait_s, step_s)


def measure_loading(record: Record) -> None:
    """Measure the whole training loop: wait for data by number of loading processes, queries per second."""
    run = record.folder / "samples"
    write_shards(run, 64 if record.smoke else 1024, 4)
    bert = random_weights.save_bert_config(record.folder / "bert")
    recipe = make_miniature_recipe if record.smoke else make_published_recipe
    num_steps = 6 if record.smoke else 40
    for num_workers in (0, 2) if record.smoke else (4, 8, 14):
        base = recipe(output=record.folder / f"training-{num_workers}", train=(UPath(run),))
        config: TrainConfig = replace(
            base,
            network=replace(base.network, prior_dim=PRIOR_DIM),
            text_encoder=str(bert) if not record.smoke else base.text_encoder,
            text_from_scratch=True,
            optimization=replace(base.optimization, freeze_epochs=0),
            batch_images=8 if record.smoke else 16,
            max_queries=4,
            validate_split=None,
            mixed_precision="no" if record.smoke else "bf16",
            tracker="none",
            num_workers=num_workers,
            steps=num_steps,
            save_every_steps=10_000,
        )
        if record.smoke:
            config = replace(config, text_encoder=str(random_weights.WEIGHTS / "bert"))
        trainer = WatchedTrainer(config)
        trainer.waits = []
        started = perf_counter()
        with watch_gpu() as gpu:
            trainer.run()
        counted = trainer.waits[len(trainer.waits) // 4 :]
        total_s = sum(step_s for _, step_s, _ in counted)
        figures = {
            "wait for data, share": round(sum(wait_s for wait_s, _, _ in counted) / total_s, 3),
            "queries_per_s": round(sum(queries for _, _, queries in counted) / total_s, 1),
            "whole_s": round(perf_counter() - started, 1),
        }
        record.add("loader", f"{num_workers} processes", {**figures, **gpu})
