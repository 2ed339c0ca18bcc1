"""Write samples or generated scenes in the formats of other trainers.

    python -m workflows.export --dataset miniature --source scenes --format transvg --output exported
    python -m workflows.export --dataset refcoco --source packed-samples --format grounding --output exported

``transvg`` writes ``<name>_<split>.pth`` for TransVG, VLTVG and ResVG, and ``<split>_fea.pth`` if the samples carry
priors. ``grounding`` writes the JSON of MDETR, GLIP and Grounding DINO. Both write the images to ``images``.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.progress import track

from shards.exports.grounding import GroundingExport
from shards.exports.transvg import TransvgExport
from shards.reader import SampleReader
from shards.sources.transvg import XYWH_NAMES
from shards.writer import get_image_extension
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig


@dataclass(frozen=True, kw_only=True)
class ExportConfig(DatasetConfig):
    """Run to export, its format and output folder."""

    output: Path
    """Folder that does not exist yet."""

    format: Literal["transvg", "grounding"]
    """Format of the files, see above."""

    source: Literal["samples", "scenes", "packed-samples", "packed-scenes"] = "scenes"
    """Run of the dataset; the packed ones carry priors."""

    name: str = ""
    """Name that the trainer knows the dataset by. transvg: unc, unc+, gref or gref_umd, by default unc. grounding:
    ``dataset_name`` of the entries, by default the dataset."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format == "transvg" and (self.name or "unc") not in XYWH_NAMES:
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
        counts = _write_export(config, reader, draft)
        draft.rename(config.output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    counts_text = ", ".join(f"{split} {count:,}" for split, count in sorted(counts.items()))
    console.print(f"{len(reader):,} images with {sum(counts.values()):,} queries ({counts_text})")
    print_path(f"{config.source} in the format {config.format} saved to", config.output)


def _write_export(config: ExportConfig, reader: SampleReader, folder: Path) -> dict[str, int]:
    export: TransvgExport | GroundingExport
    if config.format == "transvg":
        export = TransvgExport(config.name or "unc")
    else:
        export = GroundingExport(config.name or config.dataset)
    (folder / "images").mkdir(parents=True)
    for sample in track(reader, "exporting", total=len(reader), console=console, transient=True):
        name = f"{sample.key}.{get_image_extension(sample.image)}"
        (folder / "images" / name).write_bytes(sample.image)
        export.add(sample, name)
    return export.write(folder)


if __name__ == "__main__":
    run(main, ExportConfig, __doc__)
