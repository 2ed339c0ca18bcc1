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
import torch.nn.functional as F
from torch._dynamo.utils import counters
from upath import UPath

from benchmarks.gpu.record import Record, Stopwatch, find_host_waits, measure_seconds, profile_kernels, watch_gpu
from benchmarks.trainer import (
    KINDS,
    TrainingSteps,
    compute_rates,
    measure_evaluation,
    measure_in_turn,
    new_network,
    predict_ours,
)
from benchmarks.trainer_data import PRIOR_DIM, write_shards
from trainer.config import TrainConfig, make_miniature_recipe, make_published_recipe
from trainer.model.attention import build_attention_mask
from trainer.model.network import GroundingNetwork
from trainer.training.loop import Trainer
from trainer.training.losses import compute_box_losses
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

    def run(self, kind: str, half: Precision, watch: Callable[[str], Any] = contextlib.nullcontext) -> None:
        torch.compiler.cudagraph_mark_step_begin()  # the outputs of the last step may be overwritten
        super().run(kind, half, watch)

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


def measure_training_details(record: Record) -> None:
    """Measure what two savings of a step in bf16 bring: casts that its parts share, and masks that are built once."""
    if not record.rounds:
        return
    steps = Steps(record)
    queries, network, device = steps.queries[KINDS[1]], steps.network, record.device
    size = max(1, len(queries.images) // 4)
    parts = [queries.select_images(range(i, i + size)) for i in range(0, len(queries.images), size)]

    def run_parts(context: contextlib.AbstractContextManager[Any]) -> None:
        with context:
            for part in parts:
                with torch.autocast(device.type, torch.bfloat16):
                    boxes = predict_ours(network, part)
                compute_box_losses(boxes, part.targets).per_query.sum().backward()
        network.zero_grad(set_to_none=True)

    def add_ratio(name: str, ways: dict[str, Callable[[], None]], num_queries: int) -> None:
        seconds = measure_in_turn(ways, record.rounds, device)
        record.add("training", name, compute_rates(seconds, dict.fromkeys(ways, num_queries), next(iter(ways))))

    ways: dict[str, Callable[[], None]] = {
        "casts in each part": lambda: run_parts(contextlib.nullcontext()),
        "shared casts": lambda: run_parts(torch.autocast(device.type, enabled=False)),
    }
    add_ratio(f"bf16, a step in {len(parts)} parts", ways, len(queries.targets))

    config, images = network.config, len(queries.images)
    shape = (images, config.num_heads, config.grid**2, config.width // config.num_heads)
    features = torch.randn(shape, device=device, dtype=torch.bfloat16)
    padding = torch.arange(config.grid**2, device=device) >= torch.full((images, 1), 300, device=device)

    @torch.no_grad()
    def attend(is_built_once: bool) -> None:
        mask = build_attention_mask(padding, features.dtype)
        for _ in range(18):  # layers of the visual encoder and of BERT
            used = mask if is_built_once else ~padding[:, None, None, :]
            F.scaled_dot_product_attention(features, features, features, attn_mask=used)

    ways = {"mask of bools": partial(attend, False), "mask built once": partial(attend, True)}
    add_ratio("bf16, 18 calls of attention", ways, images)


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
            if kind == KINDS[1]:
                _measure_varied_sizes(record, steps, half)


def _measure_varied_sizes(record: Record, steps: Steps, half: Precision) -> None:
    """Measure four steps of k = 4 and fewer queries, padded to the size that is compiled already, and not padded."""
    whole = steps.queries[KINDS[1]]
    names = [f"varied {number}" for number in range(4)]
    for number, name in enumerate(names):
        left = len(whole.targets) - number * len(whole.targets) // 16
        tensors = {field: getattr(whole, field)[:left] for field in ("query_image", "prior", "targets")}
        ids, mask = whole.trimmed_tokens
        steps.queries[name] = replace(whole, token_ids=ids[:left], token_mask=mask[:left], **tensors)
    num_queries = sum(len(steps.queries[name].targets) for name in names)
    figures: dict[str, Any] = {}
    for way, kinds in {"padded": 4 * [KINDS[1]], "not padded": names}.items():

        def run_steps(kinds: Sequence[str] = kinds) -> None:
            for kind in kinds:
                steps.run(kind, half)

        before = counters["stats"]["unique_graphs"]
        figures[way] = {"first_s": round(measure_seconds(run_steps), 1)}
        figures[way]["compiled graphs"] = counters["stats"]["unique_graphs"] - before
        if record.rounds:
            seconds = measure_in_turn({way: run_steps}, record.rounds, record.device)
            figures[way]["queries_per_s"] = round(num_queries / median(seconds[way]), 1)
    record.add("training", "bf16 compiled, steps of varied sizes", figures)


def measure_cuda_graph_speed(record: Record) -> None:
    """Measure compiled steps of k = 4 that replay CUDA graphs, which the trainer does not offer, in bf16."""
    steps = Steps(record)
    with use_precision("bf16", record.device) as half:
        steps.network.compile_parts(mode="reduce-overhead", dynamic=False)
        step = partial(steps.run, KINDS[1], half)
        record.add("training", "first step_s, CUDA graphs", round(measure_seconds(step), 1))
        if record.rounds:
            step()  # records the graphs
            rates = steps.measure_rates(half, record.rounds, KINDS[:2])
            record.add("training", "bf16 compiled, CUDA graphs, ours, k = 4", rates)
        if record.rounds and not record.smoke:
            record.add("training", "profile, bf16 compiled, CUDA graphs, ours, k = 4", profile_kernels(step, 30))


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
