"""Train grounding networks on queries about photographs, with pixels, and test them on queries that people wrote.

    make benchmark NAME=pixels ARGS="--prepare"                                    # CPU: 256 px images, 50 MB
    make benchmark NAME=pixels ARGS="--backbone DINOV2 --text-encoder MINILM"      # GPU: at most 8 minutes
    make benchmark NAME=pixels ARGS="--smoke"                                      # CPU: a minute, figures mean nothing

``--prepare`` writes ``runs/pixels``: the photographs once, and the queries of each variant of ``benchmarks.transfer``
(category names, Pseudo-Q's rules, programs) joined to them. The second command trains a network on each variant, with
no query that people wrote, for an equal share of the minutes. It is tested on 320 such queries about other photographs,
beside the largest and the most central annotated box of
the target's category. ``--backbone`` is a folder of transformers with a backbone and
its weights, ``--text-encoder`` one with a text encoder and its tokenizer.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from upath import UPath

from augmentation.composers.photographs import PhotographsConfig
from benchmarks.transfer import join_types
from benchmarks.transfer_network import TargetedQuery
from benchmarks.transfer_queries import Photographs
from pipeline import Item, Job, PlanRow, Stage, run_job
from shards.boxes import Box, compute_area_px, iou
from shards.reader import SampleReader
from shards.schema import Instance, Query, Sample
from shards.sidecar import describe_images
from shards.writer import SampleSink
from trainer.config import TrainConfig, make_miniature_recipe
from trainer.evaluate import EvaluateConfig, evaluate
from trainer.evaluation.bootstrap import compute_intervals
from trainer.train import train
from workflows.miniature import WEIGHTS

SIDE_PX = 256
"""Long side of the images."""

CANVAS_PX = 224
"""Side of the canvas of the networks on a GPU; a multiple of the usual strides 14, 16 and 32."""

VARIANTS = ("category", "rules", "programs")
IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="only write the samples to --work")
    parser.add_argument("--smoke", action="store_true", help="12 photographs, miniature networks, 2 steps")
    parser.add_argument("--photographs", type=Path, default=Path("../shared/photographs"))
    parser.add_argument("--real", type=Path, default=Path("../shared/real"))
    parser.add_argument("--work", type=Path, default=Path("runs/pixels"))
    parser.add_argument("--backbone", help="folder of a backbone of transformers with its weights")
    parser.add_argument("--text-encoder", help="folder of a text encoder with its weights and tokenizer")
    parser.add_argument("--minutes", type=float, default=7, help="for all trainings together")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/pixels.json"))
    options = parser.parse_args()
    if options.smoke:
        with tempfile.TemporaryDirectory() as name:
            work = UPath(name)
            prepare(work, options.photographs, options.real, max_photographs=12)
            show(measure(work, make_recipe(work, None, None), seconds=0.0))
        return
    if options.prepare:
        prepare(UPath(options.work), options.photographs, options.real)
        return
    if not (torch.cuda.is_available() and options.backbone and options.text_encoder):
        raise SystemExit("this needs a GPU, --backbone and --text-encoder; use --smoke to try it on a CPU")
    work = UPath(options.work)
    recipe = make_recipe(work, options.backbone, options.text_encoder)
    record = measure(work, recipe, seconds=60 * options.minutes / len(VARIANTS))
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    show(record)


class _BuildStage(Stage[Item, Sample]):
    """Stage that builds a sample of each item, in the process of the benchmark."""

    def __init__(self, build: Callable[[str], Sample]) -> None:
        self._build = build

    def process(self, items: list[Item]) -> list[Any]:
        return [self._build(item.key) for item in items]


def write_run(run: UPath, keys: Iterable[str], build: Callable[[str], Sample], fingerprint: Mapping[str, Any]) -> None:
    """Write samples as a run."""
    rows = [PlanRow(key=key, payload={}, group="all") for key in keys]
    job = Job(
        name="pixels",
        fingerprint=fingerprint,
        inputs=lambda: iter(rows),
        items_per_shard=500,
        stages=[_BuildStage(build)],
        sink=SampleSink(),
    )
    run_job(job, run)


def prepare(work: UPath, folder: Path, real: Path, max_photographs: int | None = None) -> None:
    """Write the photographs, the queries of each variant joined to them, and people's queries."""
    shutil.rmtree(Path(str(work)), ignore_errors=True)
    photographs, limits = Photographs.read(folder / "instances.json", max_photographs), PhotographsConfig()
    samples = {
        f"photograph-{number:05d}": _make_sample(
            f"photograph-{number:05d}", folder / "images" / image.name, image.size, image.instances
        )
        for number, image in enumerate(photographs.annotated)
    }
    write_run(work / "images", samples, samples.__getitem__, {"photographs": len(samples)})
    variants = {
        "category": photographs.name_categories(limits),
        "rules": photographs.apply_rules(limits),
        "programs": join_types(photographs.verify_programs(limits), limits.excluded_types),
    }
    for name, queries in variants.items():
        joined = _join_queries(samples, queries, name)
        fingerprint = {"variant": name, "queries": len(queries), **describe_images(work / "images")}
        write_run(work / name, joined, joined.__getitem__, fingerprint)
    people = {sample.key: sample for sample in read_people_samples(real)}
    write_run(work / "people", people, people.__getitem__, {"people": len(people)})


