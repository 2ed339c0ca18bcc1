"""Measure which training queries teach what people mean, on people's queries about photographs, without pixels.

    make benchmark NAME=transfer
    make benchmark NAME=transfer ARGS="--seeds 1 --steps 100 --ablate"

A small network chooses the instance that a query means, among the annotated instances of an image
(``benchmarks.transfer_network``). It is trained on queries about annotated photographs: category names, Pseudo-Q's
rules, or the verified programs of ``make augment ARGS="--composers photographs"``, in the style of RefCOCO or in the
three measured styles ("varied"). It is tested on all validation
queries that people wrote for RefCOCO, RefCOCO+ and RefCOCOg. Their images are none of the training photographs. The
limits of programs were chosen on one half of the test images (by the hash of the name), so figures are of the other
half. "people" is trained on people's queries, cross-validated by image. Intervals are bootstrapped by image.

``--real`` is a folder of ``<name>_val.joined.jsonl.gz``, rows of the split files joined with COCO's boxes.
``--photographs`` is an instances file in COCO's layout. Needs the extra ``transfer``. The complete run takes an hour
on one core. ``--finished`` is a folder with the choices of each finished training: by the same command you resume, and
train only the variants whose queries changed. Delete it if you change the network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from augmentation.composers.photographs import PhotographsConfig
from augmentation.queries.measured_style import SHIPPED
from augmentation.relations.types import RelationType
from benchmarks.transfer_network import (
    InstanceImage,
    TargetedQuery,
    TextFeatures,
    TrainingConfig,
    find_minilm,
    is_chosen,
    train_chooser,
)
from benchmarks.transfer_queries import DATASETS, PeopleQueries, Photographs, read_people_queries
from shards.boxes import Box
from trainer.evaluation.bootstrap import compute_intervals

OUTPUT = Path("benchmarks/results/transfer.json")
NUM_FOLDS = 5
PEOPLE_FACTOR = 2
"""Factor of the steps on people's queries, whose words are more varied."""

FACTOR = 2
"""Factor of the number of queries that people write about an object, for the varied phrases."""

