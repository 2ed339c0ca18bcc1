"""Training, evaluation and loading of the grounding network beside a plain one of the same weights."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.gpu.record import Record, Stopwatch, measure_seconds, profile_kernels, watch_gpu
from benchmarks.plain_network import make_plain_network
from benchmarks.trainer import (
    QueryBatch,
    compute_rates,
    make_query_batch,
    measure_evaluation,
    measure_in_turn,
    new_network,
    predict_ours,
    predict_plain,
    stack_batches,
)
from benchmarks.trainer_data import PRIOR_DIM, write_shards
from trainer.config import TrainConfig, make_miniature_recipe, make_published_recipe
from trainer.model.network import GroundingNetwork
from trainer.training.loop import Trainer
from trainer.training.losses import compute_box_losses
from trainer.training.optimizer import OptimizationConfig, build_optimizer
from workflows.presets import random_weights

PRECISIONS = ("float32", "float32, TF32 products", "bf16")


@contextlib.contextmanager
def use_precision(name: str, device: torch.device) -> Iterator[Callable[[], Any]]:
    """Yield a function that returns the context of a forward pass in this precision."""
    previous = torch.get_float32_matmul_precision()
    if "TF32" in name:
        torch.set_float32_matmul_precision("high")
    try:
        yield lambda: torch.autocast(device.type, torch.bfloat16) if "bf16" in name else contextlib.nullcontext()
    finally:
        torch.set_float32_matmul_precision(previous)


class Steps:
    """Training steps of both networks with the same number of queries."""

    def __init__(self, record: Record) -> None:
        self.device = record.device
        num_queries = 8 if record.smoke else 64
        self.network = new_network("miniature" if record.smoke else "published").to(record.device).use_channels_last()
        self.plain = make_plain_network(self.network).to(record.device).train()
        self.network.train()
        batch = make_query_batch(self.network.config, 2 * num_queries, record.device)
        counts = torch.bincount(batch.query_image).tolist()
        enough = [i for i, count in enumerate(counts) if count >= 4][: num_queries // 4]
        self.singles = batch.select_images(range(num_queries), 1)
        self.fours = stack_batches([batch.select_images(range(i, i + 1), 4) for i in enough])
        self.optimizers = {
            "plain": torch.optim.AdamW([p for p in self.plain.parameters() if p.requires_grad], lr=1e-6),
            "ours": build_optimizer(self.network, OptimizationConfig(learning_rate=1e-6)),
        }

    def make_ways(self, half: Callable[[], Any]) -> dict[str, Callable[[], None]]:
        """Return a function for a step of each kind."""
        return {
            "plain": lambda: self._run_step("plain", self._predict_plain, self.singles, half),
            "ours, k = 4": lambda: self._run_step("ours", self._predict_ours, self.fours, half),
            "ours, k = 1": lambda: self._run_step("ours", self._predict_ours, self.singles, half),
        }

    def _predict_plain(self, queries: QueryBatch) -> torch.Tensor:
        return predict_plain(self.plain, queries)

    def _predict_ours(self, queries: QueryBatch) -> torch.Tensor:
        return predict_ours(self.network, queries)

    def _run_step(
        self,
        name: str,
        predict: Callable[[QueryBatch], torch.Tensor],
        queries: QueryBatch,
        half: Callable[[], Any],
        stopwatch: Stopwatch | None = None,
    ) -> None:
        watch = stopwatch.time if stopwatch else lambda _: contextlib.nullcontext()
        with watch("forward"), half():
            boxes = predict(queries)
        with watch("loss"):
            loss = compute_box_losses(boxes, queries.targets).per_query.mean()
        with watch("backward"):
            loss.backward()
        with watch("optimizer"):
            self.optimizers[name].step()
            self.optimizers[name].zero_grad(set_to_none=True)

    def measure_parts(self, half: Callable[[], Any], queries: QueryBatch) -> dict[str, float]:
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
            self._run_step("ours", self._predict_ours, queries, half, stopwatch)
        for handle in handles:
            handle.remove()
        return {name: round(median(values), 2) for name, values in stopwatch.pop_ms().items()}

    def measure_memory(self, half: Callable[[], Any]) -> dict[str, float]:
        """Measure the peak memory of a step over that before it, in MB per query."""
        if self.device.type != "cuda":
            return {}
        figures = {}
        for name, way in self.make_ways(half).items():
            way()
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            way()
            figures[name] = round((torch.cuda.max_memory_allocated() - before) / len(self.singles.targets) / 1e6, 1)
        return figures


def measure_training_speed(record: Record) -> None:
    """Measure steps of both networks in each precision, in turn."""
    steps = Steps(record)
    num_queries = dict.fromkeys(("plain", "ours, k = 4", "ours, k = 1"), len(steps.singles.targets))
    for precision in PRECISIONS:
        with use_precision(precision, record.device) as half:
            seconds = measure_in_turn(steps.make_ways(half), record.rounds, record.device)
            record.add("training", precision, compute_rates(seconds, num_queries, "plain"))
            record.add("training", f"{precision}: peak MB per query", steps.measure_memory(half))
            for name, queries in (("k = 4", steps.fours), ("k = 1", steps.singles)):
                record.add("training", f"{precision}: ms of a step, {name}", steps.measure_parts(half, queries))


def measure_compiled_training_speed(record: Record) -> None:
    """Measure steps of ours, compiled, beside the plain network, in bf16."""
    steps = Steps(record)
    num_queries = dict.fromkeys(("plain", "ours, k = 4", "ours, k = 1"), len(steps.singles.targets))
    with use_precision("bf16", record.device) as half:
        steps.network.compile_parts()
        ways = steps.make_ways(half)
        for name in ("ours, k = 4", "ours, k = 1"):
            record.add("training", f"first compiled step_s, {name}", round(measure_seconds(ways[name]), 1))
        if not record.rounds:
            return
        seconds = measure_in_turn(ways, record.rounds, record.device)
        record.add("training", "bf16 compiled", compute_rates(seconds, num_queries, "plain"))
        record.add("training", "bf16 compiled: peak MB per query", steps.measure_memory(half))
        for name, queries in (("k = 4", steps.fours), ("k = 1", steps.singles)):
            record.add("training", f"bf16 compiled: ms of a step, {name}", steps.measure_parts(half, queries))
        if not record.smoke:
            record.add("training", "profile, bf16 compiled, k = 4", profile_kernels(ways["ours, k = 4"], 20))


def profile_training(record: Record) -> None:
    """Profile a step of each kind in bf16, not compiled: running kernels, gaps, and the longest kernels."""
    if record.smoke:
        return
    steps = Steps(record)
    with use_precision("bf16", record.device) as half:
        for name, way in steps.make_ways(half).items():
            record.add("training", f"profile, bf16, {name}", profile_kernels(way))


def measure_evaluation_speed(record: Record) -> None:
    """Measure both networks with the same images in a call, at the queries per image of RefCOCO's validation split."""
    for bf16 in (False, True):
        options = argparse.Namespace(
            num_images=4 if record.smoke else 64, rounds=min(record.rounds, 4), bf16=bf16, compile=False, images=None
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
        base = recipe(output=record.folder / f"training-{num_workers}", train=(run,))  # type: ignore[arg-type]
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