def _make_sample(key: str, path: Path, size: tuple[int, int] | None, instances: Sequence[Instance]) -> Sample:
    """Make a sample of an image with a long side of ``SIDE_PX``; without queries."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    assert size is not None
    scale = SIDE_PX / max(size)
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    buffer = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    scaled = tuple(replace(one, box_xyxy=_scale_box(one.box_xyxy, size, (width, height))) for one in instances)
    return Sample(
        key=key,
        width=width,
        height=height,
        image_name=path.name,
        image=buffer.getvalue(),
        instances=scaled,
        queries=(),
    )


def _scale_box(box: Box, size: tuple[int, int], new: tuple[int, int]) -> Box:
    x, y = new[0] / size[0], new[1] / size[1]
    return (box[0] * x, box[1] * y, min(box[2] * x, new[0]), min(box[3] * y, new[1]))


def _join_queries(samples: Mapping[str, Sample], queries: Iterable[TargetedQuery], source: str) -> dict[str, Sample]:
    """Return the samples that have queries, with these and without their images."""
    by_image = defaultdict[int, list[TargetedQuery]](list)
    for query in queries:
        by_image[query.image].append(query)
    keys = list(samples)
    return {
        keys[image]: replace(
            samples[keys[image]],
            image=b"",
            queries=tuple(
                Query(
                    query_id=f"{source}-{image}-{number}",
                    text=query.text,
                    boxes_xyxy=(samples[keys[image]].instances[query.target].box_xyxy,),
                    split="train",
                    source=source,
                    instances=(query.target,),
                )
                for number, query in enumerate(of_image)
            ),
        )
        for image, of_image in sorted(by_image.items())
    }


def read_people_samples(real: Path) -> Iterable[Sample]:
    """Yield a sample for each query that people wrote; its instances are those of the target's category."""
    for number, line in enumerate((real / "photos.jsonl").read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        boxes = [row["bbox_xyxy"], *(row.get("same_category_boxes_xyxy") or [])]
        instances = [Instance(box_xyxy=_clip(box, row["size"]), category=row.get("category") or "") for box in boxes]
        sample = _make_sample(f"people-{number:03d}", real / row["image"], tuple(row["size"]), instances)
        query = Query(
            query_id=f"people-{number:03d}",
            text=row["query"],
            boxes_xyxy=(sample.instances[0].box_xyxy,),
            split="val",
            source=row["source"],
            instances=(0,),
        )
        yield replace(sample, queries=(query,), has_all_instances=False)


def _clip(box: Sequence[float], size: Sequence[int]) -> Box:
    return (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(size[0])), min(box[3], float(size[1])))