ALL_SIZES = 1e-9
"""Minimum area of a salient object if all are."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "all": (),
    **{
        name: (name,)
        for name in (
            *("positional", "other", "1 distractor", "2-3 distractors", "4+ distractors"),
            *("left, right", "ordinal", "front, back", "middle", "top, bottom", "size", "relation"),
        )
    },
}
"""Groups of queries, by what they have."""

PARTS = {name: GROUPS[name] for name in ("all", "positional")}
"""Groups of the comparisons."""

SHOWN = ("positional", "other", "1 distractor", "2-3 distractors", "4+ distractors")
COMPARISONS = (
    *(("programs", "rules"), ("programs", "rules, salient"), ("programs", "category")),
    *(("varied", "programs"), ("people", "programs")),
)

ORDINAL = re.compile(r"\b(first|1st|second|2nd|third|3rd|fourth|4th)\b.*\b(left|right)\b")
IN_ROWS = re.compile(r"\b(top|bottom|row|front|back)\b")
RANKS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
"""Patterns of ordinals that ``count_by_rule`` reads."""

Shares = npt.NDArray[np.float64]
"""Share of the seeds that are right, by query."""

Choices = npt.NDArray[np.bool_]
"""(seeds, queries) bool, whether the target is chosen."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, default=Path("../shared/real"))
    parser.add_argument("--photographs", type=Path, default=Path("../shared/photographs/instances.json"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=TrainingConfig().steps)
    parser.add_argument("--ablate", action="store_true", help="leave out each relation type, one seed")
    parser.add_argument("--finished", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, config, console = time.perf_counter(), TrainingConfig(steps=options.steps), Console(stderr=True)
    people, photographs = read_people_queries(options.real), Photographs.read(options.photographs)
    trainer = Trainer(TextFeatures(find_minilm()), config, options.finished)
    limits = PhotographsConfig()
    by_type = photographs.verify_programs(limits)
    variants = {
        "category": photographs.name_categories(limits),
        "rules": photographs.apply_rules(replace(limits, min_area=ALL_SIZES)),
        "rules, salient": photographs.apply_rules(limits),
        "programs": join_types(by_type, limits.excluded_types),
        "varied": vary_phrases(photographs, limits),
    }
    shares = {"largest box": choose_largest(people)}
    by_seed: dict[str, Any] = {}
    for name, queries in variants.items():
        choices = measure_variant(photographs, queries, people, trainer, range(options.seeds))
        shares[name], by_seed[name] = choices.mean(0), summarize_seeds(choices, people)
        console.print(f"{name}: {len(queries):,} queries, {time.perf_counter() - start:.0f} s")
    shares["people"] = cross_validate(people, trainer)
    console.print(f"people: {len(people.queries):,} queries, {time.perf_counter() - start:.0f} s")
    ablations: dict[str, Any] = {}
    for name, queries in list_ablations(by_type, limits) if options.ablate else ():
        values = measure_variant(photographs, queries, people, trainer, range(1)).mean(0)
        ablations[name] = summarize_ablation(values, len(queries), people)
        console.print(f"{name}: {ablations[name]}, {time.perf_counter() - start:.0f} s")
    record = build_record(shares, variants, people, limits, config, options.seeds)
    record |= {"accuracy_by_seed": by_seed, "ordinals_by_rule": count_by_rule(people, limits)}
    record |= {"ablations_on_the_choosing_half": ablations, "seconds": round(time.perf_counter() - start)}
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    show(record)


def build_record(
    shares: Mapping[str, Shares],
    variants: Mapping[str, Sequence[TargetedQuery]],
    people: PeopleQueries,
    limits: PhotographsConfig,
    config: TrainingConfig,
    num_seeds: int,
) -> dict[str, Any]:
    """Build the record of the variants as JSON values."""
    return {
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count(), "torch": torch.__version__},
        "seeds": num_seeds,
        "training": asdict(config),
        "limits": {name: value for name, value in asdict(limits).items() if name not in ("images", "instances")},
        "training_queries": {name: len(queries) for name, queries in variants.items()},
        "training_photographs": {name: len({one.image for one in queries}) for name, queries in variants.items()},
        "people_queries_of_the_reporting_half": {
            name: len(select(people, name, "reporting half")) for name in DATASETS
        },
        "accuracy": {name: summarize(values, people) for name, values in shares.items()},
        "differences": {
            f"{a} less {b}": {
                dataset: {group: compare(shares[a], shares[b], people, dataset, *part) for group, part in PARTS.items()}
                for dataset in DATASETS
            }
            for a, b in COMPARISONS
            if {a, b} <= shares.keys()
        },
    }


def join_types(by_type: Mapping[RelationType, list[TargetedQuery]], without: Sequence[str]) -> list[TargetedQuery]:
    """Join the queries of all relation types but some, in the order of the photographs."""
    kept = [query for relation_type, queries in by_type.items() if relation_type not in without for query in queries]
    return sorted(kept, key=lambda query: query.image)


def vary_phrases(photographs: Photographs, limits: PhotographsConfig) -> list[TargetedQuery]:
    """Return the verified queries in the measured styles, each query about an object once."""
    queries = [
        query
        for style in SHIPPED
        for query in join_types(photographs.verify_programs(limits, style, FACTOR), limits.excluded_types)
    ]
    return sorted(dict.fromkeys(queries), key=lambda query: query.image)


def choose_largest(people: PeopleQueries) -> Shares:
    """Return for each query whether the largest instance of its image is the target."""
    largest = [
        max(
            range(len(image.boxes)),
            key=lambda i: (image.boxes[i][2] - image.boxes[i][0]) * (image.boxes[i][3] - image.boxes[i][1]),
        )
        for image in people.images
    ]
    return np.array([float(largest[query.image] == query.target) for query in people.queries])


class Trainer:
    """Trains networks and tests them; it keeps the choices of each training in a folder, and trains none again.

    Args:
        texts: features of texts.
        config: sizes and duration of a training.
        finished: folder of the choices.
    """

    def __init__(self, texts: TextFeatures, config: TrainingConfig, finished: Path) -> None:
        self._texts, self._config, self._finished = texts, config, finished

    def choose(
        self,
        images: Sequence[InstanceImage],
        queries: Sequence[TargetedQuery],
        tested_images: Sequence[InstanceImage],
        tested: Sequence[TargetedQuery],
        seed: int,
        factor: int = 1,
    ) -> npt.NDArray[np.bool_]:
        """Train with ``factor`` times the steps; return for each tested query whether its target is chosen."""
        config = replace(self._config, steps=factor * self._config.steps)
        facts = json.dumps([asdict(config), seed, queries, tested])
        path = self._finished / f"{hashlib.sha256(facts.encode()).hexdigest()}.npy"
        if not path.is_file():
            network = train_chooser(images, queries, self._texts, seed, config)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, is_chosen(network, tested_images, tested, self._texts))
        choices: npt.NDArray[np.bool_] = np.load(path)
        return choices


def measure_variant(
    photographs: Photographs,
    queries: Sequence[TargetedQuery],
    people: PeopleQueries,
    trainer: Trainer,
    seeds: Sequence[int],
) -> Choices:
    """Train with each seed on queries about photographs; return the choices for people's queries."""
    return np.stack(
        [trainer.choose(photographs.images, queries, people.images, people.queries, seed) for seed in seeds]
    )


