"""Measure ingest of a dataset of RefCOCO's size, against copying the same images to a tar.

    make benchmark NAME=ingest

Writes 17,000 JPEGs of 640 x 480 (60 kB each, a few kinds of images, every file different) with 119,000 queries in the
REFER layout to a temporary folder. Several rounds alternate ingest, from annotations to committed shards with every
image decoded completely, and Python's tarfile, which only copies. Then the samples are read, with hashes checked and
every record validated, against plain webdataset over the same tars. Prints a table and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import resource
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import webdataset as wds
from PIL import Image
from rich.console import Console
from rich.table import Table
from upath import UPath

from pipeline import ExecutorConfig, get_verified_path, read_receipts
from shards.reader import SampleReader
from workflows import ingest
from workflows.cli.console import configure_library_logging

OBJECTS_EACH = 7
SENTENCES_EACH = (3, 2, 2)
KINDS = 50
WIDTH, HEIGHT = 640, 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=17_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/ingest.json"))
    options = parser.parse_args()
    configure_library_logging()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure_ingest(Path(folder), options.images, options.rounds)
    table = Table("ingest", "right")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


def measure_ingest(folder: Path, num_images: int, rounds: int) -> dict[str, Any]:
    """Return medians over the rounds, in seconds of wall clock and of all CPUs together."""
    bytes_of_images = write_input(folder, num_images)
    ingests, copies, reads, plain = [], [], [], []
    for _ in range(rounds):
        shutil.rmtree(folder / "data", ignore_errors=True)
        ingests.append(measure_time(lambda: _run_ingest(folder)))
        copies.append(measure_time(lambda: _copy_images(folder)))
    samples = UPath(folder / "data" / "refcoco" / "samples")
    tars = [str(get_verified_path(samples, receipt, "tar")) for receipt in read_receipts(samples)]
    for _ in range(rounds):
        reads.append(measure_time(lambda: sum(1 for _ in SampleReader(samples))))
        plain.append(measure_time(lambda: sum(1 for _ in wds.WebDataset(tars, shardshuffle=False))))
    wall = [a[0] for a in ingests]
    return {
        "images": num_images,
        "queries": num_images * sum(SENTENCES_EACH),
        "kilobytes_per_image": bytes_of_images / num_images / 1000,
        "ingest_seconds": median(wall),
        "ingest_cpu_seconds": median(a[1] for a in ingests),
        "tar_copy_seconds": median(a[0] for a in copies),
        "times_a_tar_copy": median(a / b[0] for a, b in zip(wall, copies, strict=True)),
        "read_samples_per_second": num_images / median(a[0] for a in reads),
        "webdataset_samples_per_second": num_images / median(a[0] for a in plain),
        "read_over_webdataset": median(b[0] / a[0] for a, b in zip(reads, plain, strict=True)),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "rounds": rounds,
    }


def measure_time(work: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of wall clock, and seconds of CPU of this process and its children."""
    started, cpu = time.perf_counter(), _get_cpu_seconds()
    work()
    return time.perf_counter() - started, _get_cpu_seconds() - cpu


def _get_cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def write_input(folder: Path, num_images: int) -> int:
    """Write images and REFER files, and return the bytes of all images."""
    (folder / "images").mkdir()
    kinds = [_make_jpeg(kind) for kind in range(KINDS)]
    total = 0
    for number in range(num_images):
        content = _add_comment(kinds[number % KINDS], f"image {number}".encode())
        (folder / "images" / f"{number:012d}.jpg").write_bytes(content)
        total += len(content)
    refs, coco = _make_annotations(num_images)
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    (folder / "instances.json").write_text(json.dumps(coco))
    return total


def _make_jpeg(kind: int) -> bytes:
    """Make coarse shapes with some noise, about 60 kB."""
    random = np.random.default_rng(kind)
    coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
    noisy = np.asarray(coarse, np.int16) + random.normal(0, 8, (HEIGHT, WIDTH, 3)).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def _add_comment(jpeg: bytes, comment: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def _make_annotations(num_images: int) -> tuple[list[Any], dict[str, Any]]:
    """Make seven objects per image; three are targets of two or three sentences each, as in RefCOCO."""
    refs, annotations = [], []
    for image in range(num_images):
        for n in range(OBJECTS_EACH):
            annotation = image * OBJECTS_EACH + n
            box = [10.5 + 80 * n, 20.25, 70.5, 100.0 + n]
            annotations.append({"id": annotation, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0})
            if n < len(SENTENCES_EACH):
                refs.append(_make_ref(image, annotation, n, SENTENCES_EACH[n]))
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(num_images)]
    return refs, {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}


def _make_ref(image: int, annotation: int, number: int, count: int) -> dict[str, Any]:
    first, text = annotation * 3, ("left cup", "second cup from left", "third cup")[number]
    return {
        "sent_ids": list(range(first, first + count)),
        "file_name": f"COCO_train2014_{image:012d}_{annotation}.jpg",
        "ann_id": annotation,
        "ref_id": annotation,
        "image_id": image,
        "split": "train",
        "category_id": 1,
        "sentences": [{"tokens": text.split(), "raw": text, "sent_id": first + i, "sent": text} for i in range(count)],
    }


def _run_ingest(folder: Path) -> None:
    ingest.main(
        ingest.IngestConfig(
            dataset="refcoco",
            annotations=UPath(folder),
            images=UPath(folder / "images"),
            split_by="unc",
            data=UPath(folder / "data"),
            executor=ExecutorConfig(),
        )
    )


def _copy_images(folder: Path) -> None:
    with tarfile.open(folder / "copy.tar", "w") as tar:
        for path in sorted((folder / "images").iterdir()):
            tar.add(path, path.name)


if __name__ == "__main__":
    main()
