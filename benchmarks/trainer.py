"""How fast the network trains and answers, against the same network written plainly; in turn, in one process.

    make benchmark-trainer                                                   # full size on a CPU: half an hour
    make benchmark-trainer ARGS="--size miniature --rounds 2"                # a minute, to see that it runs
    make benchmark-trainer ARGS="--bf16 --compile --pictures 64 --batch 64 --rounds 20"         # on a GPU

The plain version (``benchmarks.plain_network``) has the same weights, random ones of the published architecture: one
picture for each query, 40 tokens, attention that returns its weights. Both run in the same precision. Evaluation asks
pictures with as many queries as RefCOCO's validation split has; what both answer is compared. Training takes AdamW's
steps over the same number of queries, ours with k = 4 and k = 1 queries a picture. Loaders read the same JPEGs on one
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

from benchmarks.plain_network import PlainNetwork, plain_version
from benchmarks.trainer_data import NUM_QUERIES, NUM_WORDS, PRIOR_DIM, drawn_from, plain_dataset, write_shards
from shards.reader import SampleReader
from trainer.boxes import cxcywh_to_xyxy, iou
from trainer.data.dataset import Preparation, Samples, TrainStream
from trainer.data.processor import Processor, ProcessorConfig, load_tokenizer
from trainer.data.transforms import AugmentationConfig
from trainer.model.config import NetworkConfig, miniature, published
from trainer.model.network import GroundingNetwork
from trainer.training.losses import box_losses
from workflows.cli.console import quieten_libraries
from workflows.miniature import WEIGHTS

console = Console()

TRAINING = {"queries": 120_624, "pictures": 16_994, "epochs": 90}
"""RefCOCO's training split and the published length."""

MAX_TOKENS = 40


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Pictures and queries as tensors of the network's size."""

    images: Tensor
    padding: Tensor
    token_ids: Tensor
    token_mask: Tensor
    query_image: Tensor
    prior: Tensor
    targets: Tensor

    def trimmed(self) -> tuple[Tensor, Tensor]:
        """Tokens up to the longest phrase."""
        longest = int(self.token_mask.sum(1).max())
        return self.token_ids[:, :longest], self.token_mask[:, :longest]

    def chosen(self, pictures: range, most_queries: int | None = None) -> Asked:
        """Some pictures with their queries, or the first ones of each."""
        rows: list[int] = []
        for number in pictures:
            rows += (self.query_image == number).nonzero()[:most_queries, 0].tolist()
        index = torch.tensor(rows, device=self.images.device)
        return Asked(
            images=self.images[pictures.start : pictures.stop],
            padding=self.padding[pictures.start : pictures.stop],
            token_ids=self.token_ids[index],
            token_mask=self.token_mask[index],
            query_image=self.query_image[index] - pictures.start,
            prior=self.prior[index],
            targets=self.targets[index],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["published", "miniature"], default="published")
    parser.add_argument("--pictures", type=int, default=8, help="of the evaluation; about 7 queries each")
    parser.add_argument("--batch", type=int, default=8, help="queries of a training step")
    parser.add_argument("--rounds", type=int, default=3, help="of each comparison, in turn")
    parser.add_argument("--threads", type=int, help="of torch; all cores if not given")
    parser.add_argument("--bf16", action="store_true", help="both in bf16 (autocast)")
    parser.add_argument("--compile", action="store_true", help="compile ours")
    parser.add_argument("--loader-pictures", type=int, default=48)
    parser.add_argument("--note", help="about the machine: what else ran on it")
    parser.add_argument("--output", type=Path, default=Path("docs/trainer.json"))
    options = parser.parse_args()
    quieten_libraries()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = new_network(options.size).to(device).channels_last()
    figures: dict[str, Any] = {
        "machine": machine(device) + (f"; {options.note}" if options.note else ""),
        "network": options.size,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "precision": precision(options),
        "evaluation": evaluation(network, options, device),
        "training": training(network, options, device),
        "memory": memory(network, options, device),
        "loader": loader(network.config, options),
    }
    figures["work"] = work(network, figures, options, device)
    figures["growth"] = growth(network, options, device)
    for name in ("evaluation", "training", "memory", "loader", "work"):
        show(name, figures[name])
    show_growth(figures["growth"])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(options.output.read_text()) if options.output.exists() else {}
    title = f"{options.size}, {device.type}, {figures['precision']}"
    options.output.write_text(json.dumps({**kept, title: figures}, indent=1) + "\n")