def cross_validate(people: PeopleQueries, trainer: Trainer) -> Shares:
    """Train on people's queries about four fifths of the images, and test on the rest, for each fifth."""
    shares = np.zeros(len(people.queries))
    for fold in range(NUM_FOLDS):
        queries = [one for one in people.queries if one.image % NUM_FOLDS != fold]
        tested = [i for i, one in enumerate(people.queries) if one.image % NUM_FOLDS == fold]
        rows = [people.queries[i] for i in tested]
        shares[tested] = trainer.choose(people.images, queries, people.images, rows, fold, PEOPLE_FACTOR)
    return shares


def list_ablations(
    by_type: Mapping[RelationType, list[TargetedQuery]], limits: PhotographsConfig
) -> Iterator[tuple[str, list[TargetedQuery]]]:
    """Yield the programs, programs without each relation type, and with each excluded one."""
    excluded = limits.excluded_types
    yield "programs", join_types(by_type, excluded)
    for relation_type in sorted(by_type):
        if relation_type in excluded:
            yield f"with {relation_type}", join_types(by_type, [one for one in excluded if one != relation_type])
        else:
            yield f"without {relation_type}", join_types(by_type, (*excluded, relation_type))


def count_by_rule(people: PeopleQueries, limits: PhotographsConfig) -> dict[str, float]:
    """Take the n-th salient object from a side, by center, for RefCOCO's queries such as "second man from left".

    Returns:
        Number of these queries on the reporting half, and the share of right choices in percent.
    """
    right = []
    for row in select(people, "RefCOCO", "reporting half", "ordinal", "left, right"):
        query, image = people.queries[row], people.images[people.queries[row].image]
        if (found := ORDINAL.search(query.text.lower())) and not IN_ROWS.search(query.text.lower()):
            rank, category = RANKS[found[1]], image.categories[query.target]
            row_of_objects = sorted(
                (i for i, box in enumerate(image.boxes) if image.categories[i] == category and is_salient(box, limits)),
                key=lambda i: image.boxes[i][0] + image.boxes[i][2],
                reverse=found[2] == "right",
            )
            right.append(row_of_objects[rank - 1 : rank] == [query.target])
    return {"queries": len(right), "right": round(100 * float(np.mean(right)), 2)}


def is_salient(box: Box, limits: PhotographsConfig) -> bool:
    """Return whether a box, in shares of the image, is as large as a salient object's."""
    return (box[2] - box[0]) * (box[3] - box[1]) >= limits.min_area


def select(people: PeopleQueries, *groups: str) -> list[int]:
    """Return the indices of the queries that are of all groups."""
    return [i for i, own in enumerate(people.groups) if own.issuperset(groups)]


def summarize(values: Shares, people: PeopleQueries) -> dict[str, dict[str, float]]:
    """Return accuracies in percent on the reporting half, by dataset and group of queries; not of empty groups."""
    return {
        dataset: {
            group: round(100 * float(values[rows].mean()), 2)
            for group, part in GROUPS.items()
            if (rows := select(people, dataset, "reporting half", *part))
        }
        for dataset in DATASETS
    }


def summarize_seeds(choices: Choices, people: PeopleQueries) -> dict[str, list[float]]:
    """Return accuracies in percent of each seed on the reporting half, by dataset: a seed that did not learn shows."""
    return {
        dataset: [round(100 * float(of_seed[rows].mean()), 2) for of_seed in choices]
        for dataset in DATASETS
        if (rows := select(people, dataset, "reporting half"))
    }


def summarize_ablation(values: Shares, num_queries: int, people: PeopleQueries) -> dict[str, Any]:
    """Return accuracies in percent on the choosing half."""
    means = {name: round(100 * float(values[select(people, name, "choosing half")].mean()), 2) for name in DATASETS}
    return {"queries": num_queries, **means}


def compare(first: Shares, second: Shares, people: PeopleQueries, *groups: str) -> list[float]:
    """Return the difference in points with its interval, paired by query and resampled by image."""
    rows = select(people, *groups, "reporting half")
    (interval,) = compute_intervals(100 * (first - second)[rows], [people.image_names[i] for i in rows])
    return [round(value, 2) for value in (interval.mean, interval.low, interval.high)]


def show(record: Mapping[str, Any]) -> None:
    """Print the accuracies and differences as tables."""
    table = Table("trained on", *DATASETS, *(f"RefCOCO, {name}" for name in SHOWN), title="targets chosen (%)")
    for name, accuracy in record["accuracy"].items():
        cells = [accuracy[dataset]["all"] for dataset in DATASETS] + [accuracy["RefCOCO"][group] for group in SHOWN]
        table.add_row(name, *(f"{cell:.1f}" for cell in cells))
    console = Console()
    console.print(table)
    for name, by_dataset in record["differences"].items():
        for dataset, (mean, low, high) in ((dataset, of["all"]) for dataset, of in by_dataset.items()):
            console.print(f"{name}, {dataset}: {mean:+.1f} ({low:.1f} to {high:.1f})")
    for name, means in record["ablations_on_the_choosing_half"].items():
        console.print(f"  {name}: {means}")


if __name__ == "__main__":
    main()
