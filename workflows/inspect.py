"""Check a dataset before you ingest it.

    python -m workflows.inspect refcoco --annotations refer/refcoco --split-by unc --images train2014
    python -m workflows.inspect mine --format table --annotations mine.csv --images photos --against test-images.txt
    python -m workflows.inspect mine --format table --annotations mine.csv --images photos --write-style mine.json

Prints counts beside the published ones, missing and broken files, distractors, words, sizes, and images that splits
share. Writes them to ``inspection.json``, every problem to ``problems.jsonl`` and some samples to ``samples.png``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import tyro
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from upath import UPath

from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.queries.measured_style import MeasuredQuery, measure_style
from generation.parsing.coco_categories import COCO_CATEGORIES
from pipeline import NotNegativeInt, write_atomic
from shards.images import ImageError, decode_rgb_image, encode_png, read_image, resolve_image_path
from shards.schema import find_distractors
from shards.sources.published_sizes import get_published_queries
from shards.sources.sample import Problem, SourceSample
from shards.sources.screening import Screening, screen_dataset
from shards.sources.validation import ValidationResult, drop_invalid_boxes
from shards.tiles import DISTRACTOR, TRUTH, make_sheet, make_tile
from workflows.cli.annotation_options import DEFAULT_MAX_DROPPED, AnnotationsConfig, read, validate_annotations
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import write_lines
from workflows.presets import coco, miniature
from workflows.reports import dataset_statistics


@dataclass(frozen=True, kw_only=True)
class InspectConfig(AnnotationsConfig):
    """Dataset, and images to compare it with."""

    dataset: tyro.conf.Positional[str]
    """Name of the dataset; published counts are known for refcoco, refcoco+, refcocog, referit and flickr30k."""

    against: Path | None = None
    """Images that the dataset must not contain: a text file with one name per line, or a folder, which is also compared
    by content."""

    num_images: NotNegativeInt = 32
    """Number of samples in ``samples.png``."""

    seed: int = 0
    """Seed of the choice of samples in ``samples.png``."""

    write_style: Path | None = None
    """File to write the style of the queries with one target to, for ``augment --label.style FILE``: how often they use
    each relation type, length, template and word. It holds no query, and no word beyond function words and the
    vocabulary's nouns."""

    output: UPath | None = None
    """Folder of the report; ``<data>/<dataset>/inspection`` by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.against and not self.against.exists():
            raise ValueError(f"{self.against} does not exist; give a list of names or a folder of images")


def main(config: InspectConfig) -> None:
    """Read and check the dataset, then print and write its figures."""
    output = config.output or config.paths.root / "inspection"
    samples = read(config)
    if not samples:
        raise UserError(f"{config.annotations} contains no query; check --format and --annotations")
    validation = validate_annotations(config, samples)
    problems = [*find_problems(samples, validation), *find_broken_images(config, validation.samples)]
    figures = compute_figures(config, samples, validation, problems)
    print_figures(config.dataset, figures)
    write_atomic(output / "inspection.json", json.dumps(figures, indent=1))
    write_lines(output / "problems.jsonl", problems)
    print_path("figures and problems saved to", output)
    draw_samples(config, validation, output / "samples.png")
    if config.write_style:
        write_style(
            config.write_style, samples, miniature.vocabulary() if config.dataset == "miniature" else coco.vocabulary()
        )


def write_style(path: Path, samples: list[SourceSample], vocabulary: VocabularyConfig) -> None:
    """Measure the style of the queries with one target, and write it as JSON."""
    coco_names = {words.label: name for name, words in COCO_CATEGORIES.items() if words.label}
    measured = []
    for sample in samples:
        for query in sample.queries:
            if len(query.boxes_xyxy) != 1:
                continue
            category = "" if query.instance is None else sample.instances[query.instance].category
            target = f"{sample.image_name} {query.box_xyxy}"
            measured.append(MeasuredQuery(text=query.text, category=coco_names.get(category, category), target=target))
    measure_style(measured, {name: vocabulary.nouns.get(name, ()) for name in vocabulary.categories}).write(path)
    print_path("style of the queries saved to", path)


def find_problems(samples: list[SourceSample], validation: ValidationResult) -> list[Problem]:
    """Return all problems; those of boxes and words also if the image is missing but its size is known."""
    of_queries = ("bad_box", "bad_instance", "clipped_box", "empty_query", "long_query")
    problems = [problem for problem in validation.problems if problem.rule not in of_queries]
    for sample in samples:
        if size := validation.sizes.get(sample.image_name, sample.size):
            drop_invalid_boxes(sample, size, problems)
    return problems


def find_broken_images(config: InspectConfig, samples: list[SourceSample]) -> Iterator[Problem]:
    """Yield a problem for each image that does not decode completely."""
    queries = Counter({sample.image_name: 0 for sample in samples})
    for sample in samples:
        queries[sample.image_name] += len(sample.queries)
    for name, count in track(queries.items(), "reading images", console=console, transient=True):
        try:
            read_image(resolve_image_path(config.images, name, allow_links=config.allow_links))
        except ImageError as error:
            yield Problem(rule=error.rule, image=name, num_queries=count, detail=str(error))


def compute_figures(
    config: InspectConfig, samples: list[SourceSample], validation: ValidationResult, problems: list[Problem]
) -> dict[str, Any]:
    """Return all figures, as in ``inspection.json``."""
    names = list(validation.sizes)
    sized = [replace(sample, size=validation.sizes.get(sample.image_name, sample.size)) for sample in samples]
    folder = UPath(config.against) if config.against and config.against.is_dir() else None
    against = dataset_statistics.read_image_list(config.against) if config.against else []
    return {
        "splits": dataset_statistics.count_splits(
            samples, get_published_queries(config.dataset, config.format, config.split_by)
        ),
        "available_images": len(names),
        "screening": vars(screen_dataset(samples, validation, config.table_box_format)),
        "problems": dataset_statistics.count_problems(problems),
        "duplicates": dataset_statistics.count_duplicates(samples),
        "targets": dataset_statistics.count_targets(samples),
        "distractors": dataset_statistics.count_by_distractors(samples),
        "words": dataset_statistics.compute_word_statistics(
            query.text for sample in samples for query in sample.queries
        ),
        "box_sizes": dataset_statistics.summarize_box_sizes(sized),
        "shared_images": dataset_statistics.count_shared_images(samples, against),
        "same_content": dataset_statistics.find_same_content(names, config.images, folder),
    }


def print_figures(dataset: str, figures: Mapping[str, Any]) -> None:
    """Print a table of the splits and lines of the other figures."""
    table = Table(title=f"{dataset}: queries, refs (different targets) and images of each split")
    for column in ("split", "queries", "published", "refs", "images"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, counts in figures["splits"].items():
        published, num_read = counts["published_queries"], counts["queries"]
        difference = "" if num_read == published else " (differs)" if num_read else " (not read)"
        published_text = "" if published is None else f"{published:,}{difference}"
        table.add_row(
            escape(split), f"{counts['queries']:,}", published_text, f"{counts['refs']:,}", f"{counts['images']:,}"
        )
    console.print(table)
    if "train" in figures["splits"] and "val" not in figures["splits"]:
        console.print("there is no split val, which `make train` needs; hold images out with --val-share 0.1")
    console.print(f"available images: {figures['available_images']:,}")
    for rule, counts in figures["problems"].items():
        console.print(f"  {rule}: {counts['times']:,} times, {counts['queries']:,} queries")
    screening = Screening(**figures["screening"])
    if fault := screening.find_fault(DEFAULT_MAX_DROPPED) or "; ".join(screening.causes):
        console.print(f"[yellow]the dataset as a whole:[/] {escape(fault)}")
    duplicates = figures["duplicates"]
    console.print(
        f"duplicates: {duplicates['same_words_same_target']:,} queries repeat another one about the same object; "
        f"{duplicates['same_words_another_target']:,} have the words of a query about another object of the image"
    )
    targets = figures["targets"]
    if targets["none"] or targets["several"]:
        console.print(f"targets of a query: {', '.join(f'{name} {count:,}' for name, count in targets.items())}")
    num_with_target = sum(figures["distractors"].values())
    groups = (f"{group} {_format_percent(count / num_with_target)}" for group, count in figures["distractors"].items())
    console.print(f"distractors of the target's category: {', '.join(groups)}")
    if figures["distractors"].get("unknown"):
        console.print(
            "they are unknown without all objects of the target's category: give instances (docs/datasets.md)"
        )
    _print_words(figures["words"], figures["box_sizes"])
    _print_leaks(figures["shared_images"], figures["same_content"])


def _print_words(words: Mapping[str, float], sizes: Mapping[str, float]) -> None:
    if words:
        console.print(
            f"words: {words['mean_words']:.1f} per query (median {words['median_words']:g}, 95 % up to "
            f"{words['p95_words']:g}, longest {words['longest']}), {words['different_words']:,} different; a spatial "
            f"word in {_format_percent(words['spatial_share'])}, a color in {_format_percent(words['color_share'])}"
        )
    if "median_share" in sizes:
        console.print(
            f"targets: median {_format_percent(sizes['median_share'])} of the image (90 % between "
            f"{_format_percent(sizes['p5_share'])} and {_format_percent(sizes['p95_share'])}); small "
            f"{_format_percent(sizes['small'])}, "
            f"medium {_format_percent(sizes['medium'])}, large {_format_percent(sizes['large'])}"
        )


def _print_leaks(shared: Mapping[str, int], same: list[list[str]]) -> None:
    for pair, count in shared.items():
        console.print(f"[yellow]leak:[/] {escape(pair)} share {count:,} images")
    if not shared:
        console.print("leaks: no two splits share an image, by name")
    if same:
        first = escape(", ".join(same[0]))
        console.print(f"[yellow]identical files under different names:[/] {len(same):,} times, first {first}")


def _format_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def draw_samples(config: InspectConfig, validation: ValidationResult, path: UPath) -> None:
    """Save a sheet of samples with one query each: its target green, distractors orange."""
    chosen = Random(config.seed).sample(validation.samples, min(config.num_images, len(validation.samples)))
    tiles = []
    for number, sample in enumerate(chosen):
        query = sample.queries[number % len(sample.queries)]
        try:
            content, _ = read_image(
                resolve_image_path(config.images, sample.image_name, allow_links=config.allow_links)
            )
        except ImageError:
            continue
        distractors = find_distractors(sample, query) or []
        boxes = [(sample.instances[i].box_xyxy, DISTRACTOR) for i in distractors]
        targets = [(box, TRUTH) for box in query.boxes_xyxy]
        tiles.append(make_tile(decode_rgb_image(content), query.text, [*boxes, *targets]))
    if not tiles:
        console.print("no image is available, so samples.png was not written")
        return
    write_atomic(path, encode_png(make_sheet(tiles, columns=8)))
    print_path(f"{len(tiles)} samples saved to", path)


if __name__ == "__main__":
    run(main, InspectConfig, __doc__)