def machine(device: torch.device) -> str:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{where}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, torch {torch.__version__}"


def new_network(size: str) -> GroundingNetwork:
    """Of the architecture with random weights; a BERT-base, or the miniature's."""
    torch.manual_seed(0)
    if size == "published":
        return GroundingNetwork(replace(published(), text=BertConfig().to_dict()))
    text = json.loads((WEIGHTS / "bert" / "config.json").read_text())
    return GroundingNetwork(replace(miniature(), text=text, prior_dim=PRIOR_DIM))


def asked(config: NetworkConfig, num_pictures: int, device: torch.device) -> Asked:
    """Pictures of 4:3 with queries as RefCOCO's validation split has them."""
    random, size = Random(0), config.image_size_px
    generator = torch.Generator().manual_seed(0)
    counts = [drawn_from(NUM_QUERIES, random) for _ in range(num_pictures)]
    lengths = torch.tensor([2 + drawn_from(NUM_WORDS, random) for _ in range(sum(counts))])
    padding = torch.ones(num_pictures, size, size, dtype=torch.bool)
    padding[:, size // 8 : size - size // 8] = False
    images = torch.randn(num_pictures, 3, size, size, generator=generator).masked_fill(padding[:, None], 0)
    most = int(config.text["vocab_size"])
    token_mask = torch.arange(MAX_TOKENS) < lengths[:, None]
    token_ids = torch.randint(5, most, (sum(counts), MAX_TOKENS), generator=generator) * token_mask
    centres = torch.rand(sum(counts), 2, generator=generator) * 0.4 + 0.3
    tensors = {
        "images": images,
        "padding": padding,
        "token_ids": token_ids,
        "token_mask": token_mask,
        "query_image": torch.arange(num_pictures).repeat_interleave(torch.tensor(counts)),
        "prior": torch.randn(sum(counts), config.prior_dim, generator=generator),
        "targets": torch.cat([centres, torch.rand(sum(counts), 2, generator=generator) * 0.3 + 0.2], dim=1),
    }
    return Asked(**{name: tensor.to(device) for name, tensor in tensors.items()})


def half(options: argparse.Namespace, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if options.bf16 else contextlib.nullcontext()


def precision(options: argparse.Namespace) -> str:
    return ("bf16" if options.bf16 else "float32") + (", ours compiled" if options.compile else "")


def answer_ours(network: GroundingNetwork, some: Asked) -> Tensor:
    token_ids, token_mask = some.trimmed()
    return network(some.images, some.padding, token_ids, token_mask, some.query_image, some.prior).boxes


def answer_plainly(plain: PlainNetwork, some: Asked) -> Tensor:
    copies = some.images[some.query_image], some.padding[some.query_image]
    result: Tensor = plain(*copies, some.token_ids, some.token_mask, some.prior)
    return result


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def in_turn(ways: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            took = seconds_of(way, device)
            console.print(f"round {number}, {name}: {took:.2f} s" + (" (does not count)" if number == 0 else ""))
            if number:
                seconds[name].append(took)
    return seconds


def rates(seconds: Mapping[str, list[float]], num_queries: Mapping[str, int], baseline: str) -> dict[str, Any]:
    """Queries a second by the median round, and how many times the baseline's in the same round."""
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


def evaluation(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Both answer the same queries: ours in batches of 4 pictures (32 on a GPU), the plain one those of one (of 4 on a
    GPU) with a copy of the picture for each."""
    network.eval()
    plain = plain_version(network).to(device).eval()
    everything = asked(network.config, options.pictures, device)
    if options.compile:
        network.compile_parts()
    answers: dict[str, Tensor] = {}
    step, plain_step = (4, 1) if device.type == "cpu" else (32, 4)

    def batches(pictures: int) -> list[Asked]:
        starts = range(0, options.pictures, pictures)
        return [everything.chosen(range(i, min(i + pictures, options.pictures))) for i in starts]

    @torch.no_grad()
    def ours() -> None:
        with half(options, device):
            answers["ours"] = torch.cat([answer_ours(network, part)[-1] for part in batches(step)])

    @torch.no_grad()
    def plainly() -> None:
        with half(options, device):
            answers["plain"] = torch.cat([answer_plainly(plain, part)[-1] for part in batches(plain_step)])

    seconds = in_turn({"plain": plainly, "ours": ours}, options.rounds, device)
    return {
        "pictures": options.pictures,
        "queries": len(everything.targets),
        **rates(seconds, dict.fromkeys(seconds, len(everything.targets)), "plain"),
        "largest difference of a box coordinate": float((answers["ours"] - answers["plain"]).abs().max()),
        "IoU of both answers, least": float(
            iou(cxcywh_to_xyxy(answers["ours"].double()), cxcywh_to_xyxy(answers["plain"].double())).min()
        ),
        "Acc@0.5 of each": {name: accuracy(boxes, everything.targets) for name, boxes in answers.items()},
    }


def accuracy(boxes: Tensor, targets: Tensor) -> float:
    return float((iou(cxcywh_to_xyxy(boxes.double()), cxcywh_to_xyxy(targets.double())) > 0.5).double().mean())


def training(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Steps of as many queries: ours of batch / 4 pictures with four each and of batch pictures with one."""
    network.train()
    plain = plain_version(network).to(device).train()
    batch = options.batch
    everything = asked(network.config, 2 * batch, device)
    enough = [i for i in range(2 * batch) if int((everything.query_image == i).sum()) >= 4][:batch]
    singles = everything.chosen(range(batch), 1)
    fours = stacked([everything.chosen(range(i, i + 1), 4) for i in enough[: batch // 4]])
    optimizers = {
        name: torch.optim.AdamW([p for p in one.parameters() if p.requires_grad], lr=1e-6)
        for name, one in (("plain", plain), ("ours", network))
    }

    def stepping(name: str, answer: Callable[[Asked], Tensor], some: Asked) -> Callable[[], None]:
        def run() -> None:
            with half(options, device):
                boxes = answer(some)
            box_losses(boxes, some.targets).per_query.mean().backward()
            optimizers[name].step()
            optimizers[name].zero_grad(set_to_none=True)

        return run

    def ours(some: Asked) -> Tensor:
        return answer_ours(network, some)

    ways = {
        "plain": stepping("plain", lambda some: answer_plainly(plain, some), singles),
        "ours, k = 4": stepping("ours", ours, fours),
        "ours, k = 1": stepping("ours", ours, singles),
    }
    seconds = in_turn(ways, options.rounds, device)
    sizes = {"plain": singles, "ours, k = 4": fours, "ours, k = 1": singles}
    return {
        "queries of a step": batch,
        **rates(seconds, {name: len(of.targets) for name, of in sizes.items()}, "plain"),
    }


def stacked(parts: list[Asked]) -> Asked:
    """Several as one batch."""
    first, images = [], 0
    for part in parts:
        first.append(part.query_image + images)
        images += len(part.images)
    names = ("images", "padding", "token_ids", "token_mask", "prior", "targets")
    return Asked(
        query_image=torch.cat(first), **{name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    )


def memory(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """What a training step keeps for its gradients, for each query: bytes of tensors that autograd saves more of for
    two pictures than for one. What is saved once, such as weights cast to bf16, does not count."""
    network.train()
    plain = plain_version(network).to(device).train()
    few = asked(network.config, 8, device)
    single = few.chosen(range(1), 1)
    four = next(part for i in range(8) if len((part := few.chosen(range(i, i + 1), 4)).targets) == 4)

    def kept(answer: Callable[[Asked], Tensor], some: Asked) -> float:
        return (saved(answer, stacked([some, some])) - saved(answer, some)) / len(some.targets) / 1e6

    def saved(answer: Callable[[Asked], Tensor], some: Asked) -> int:
        parameters = {p.untyped_storage().data_ptr() for p in (*network.parameters(), *plain.parameters())}
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in parameters:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), half(options, device):
            answer(some).sum().backward()
        network.zero_grad(set_to_none=True)
        plain.zero_grad(set_to_none=True)
        return sum(sizes.values())

    def ours(some: Asked) -> Tensor:
        return answer_ours(network, some)

    figures = {
        "plain": kept(lambda some: answer_plainly(plain, some), single),
        "ours, k = 4": kept(ours, four),
        "ours, k = 1": kept(ours, single),
    }
    network.recompute = True
    figures["ours, k = 4, recompute"] = kept(ours, four)
    network.recompute = False
    return {
        name: {"MB per query": round(size, 1), "share of plain": round(size / figures["plain"], 3)}
        for name, size in figures.items()
    }


def loader(config: NetworkConfig, options: argparse.Namespace) -> dict[str, Any]:
    """Queries a second of one core: JPEGs of 640 x 480 with seven queries each, training transforms, tokens."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    processor = Processor(ProcessorConfig(), load_tokenizer(str(WEIGHTS / "bert")))
    num_pictures, num_queries = options.loader_pictures, 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder / "run", num_pictures, num_queries)
        dataset = plain_dataset(folder / "files", num_pictures, num_queries, processor, config.image_size_px)
        preparation = Preparation(
            processor=processor,
            canvas_px=config.image_size_px,
            prior_dim=PRIOR_DIM,
            augmentation=AugmentationConfig(),
        )
        samples = Samples([SampleReader(folder / "run")])

        def ours(k: int) -> Callable[[], None]:
            stream = TrainStream(samples=samples, preparation=preparation, batch_images=16, max_queries=k)
            return lambda: consume(stream.epoch(0))

        ways = {
            "plain": lambda: consume(DataLoader(dataset, batch_size=16)),
            "ours, k = 7": ours(7),
            "ours, k = 4": ours(4),
            "ours, k = 1": ours(1),
        }
        seconds = in_turn(ways, options.rounds, torch.device("cpu"))
    torch.set_num_threads(threads)
    return rates(seconds, dict.fromkeys(seconds, num_pictures * num_queries), "plain")


def consume(batches: Any) -> None:
    for _ in batches:
        pass


def work(
    network: GroundingNetwork, figures: Mapping[str, Any], options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Floating-point operations of a query, the share of the device's peak, and what a whole training takes."""
    network.eval()
    plain = plain_version(network).to(device).eval()
    everything = asked(network.config, 8, device)
    num_queries = len(everything.targets)
    single = everything.chosen(range(1), 1)
    ours = flops_of(lambda: answer_ours(network, everything)) / num_queries
    plainly = flops_of(lambda: answer_plainly(plain, single))
    peak = peak_flops(device, torch.bfloat16 if options.bf16 else torch.float32)
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
def flops_of(run: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def peak_flops(device: torch.device, kind: torch.dtype) -> float:
    """Of a large product of square matrices."""
    side = 2048 if device.type == "cpu" else 8192
    a = torch.randn(side, side, device=device, dtype=kind)
    best = min(seconds_of(lambda: a @ a, device) for _ in range(6))
    return float(2 * side**3 / best)


def growth(network: GroundingNetwork, options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Milliseconds of an evaluation, by pictures, queries of each and size."""
    rows = []
    sizes = [network.config.image_size_px] if options.size == "miniature" else [384, 512, 640]
    for size in sizes:
        resized = network
        if size != network.config.image_size_px:
            config = replace(network.config, image_size_px=size)
            resized = GroundingNetwork(config).to(device).channels_last()
        resized.eval()
        for pictures, k in ((1, 1), (1, 4), (1, 16), (4, 1), (4, 4)):
            some = repeated(asked(resized.config, 1, device), pictures, k)

            @torch.no_grad()
            def run(resized: GroundingNetwork = resized, some: Asked = some) -> None:
                with half(options, device):
                    answer_ours(resized, some)

            run()
            took = statistics.median(seconds_of(run, device) for _ in range(options.rounds))
            row = {"side px": size, "pictures": pictures, "queries of each": k, "ms": round(1000 * took, 1)}
            rows.append({**row, "ms per query": round(1000 * took / (pictures * k), 1)})
    return rows


def repeated(one: Asked, pictures: int, k: int) -> Asked:
    """Copies of a picture with k copies of its first query each."""
    rows = torch.zeros(pictures * k, dtype=torch.long, device=one.images.device)
    return Asked(
        images=one.images.repeat(pictures, 1, 1, 1),
        padding=one.padding.repeat(pictures, 1, 1),
        token_ids=one.token_ids[rows],
        token_mask=one.token_mask[rows],
        query_image=torch.arange(pictures, device=rows.device).repeat_interleave(k),
        prior=one.prior[rows],
        targets=one.targets[rows],
    )


def show(name: str, figures: Mapping[str, Any]) -> None:
    table = Table("", "", title=name, show_header=False)
    for row, value in figures.items():
        table.add_row(
            row, ", ".join(f"{k} {_shown(v)}" for k, v in value.items()) if isinstance(value, dict) else _shown(value)
        )
    console.print(table)


def show_growth(rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title="evaluation by size")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
