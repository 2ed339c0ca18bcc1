"""Measure training and evaluation of the network against a plain implementation, alternating in one process.

    make benchmark NAME=trainer                                                   # full size on a CPU: half an hour
    make benchmark NAME=trainer ARGS="--size miniature --rounds 2"                # a smoke test of a minute
    make benchmark NAME=trainer ARGS="--bf16 --compile --num-images 64 --batch 64 --rounds 20"         # on a GPU

The plain version (``benchmarks.plain_network``) has the same weights, random ones of the published architecture. It has
one image per query, 40 tokens, and attention that returns its weights. Both run in the same precision. Evaluation has
images with as many queries as in RefCOCO's validation split, and both predictions are compared. Training takes AdamW
steps over the same number of queries, ours with k = 4 and k = 1 queries per image. Loaders read the same JPEGs on one
core. Prints tables and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from benchmarks.plain_network import PlainNetwork, make_plain_network
from benchmarks.trainer_data import (
    NUM_QUERIES,
    NUM_WORDS,
    PRIOR_DIM,
    make_plain_dataset,
    sample_histogram,
    write_shards,
)
from shards.reader import SampleReader
from trainer.boxes import cxcywh_to_xyxy, iou
from trainer.data.batch import BatchBuilder
from trainer.data.config import AugmentationConfig, ProcessorConfig
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.stream import TrainStream
from trainer.model.config import NetworkConfig, make_miniature_config, make_published_config
from trainer.model.inputs import NetworkInputs, QueryInputs
from trainer.model.network import GroundingNetwork
from trainer.training.losses import compute_box_losses
from trainer.training.optimizer import OptimizationConfig, build_optimizer
from workflows.cli.console import configure_library_logging
from workflows.miniature import WEIGHTS

console = Console()

TRAINING = {"queries": 120_624, "images": 16_994, "epochs": 90}
"""Size of RefCOCO's training split and published number of epochs."""

MAX_TOKENS = 40


@dataclass(frozen=True, kw_only=True)
class QueryBatch:
    """Images and queries as tensors of the network's size."""

    images: Tensor
    padding: Tensor
    token_ids: Tensor
    token_mask: Tensor
    query_image: Tensor
    prior: Tensor
    targets: Tensor

    @cached_property
    def trimmed_tokens(self) -> tuple[Tensor, Tensor]:
        """Tokens trimmed to the longest query, once: a GPU would have to finish its work before its length is read."""
        longest = int(self.token_mask.sum(1).max())
        return self.token_ids[:, :longest].contiguous(), self.token_mask[:, :longest].contiguous()

    def select_images(self, image_range: range, max_queries: int | None = None) -> QueryBatch:
        """Select some images with their queries, or with the first ones of each."""
        rows: list[int] = []
        for number in image_range:
            rows += (self.query_image == number).nonzero()[:max_queries, 0].tolist()
        index = torch.tensor(rows, device=self.images.device)
        return QueryBatch(
            images=self.images[image_range.start : image_range.stop],
            padding=self.padding[image_range.start : image_range.stop],
            token_ids=self.token_ids[index],
            token_mask=self.token_mask[index],
            query_image=self.query_image[index] - image_range.start,
            prior=self.prior[index],
            targets=self.targets[index],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["published", "miniature"], default="published")
    parser.add_argument("--num-images", type=int, default=8, help="of the evaluation; about 7 queries each")
    parser.add_argument("--batch", type=int, default=8, help="queries of a training step")
    parser.add_argument("--rounds", type=int, default=3, help="of each comparison, in turn")
    parser.add_argument("--threads", type=int, help="of torch; all cores if not given")
    parser.add_argument("--bf16", action="store_true", help="both in bf16 (autocast)")
    parser.add_argument("--compile", action="store_true", help="compile ours")
    parser.add_argument("--num-loader-images", type=int, default=48)
    parser.add_argument("--note", help="about the machine: what else ran on it")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/trainer.json"))
    options = parser.parse_args()
    configure_library_logging()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = new_network(options.size).to(device).use_channels_last()
    figures: dict[str, Any] = {
        "machine": describe_machine(device) + (f"; {options.note}" if options.note else ""),
        "network": options.size,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "precision": describe_precision(options),
        "evaluation": measure_evaluation(network, options, device),
        "training": measure_training(network, options, device),
        "memory": measure_memory(network, options, device),
        "loader": measure_loader(network.config, options),
    }
    figures["work"] = estimate_work(network, figures, options, device)
    figures["growth"] = measure_growth(network, options, device)
    for name in ("evaluation", "training", "memory", "loader", "work"):
        show(name, figures[name])
    show_growth(figures["growth"])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(options.output.read_text()) if options.output.exists() else {}
    title = f"{options.size}, {device.type}, {figures['precision']}"
    options.output.write_text(json.dumps({**kept, title: figures}, indent=1) + "\n")


