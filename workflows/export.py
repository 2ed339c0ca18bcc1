"""Write samples or generated scenes in the formats of other trainers.

    make export ARGS="--to vlm --output exported"                                # scenes of the miniature dataset
    make export ARGS="--dataset refcoco --source samples --to hf --output exported"

| --to | files | for |
|---|---|---|
| transvg | name/name_split.pth, split_fea.pth with priors | TransVG, VLTVG, ResVG |
| gref | grefs(unc).json, instances.json | GREC models, on none, one or several targets |
| grounding | name_split.json, COCO JSON with captions | MDETR, GLIP, Grounding DINO |
| odvg | split.jsonl, label_map.json | MM-Grounding-DINO, Open-GroundingDINO |
| coco | instances_split.json, objects without queries | detectors |
| vlm | split.jsonl, ms-swift's own format | Qwen-VL, InternVL and others in ms-swift |
| qwen3-vl, qwen2.5-vl | split.jsonl, boxes as that model writes them | LLaMA-Factory, ms-swift |
| llava | split.json | LLaVA-1.5 |
| florence2 | split.jsonl | Florence-2 |
| hf | data/split-*.parquet, README.md | datasets.load_dataset, the Hub |
| webdataset | name-split-*.tar, sizes.json, README.md | webdataset, datasets |

hf and webdataset hold the images, transvg writes them to `other/images/...`, all others to `images`. docs/exports.md
shows how to train with each.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.progress import track

from pipeline import PositiveInt, open_plan, write_atomic
from shards.exports.coco import CocoExport
from shards.exports.conversations import (
    MAX_PIXELS,
    MIN_PIXELS,
    Florence2Export,
    LlavaExport,
    Qwen3Export,
    Qwen25Export,
    SwiftExport,
)
from shards.exports.export import Export
from shards.exports.gref import GrefExport
from shards.exports.grounding import GroundingExport
from shards.exports.hugging_face import HubExport, ParquetExport, WebDatasetExport, format_card
from shards.exports.odvg import OdvgExport
from shards.exports.transvg import TransvgExport
from shards.reader import SampleReader
from shards.sources.transvg import XYWH_NAMES
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig, read_lines

Format = Literal[
    "transvg",
    "gref",
    "grounding",
    "odvg",
    "coco",
    "vlm",
    "qwen3-vl",
    "qwen2.5-vl",
    "llava",
    "florence2",
    "hf",
    "webdataset",
]

GENERATED = (
    "The images are generated scenes. A relation program selects the target of each query and no other object that the "
    "detector found; objects that it missed may be described, too."
)
ANNOTATED = "The images and queries are those of the source, in its splits. Check its license before you publish them."


@dataclass(frozen=True, kw_only=True)
class ExportConfig(DatasetConfig):
    """Run to export, its format and output folder."""

    output: Path
    """Folder that does not exist yet."""

    to: Format
    """Format of the files, see above."""

    source: Literal["samples", "scenes", "packed-samples", "packed-scenes"] = "scenes"
    """Run of the dataset; the packed ones carry priors."""

    name: str = ""
    """Name that the trainer knows the dataset by. transvg: unc, unc+, gref or gref_umd, by default unc. grounding:
    ``dataset_name`` of the entries; hf and webdataset: name on the card and of the files; by default the dataset."""

    join_queries: bool = False
    """Flag to write one conversation for all queries of an image, instead of one for each; vlm and Qwen only."""

    min_pixels: PositiveInt = MIN_PIXELS
    """Minimum pixels of an image in the processor that you train Qwen2.5-VL with; qwen2.5-vl only."""

    max_pixels: PositiveInt = MAX_PIXELS
    """Maximum pixels of that processor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to == "transvg" and (self.name or "unc") not in XYWH_NAMES:
            raise ValueError(
                f"name must be one of {', '.join(XYWH_NAMES)}, the names that TransVG knows, got {self.name!r}"
            )


def main(config: ExportConfig) -> None:
    """Write the folder completely or not at all."""
    if config.output.exists():
        raise UserError(f"{config.output} exists; pass a new folder as --output, or remove it")
    targets = {"samples": "ingest", "scenes": "augment", "packed-samples": "generate-priors pack"}
    run_targets = targets.get(config.source, "augment pack")
    reader = SampleReader(config.check_exists(config.paths.root / config.source, run_targets))
    draft = config.output.with_name(f".{config.output.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        export = build_export(config, draft)
        for sample in track(reader, "exporting", total=len(reader), console=console, transient=True):
            export.add(sample)
        export.finish()
        if isinstance(export, HubExport):
            settings = open_plan(config.paths.root / config.source).settings.fingerprint
            origin = GENERATED if config.source.endswith("scenes") else ANNOTATED
            card = format_card(export, config.name or config.dataset, settings, origin, count_left_out(config))
            write_atomic(draft / "README.md", card)
        draft.rename(config.output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    counts = ", ".join(f"{split} {count:,}" for split, count in sorted(export.num_queries.items()))
    console.print(f"{len(reader):,} images, queries: {counts or 'none'}")
    for reason, count in export.left_out.items():
        if count:
            console.print(f"[yellow]left out:[/] {count:,} times, {reason}")
    print_path(f"{config.source} in the format {config.to} saved to", config.output)


def count_left_out(config: ExportConfig) -> Counter[str]:
    """Count by reason what ``ingest`` excluded or clipped, or which scenes ``augment`` rejected or did not select."""
    if not config.source.endswith("scenes"):
        return Counter(problem["rule"] for problem in read_lines(config.paths.problems))
    path = config.check_exists(config.paths.scene_rounds / "yield.json", "augment")
    record = json.loads(path.read_text(encoding="utf-8"))
    reasons = Counter({name: record["selection"][name] for name in ("near_duplicate", "quota_full")})
    for composer in record["composers"].values():
        reasons.update(composer["rejected"])
        reasons.update(composer["failed"])
    return +reasons


def build_export(config: ExportConfig, folder: Path) -> Export:
    """Return the writer of the chosen format."""
    name = config.name or ("unc" if config.to == "transvg" else config.dataset)
    writers: dict[Format, Callable[[], Export]] = {
        "transvg": lambda: TransvgExport(folder, name),
        "gref": lambda: GrefExport(folder),
        "grounding": lambda: GroundingExport(folder, name),
        "odvg": lambda: OdvgExport(folder),
        "coco": lambda: CocoExport(folder),
        "vlm": lambda: SwiftExport(folder, config.join_queries),
        "qwen3-vl": lambda: Qwen3Export(folder, config.join_queries),
        "qwen2.5-vl": lambda: Qwen25Export(folder, config.join_queries, config.min_pixels, config.max_pixels),
        "llava": lambda: LlavaExport(folder),
        "florence2": lambda: Florence2Export(folder),
        "hf": lambda: ParquetExport(folder),
        "webdataset": lambda: WebDatasetExport(folder, name),
    }
    return writers[config.to]()


if __name__ == "__main__":
    run(main, ExportConfig, __doc__)