def make_recipe(work: UPath, backbone: str | None, text_encoder: str | None) -> TrainConfig:
    """Make the recipe of a network without priors; without a backbone that of the miniature network."""
    recipe = replace(
        make_miniature_recipe(Path(str(work)), (work / VARIANTS[0],)),
        validate_split=None,
        tracker="none",
        resume="never",
        train_split=None,
    )
    if backbone is None or text_encoder is None:
        return replace(
            recipe, network=replace(recipe.network, use_prior=False), text_encoder=str(WEIGHTS / "bert"), steps=2
        )
    return replace(
        recipe,
        network=replace(
            recipe.network,
            use_prior=False,
            image_size_px=CANVAS_PX,
            width=256,
            num_heads=8,
            feedforward_width=1024,
        ),
        processor=replace(recipe.processor, **IMAGENET),
        transformers_backbone=backbone,
        text_encoder=text_encoder,
        text_from_scratch=False,
        optimization=replace(recipe.optimization, pretrained_learning_rate=5e-5),
        batch_images=64,
        mixed_precision="bf16",
        num_workers=8,
    )


def measure(work: UPath, recipe: TrainConfig, seconds: float) -> dict[str, Any]:
    """Train and test each variant; with ``seconds`` of 0 for the steps of the recipe."""
    people = list(SampleReader(work / "people"))
    right: dict[str, list[float]] = {
        "largest box": [_is_right(sample, _choose(sample, lambda box, _: -compute_area_px(box))) for sample in people],
        "most central box": [_is_right(sample, _choose(sample, _measure_offset)) for sample in people],
    }
    steps: dict[str, int] = {}
    for name in VARIANTS:
        output = Path(str(work)) / "networks" / name
        config = replace(recipe, output=output, train=(work / name,))
        if seconds:
            config = replace(config, steps=_count_steps(config, seconds))
        train(config)
        steps[name] = config.steps or 0
        records = evaluate(
            EvaluateConfig(
                checkpoint=output / "best", data=work / "people", splits=("val",), output=output / "evaluation",
                priors=("none",),
            )
        )  # fmt: skip
        right[name] = [float(one.iou > 0.5) for one in records]
    images = [sample.image_name for sample in people]
    figures = {name: asdict(compute_intervals(values, images)[0]) for name, values in right.items()}
    return {"queries": len(people), "steps": steps, "accuracy": figures}


def _count_steps(config: TrainConfig, seconds: float, trial_steps: int = 40) -> int:
    """Return the steps that fit into the seconds, by a short trial."""
    durations = []
    for steps in (trial_steps // 4, trial_steps):
        start = time.perf_counter()
        train(replace(config, output=config.output.with_name(f"{config.output.name}-{steps}"), steps=steps))
        durations.append(time.perf_counter() - start)
    per_step = max(1e-3, (durations[1] - durations[0]) / (trial_steps - trial_steps // 4))
    return max(trial_steps, int((seconds - sum(durations)) / per_step))


def _choose(sample: Sample, cost: Callable[[Box, Sample], float]) -> Box:
    return min((one.box_xyxy for one in sample.instances), key=lambda box: cost(box, sample))


def _measure_offset(box: Box, sample: Sample) -> float:
    return abs(box[0] + box[2] - sample.width) / sample.width + abs(box[1] + box[3] - sample.height) / sample.height


def _is_right(sample: Sample, box: Box) -> float:
    return float(iou(box, sample.queries[0].box_xyxy) > 0.5)


def show(record: Mapping[str, Any]) -> None:
    """Print Acc@0.5 in percent."""
    table = Table("network", f"Acc@0.5 of {record['queries']} queries that people wrote (95 %)")
    for name, figure in record["accuracy"].items():
        table.add_row(name, "{mean:.1%} ({low:.1%} to {high:.1%})".format(**figure))
    Console().print(table)


if __name__ == "__main__":
    main()