def describe_machine(device: torch.device) -> str:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{where}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, torch {torch.__version__}"


def new_network(size: str) -> GroundingNetwork:
    """Return the architecture with random weights; its text encoder is a BERT-base, or the miniature's."""
    torch.manual_seed(0)
    if size == "published":
        return GroundingNetwork(replace(make_published_config(), text=BertConfig().to_dict()))
    text = json.loads((WEIGHTS / "bert" / "config.json").read_text())
    return GroundingNetwork(replace(make_miniature_config(), text=text, prior_dim=PRIOR_DIM))


def make_query_batch(config: NetworkConfig, num_images: int, device: torch.device) -> QueryBatch:
    """Make images of 4:3 with as many queries as in RefCOCO's validation split."""
    random, size = Random(0), config.image_size_px
    generator = torch.Generator().manual_seed(0)
    counts = [sample_histogram(NUM_QUERIES, random) for _ in range(num_images)]
    lengths = torch.tensor([2 + sample_histogram(NUM_WORDS, random) for _ in range(sum(counts))])
    padding = torch.ones(num_images, size, size, dtype=torch.bool)
    padding[:, size // 8 : size - size // 8] = False
    images = torch.randn(num_images, 3, size, size, generator=generator).masked_fill(padding[:, None], 0)
    vocab_size = int(config.text["vocab_size"])
    token_mask = torch.arange(MAX_TOKENS) < lengths[:, None]
    token_ids = torch.randint(5, vocab_size, (sum(counts), MAX_TOKENS), generator=generator) * token_mask
    centers = torch.rand(sum(counts), 2, generator=generator) * 0.4 + 0.3
    tensors = {
        "images": images,
        "padding": padding,
        "token_ids": token_ids,
        "token_mask": token_mask,
        "query_image": torch.arange(num_images).repeat_interleave(torch.tensor(counts)),
        "prior": torch.randn(sum(counts), config.prior_dim, generator=generator),
        "targets": torch.cat([centers, torch.rand(sum(counts), 2, generator=generator) * 0.3 + 0.2], dim=1),
    }
    return QueryBatch(**{name: tensor.to(device) for name, tensor in tensors.items()})


def use_half_precision(options: argparse.Namespace, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if options.bf16 else contextlib.nullcontext()


def describe_precision(options: argparse.Namespace) -> str:
    return ("bf16" if options.bf16 else "float32") + (", ours compiled" if options.compile else "")


def predict_ours(network: GroundingNetwork, queries: QueryBatch) -> Tensor:
    token_ids, token_mask = queries.trimmed_tokens
    query_inputs = QueryInputs(token_ids, token_mask, queries.query_image, queries.prior)
    return network(NetworkInputs(queries.images, queries.padding, query_inputs)).boxes


def predict_plain(plain: PlainNetwork, queries: QueryBatch) -> Tensor:
    copies = queries.images[queries.query_image], queries.padding[queries.query_image]
    result: Tensor = plain(*copies, queries.token_ids, queries.token_mask, queries.prior)
    return result


def measure_seconds(work: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure_in_turn(ways: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Measure seconds of each way in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            took = measure_seconds(way, device)
            console.print(f"round {number}, {name}: {took:.2f} s" + (" (does not count)" if number == 0 else ""))
            if number:
                seconds[name].append(took)
    return seconds


def compute_rates(seconds: Mapping[str, list[float]], num_queries: Mapping[str, int], baseline: str) -> dict[str, Any]:
    """Compute queries per second of the median round, and the ratio to the baseline in the same round."""
    figures: dict[str, Any] = {}
    for name, took in seconds.items():
        share = num_queries[name] / num_queries[baseline]
        times = [share * b / a for a, b in zip(took, seconds[baseline], strict=True)]
        figures[name] = {
            "queries_per_s": num_queries[name] / statistics.median(took),
            "times_plain": statistics.median(times),
            "times_plain_by_round": [round(one, 2) for one in times],
        }
    return figures


def measure_evaluation(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure both on the same queries.

    Ours has batches of 4 images (32 on a GPU). The plain one has the queries of one image (of 4 on a GPU), with a copy
    of the image for each.
    """
    network.eval()
    plain = make_plain_network(network).to(device).eval()
    all_queries = make_query_batch(network.config, options.num_images, device)
    if options.compile:
        network.compile_parts()
    answers: dict[str, Tensor] = {}
    step, plain_step = (4, 1) if device.type == "cpu" else (32, 4)

    def split_batches(num_images: int) -> list[QueryBatch]:
        starts = range(0, options.num_images, num_images)
        return [all_queries.select_images(range(i, min(i + num_images, options.num_images))) for i in starts]

    @torch.no_grad()
    def ours() -> None:
        with use_half_precision(options, device):
            answers["ours"] = torch.cat([predict_ours(network, part)[-1] for part in split_batches(step)])

    @torch.no_grad()
    def plainly() -> None:
        with use_half_precision(options, device):
            answers["plain"] = torch.cat([predict_plain(plain, part)[-1] for part in split_batches(plain_step)])

    seconds = measure_in_turn({"plain": plainly, "ours": ours}, options.rounds, device)
    return {
        "images": options.num_images,
        "queries": len(all_queries.targets),
        **compute_rates(seconds, dict.fromkeys(seconds, len(all_queries.targets)), "plain"),
        "largest difference of a box coordinate": float((answers["ours"] - answers["plain"]).abs().max()),
        "min IoU of both predictions": float(
            iou(cxcywh_to_xyxy(answers["ours"].double()), cxcywh_to_xyxy(answers["plain"].double())).min()
        ),
        "Acc@0.5 of each": {name: compute_accuracy(boxes, all_queries.targets) for name, boxes in answers.items()},
    }


def compute_accuracy(boxes: Tensor, targets: Tensor) -> float:
    return float((iou(cxcywh_to_xyxy(boxes.double()), cxcywh_to_xyxy(targets.double())) > 0.5).double().mean())


KINDS = ("plain", "ours, k = 4", "ours, k = 1")
"""Kinds of training steps."""


class TrainingSteps:
    """Training steps of both networks with equally many queries: ours with four queries an image, and with one.

    The plain network has AdamW as PyTorch offers it, ours that of the trainer.
    """

    def __init__(self, network: GroundingNetwork, num_queries: int, device: torch.device) -> None:
        self.network, self.device = network.train(), device
        self.plain = make_plain_network(network).to(device).train()
        batch = make_query_batch(network.config, 2 * num_queries, device)
        counts = torch.bincount(batch.query_image).tolist()
        enough = [i for i, count in enumerate(counts) if count >= 4][: num_queries // 4]
        singles = batch.select_images(range(num_queries), 1)
        fours = stack_batches([batch.select_images(range(i, i + 1), 4) for i in enough])
        self.queries = dict(zip(KINDS, (singles, fours, singles), strict=True))
        self._plain_optimizer = torch.optim.AdamW([p for p in self.plain.parameters() if p.requires_grad], lr=1e-6)
        self._optimizer = build_optimizer(network, OptimizationConfig(learning_rate=1e-6))

    def run(
        self,
        kind: str,
        half: Callable[[], AbstractContextManager[Any]],
        watch: Callable[[str], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        """Run a step.

        Args:
            kind: key of ``queries``.
            half: returns the precision of the forward pass.
            watch: returns the context of each part of the step, by its name.
        """
        queries, is_plain = self.queries[kind], kind == "plain"
        with watch("forward"), half():
            boxes = predict_plain(self.plain, queries) if is_plain else predict_ours(self.network, queries)
        with watch("loss"):
            loss = compute_box_losses(boxes, queries.targets).per_query.mean()
        with watch("backward"):
            loss.backward()
        optimizer = self._plain_optimizer if is_plain else self._optimizer
        with watch("optimizer"):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def measure_rates(
        self, half: Callable[[], AbstractContextManager[Any]], rounds: int, kinds: Sequence[str] = KINDS
    ) -> dict[str, Any]:
        """Measure steps of each kind, in turn; on a GPU four at a time, so that they overlap as in training."""
        num_steps = 4 if self.device.type == "cuda" else 1

        def run_steps(kind: str) -> None:
            for _ in range(num_steps):
                self.run(kind, half)

        ways = {kind: partial(run_steps, kind) for kind in kinds}
        num_queries = {kind: num_steps * len(self.queries[kind].targets) for kind in kinds}
        return compute_rates(measure_in_turn(ways, rounds, self.device), num_queries, "plain")


def measure_training(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure steps of ``options.batch`` queries."""
    steps = TrainingSteps(network, options.batch, device)
    rates = steps.measure_rates(partial(use_half_precision, options, device), options.rounds)
    return {"queries of a step": options.batch, **rates}


def stack_batches(parts: list[QueryBatch]) -> QueryBatch:
    """Stack several batches to one."""
    first, images = [], 0
    for part in parts:
        first.append(part.query_image + images)
        images += len(part.images)
    names = ("images", "padding", "token_ids", "token_mask", "prior", "targets")
    return QueryBatch(
        query_image=torch.cat(first), **{name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    )


def measure_memory(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure the bytes per query that a training step keeps for its gradients.

    Counted are tensors of which autograd saves more for two images than for one. Tensors that are saved once, such as
    weights cast to bf16, do not count.
    """
    network.train()
    plain = make_plain_network(network).to(device).train()
    few = make_query_batch(network.config, 8, device)
    single = few.select_images(range(1), 1)
    four = next(part for i in range(8) if len((part := few.select_images(range(i, i + 1), 4)).targets) == 4)

    def kept(answer: Callable[[QueryBatch], Tensor], queries: QueryBatch) -> float:
        return (
            (measure_saved(answer, stack_batches([queries, queries])) - measure_saved(answer, queries))
            / len(queries.targets)
            / 1e6
        )

    def measure_saved(answer: Callable[[QueryBatch], Tensor], queries: QueryBatch) -> int:
        parameters = {p.untyped_storage().data_ptr() for p in (*network.parameters(), *plain.parameters())}
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in parameters:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), use_half_precision(options, device):
            answer(queries).sum().backward()
        network.zero_grad(set_to_none=True)
        plain.zero_grad(set_to_none=True)
        return sum(sizes.values())

    def ours(queries: QueryBatch) -> Tensor:
        return predict_ours(network, queries)

    figures = {
        "plain": kept(lambda queries: predict_plain(plain, queries), single),
        "ours, k = 4": kept(ours, four),
        "ours, k = 1": kept(ours, single),
    }
    network.gradient_checkpointing = True
    figures["ours, k = 4, recompute"] = kept(ours, four)
    network.gradient_checkpointing = False
    return {
        name: {"MB per query": round(size, 1), "share of plain": round(size / figures["plain"], 3)}
        for name, size in figures.items()
    }


def measure_loader(config: NetworkConfig, options: argparse.Namespace) -> dict[str, Any]:
    """Measure queries per second of one core: JPEGs of 640 x 480 with seven queries each, transforms, tokens."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    processor = Processor(ProcessorConfig(), load_tokenizer(str(WEIGHTS / "bert")))
    num_images, num_queries = options.num_loader_images, 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder / "run", num_images, num_queries)
        dataset = make_plain_dataset(folder / "files", num_images, num_queries, processor, config.image_size_px)
        batch_builder = BatchBuilder(
            processor=processor,
            canvas_px=config.image_size_px,
            prior_dim=PRIOR_DIM,
            augmentation=AugmentationConfig(),
        )
        samples = Samples([SampleReader(folder / "run")])

        def ours(k: int) -> Callable[[], None]:
            stream = TrainStream(samples=samples, batch_builder=batch_builder, batch_images=16, max_queries=k)
            return lambda: consume(stream.iterate_epoch(0))

        ways = {
            "plain": lambda: consume(DataLoader(dataset, batch_size=16)),
            "ours, k = 7": ours(7),
            "ours, k = 4": ours(4),
            "ours, k = 1": ours(1),
        }
        seconds = measure_in_turn(ways, options.rounds, torch.device("cpu"))
    torch.set_num_threads(threads)
    return compute_rates(seconds, dict.fromkeys(seconds, num_images * num_queries), "plain")


def consume(batches: Any) -> None:
    for _ in batches:
        pass


def estimate_work(
    network: GroundingNetwork, figures: Mapping[str, Any], options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Floating-point operations of a query, the share of the device's peak, and what a whole training takes."""
    network.eval()
    plain = make_plain_network(network).to(device).eval()
    all_queries = make_query_batch(network.config, 8, device)
    num_queries = len(all_queries.targets)
    single = all_queries.select_images(range(1), 1)
    ours = count_flops(lambda: predict_ours(network, all_queries)) / num_queries
    plainly = count_flops(lambda: predict_plain(plain, single))
    peak = measure_peak_flops(device, torch.bfloat16 if options.bf16 else torch.float32)
    rate = figures["evaluation"]["ours"]["queries_per_s"]
    hours = {
        name: TRAINING["queries"] * TRAINING["epochs"] / figures["training"][name]["queries_per_s"] / 3600
        for name in ("plain", "ours, k = 4", "ours, k = 1")
    }
    return {
        "GFLOP per query, plain": plainly / 1e9,
        "GFLOP per query, ours": ours / 1e9,
        "measured peak of the device, GFLOP/s (matrix product)": peak / 1e9,
        "share of the peak in evaluation, ours": ours * rate / peak,
        "share of the peak in evaluation, plain": plainly * figures["evaluation"]["plain"]["queries_per_s"] / peak,
        "hours of a full RefCOCO training, without loading": {name: round(value, 1) for name, value in hours.items()},
    }


@torch.no_grad()
def count_flops(run: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def measure_peak_flops(device: torch.device, kind: torch.dtype) -> float:
    """Measure FLOP/s of a large product of square matrices."""
    side = 2048 if device.type == "cpu" else 8192
    a = torch.randn(side, side, device=device, dtype=kind)
    best = min(measure_seconds(lambda: a @ a, device) for _ in range(6))
    return float(2 * side**3 / best)


def measure_growth(
    network: GroundingNetwork, options: argparse.Namespace, device: torch.device
) -> list[dict[str, Any]]:
    """Measure milliseconds of an evaluation by images, queries per image and size."""
    rows = []
    sizes = [network.config.image_size_px] if options.size == "miniature" else [384, 512, 640]
    for size in sizes:
        resized = network
        if size != network.config.image_size_px:
            config = replace(network.config, image_size_px=size)
            resized = GroundingNetwork(config).to(device).use_channels_last()
        resized.eval()
        for num_images, k in ((1, 1), (1, 4), (1, 16), (4, 1), (4, 4)):
            queries = repeat_query(make_query_batch(resized.config, 1, device), num_images, k)

            @torch.no_grad()
            def run(resized: GroundingNetwork = resized, queries: QueryBatch = queries) -> None:
                with use_half_precision(options, device):
                    predict_ours(resized, queries)

            run()
            took = statistics.median(measure_seconds(run, device) for _ in range(options.rounds))
            row = {"side px": size, "images": num_images, "queries of each": k, "ms": round(1000 * took, 1)}
            rows.append({**row, "ms per query": round(1000 * took / (num_images * k), 1)})
    return rows


def repeat_query(one: QueryBatch, num_images: int, k: int) -> QueryBatch:
    """Return copies of an image with k copies of its first query each."""
    rows = torch.zeros(num_images * k, dtype=torch.long, device=one.images.device)
    return QueryBatch(
        images=one.images.repeat(num_images, 1, 1, 1),
        padding=one.padding.repeat(num_images, 1, 1),
        token_ids=one.token_ids[rows],
        token_mask=one.token_mask[rows],
        query_image=torch.arange(num_images, device=rows.device).repeat_interleave(k),
        prior=one.prior[rows],
        targets=one.targets[rows],
    )


def show(name: str, figures: Mapping[str, Any]) -> None:
    table = Table("", "", title=name, show_header=False)
    for row, value in figures.items():
        table.add_row(
            row,
            ", ".join(f"{k} {_format_value(v)}" for k, v in value.items())
            if isinstance(value, dict)
            else _format_value(value),
        )
    console.print(table)


def show_growth(rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title="evaluation by size")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def _format_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
