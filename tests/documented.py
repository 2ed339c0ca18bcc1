"""The commands that README and docs show, and a folder in which a newcomer could type them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from shards.sources.isolated import read_pickle
from workflows.miniature.world.dataset import WorldConfig, write_dataset

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    *("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/datasets.md", "docs/priors.md", "docs/scenes.md"),
    *("docs/training.md", "docs/full-size.md", "docs/formats.md", "docs/extending.md", "docs/faq.md", "docs/scale.md"),
    "docs/study.md",
    *("workflows/cluster/slurm.md", "workflows/cluster/kuberay.md", "workflows/cluster/ray_job.md"),
)
PROGRAMS = ("make", ".venv/bin/python", "python", "sbatch", "ray")
_WITHOUT_MAKE = {
    name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS", "RUN"))
}
"""The environment of a shell: make hands its own variables on to the tests that it starts."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A command or a piece of Python as a page shows it."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(page: str, language: str) -> list[str]:
    return [body for found, body in _FENCE.findall((ROOT / page).read_text()) if found == language]


def commands(page: str) -> Iterator[Shown]:
    """Lines of fenced blocks that begin with a program, continued lines joined, without remarks."""
    for block in blocks(page, "") + blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            text = " ".join(re.sub(r"\s+#\s.*", "", line).split())
            if text and text.split()[0] in PROGRAMS:
                yield Shown(page=page, text=text)


def modules_run(command: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of each Python program that a command starts, a make target's as make would."""
    words = shlex.split(command)
    if words[0] == "make":
        done = subprocess.run(
            ["make", "-n", "--no-print-directory", "-o", "setup", "-o", "setup-dev", "-o", ".venv/app", *words[1:]],
            cwd=ROOT, capture_output=True, text=True, check=True, env=_WITHOUT_MAKE,
        )  # fmt: skip
        lines = [shlex.split(line) for line in done.stdout.splitlines()]
    elif words[0] == "sbatch":
        script = next(i for i, word in enumerate(words) if word.endswith(".sbatch"))
        if words[script].endswith("train.sbatch"):
            lines = [["python", "-m", "workflows.train", *words[script + 1 :]]]
        else:
            lines = [["python", "-m", *words[script + 1 :], "--executor", "ray"]]  # as the script adds it
    elif words[0] == "ray":
        lines = [words[words.index("--") + 1 :]]
    else:
        lines = [words]
    return [(line[2], line[3:]) for line in lines if len(line) > 2 and line[0].endswith("python") and line[1] == "-m"]


def furnish(folder: Path) -> None:
    """What the pages take for given, in miniature: annotations in all formats, images, and a small world."""
    world = folder / "data" / "miniature" / "refer"
    write_dataset(WorldConfig(output=world, num_train=24, num_val=6, num_test=6))
    images = folder / "train2014"
    shutil.copytree(world / "images", images)
    shutil.copy(images / "miniature_000001.png", world / "images" / "miniature_002600.png")
    for name, split_by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        target = folder / "refer" / name
        target.mkdir(parents=True)
        shutil.copy(world / "miniature" / "refs(miniature).p", target / f"refs({split_by}).p")
        shutil.copy(world / "miniature" / "instances.json", target)
    refs = [{**ref, "ann_id": [ref["ann_id"]] if ref["ref_id"] % 2 else [-1]} for ref, _ in _referred(world)]
    (folder / "refer" / "grefcoco").mkdir()
    (folder / "refer" / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    shutil.copy(world / "miniature" / "instances.json", folder / "refer" / "grefcoco")
    (folder / "annotations").mkdir()
    instances = folder / "annotations" / "instances_train2014.json"
    shutil.copy(world / "miniature" / "instances.json", instances)
    shutil.copy(instances, folder)
    _furnish_tables(folder, world)
    _furnish_transvg(folder, world)
    (folder / "photos").mkdir()
    for name in ("kitchen.jpg", "street.jpg"):
        Image.new("RGB", (400, 300), "grey").save(folder / "photos" / name)
    shutil.copy(folder / "photos" / "kitchen.jpg", folder / "photo.jpg")
    (folder / "vocabulary.json").write_text(json.dumps({"categories": {"cup": "cups", "star": "stars"}}))


def _referred(world: Path) -> Iterator[tuple[dict, dict]]:
    """(ref, its target's annotation)"""
    coco = json.loads((world / "miniature" / "instances.json").read_text())
    of_id = {annotation["id"]: annotation for annotation in coco["annotations"]}
    for ref in read_pickle(world / "miniature" / "refs(miniature).p"):
        yield ref, of_id[ref["ann_id"]]


def _furnish_tables(folder: Path, world: Path) -> None:
    """The hub's Parquet, and the table of the README."""
    rows = [
        {
            "image_path": f"coco/train2014/{ref['file_name']}",
            "captions": [sentence["raw"] for sentence in ref["sentences"]],
            "bbox": list(_xyxy(target["bbox"])),
            "ann_id": ref["ann_id"],
            "split": ref["split"],
        }
        for ref, target in _referred(world)
    ]
    (folder / "refcoco" / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "refcoco" / "data" / "train-00000-of-00001.parquet")
    (folder / "coco").mkdir()
    (folder / "coco" / "train2014").symlink_to(folder / "train2014", target_is_directory=True)
    table = next(block for block in blocks("README.md", "") if block.startswith('{"image"'))
    (folder / "mine.jsonl").write_text(table)


def _furnish_transvg(folder: Path, world: Path) -> None:
    """TransVG's files and features beside them."""
    rows: dict[str, list] = {}
    for ref, target in _referred(world):
        row = [(ref["file_name"], f"{ref['ann_id']}.pth", target["bbox"], s["raw"], []) for s in ref["sentences"]]
        rows.setdefault(ref["split"], []).extend(row)
    features = folder / "semantic" / "unc"
    for path in (folder / "unc", features):
        path.mkdir(parents=True)
    for split, of_split in rows.items():
        torch.save(of_split, folder / "unc" / f"unc_{split}.pth")
        random = np.random.default_rng(0).standard_normal((len(of_split), 128)).astype(np.float32)
        torch.save(torch.from_numpy(random), features / f"{split}_fea.pth")


def _xyxy(xywh: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = xywh
    return x, y, x + width, y + height
