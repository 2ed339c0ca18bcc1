"""Are generated phrases as varied as people's? Words, lengths and articles of each style beside real queries.

    make benchmark NAME=phrases ARGS="--real FOLDER --photographs FOLDER"

``--photographs`` is a folder with images/ and instances.json in COCO's layout; ``--real`` holds the joined validation
splits. The styles are measured on images with an even id, and the figures compare with those with an odd id. Scenes of
the miniature world are pasted and labeled as pasted. Prints a table and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, get_args

from augmentation.composers.composed import ComposedScene
from augmentation.composers.photographs import PhotographsConfig
from augmentation.detection.detected import DetectedScene
from augmentation.detection.ground_truth import GroundTruthStage
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.queries.labeling import LabelConfig, LabelStage
from augmentation.queries.photograph_labeling import LabelPhotographStage
from augmentation.queries.templates import Style
from benchmarks.scenes import REAL_SPLITS, make_items, make_miniature_composer
from shards.schema import Sample
from shards.sources.coco import CocoInstances
from workflows.cli.console import configure_library_logging
from workflows.presets import coco
from workflows.reports.query_statistics import compare_texts, print_words

NUM_QUERIES = {"refcoco": 1898, "refcoco+": 515, "refcocog": 1898}
"""Number of compared queries by style: distinct-n falls with it, so it stays the same."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder with the joined validation splits")
    parser.add_argument("--photographs", type=Path, required=True, help="folder with images/ and instances.json")
    parser.add_argument("--count", type=int, default=4480, help="maximum number of photographs")
    parser.add_argument("--scenes", type=int, default=150, help="number of pasted scenes")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/phrases.json"))
    options = parser.parse_args()
    configure_library_logging()
    figures: dict[str, Any] = {}
    pasted, vocabulary = make_miniature_scenes(options.scenes)
    for dataset in get_args(Style):
        real = list(read_real_queries(options.real / REAL_SPLITS[dataset], parity=1))
        for style in (dataset, f"{dataset}-measured"):
            texts = {
                "photographs": label_photographs(options.photographs, options.count, style),
                "miniature": label_miniature(pasted, vocabulary, style),
            }
            for kind, ours in texts.items():
                ours, theirs = (Random(0).sample(some, min(NUM_QUERIES[dataset], len(some))) for some in (ours, real))
                figures |= compare_texts({f"{style}, {kind}": ours, f"{style}, {kind}: real": theirs})
    print_words(figures)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


def read_real_queries(path: Path, parity: int) -> Iterator[str]:
    """Read the queries about images with an even id (``parity`` 0) or an odd one (1)."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["image_id"] % 2 == parity:
                yield str(record["query"])


def label_photographs(folder: Path, count: int, style: str) -> list[str]:
    """Label photographs in COCO's vocabulary, and return their queries."""
    words = coco.vocabulary()
    stage = LabelPhotographStage(
        PhotographsConfig(), LabelConfig(style=style), words.categories, seed=0, nouns=words.nouns
    )
    stage.setup()
    images = sorted(CocoInstances(folder / "instances.json"), key=lambda image: image.name)
    texts: list[str] = []
    for image in Random(0).sample(images, min(count, len(images))):
        assert image.size is not None
        sample = Sample(
            key=Path(image.name).stem,
            width=image.size[0],
            height=image.size[1],
            image_name=image.name,
            image=(folder / "images" / image.name).read_bytes(),
            instances=image.instances,
            queries=(),
        )
        labeled = stage.process_item(sample)
        texts += [query.text for query in labeled.queries] if isinstance(labeled, Sample) else []
    return texts


def make_miniature_scenes(count: int) -> tuple[list[DetectedScene], VocabularyConfig]:
    """Paste scenes of the miniature world, and take the objects as pasted for detections."""
    with TemporaryDirectory() as scratch:
        composer, vocabulary = make_miniature_composer(Path(scratch))
        composer.setup()
        ground_truth = GroundTruthStage(vocabulary, optional_attributes=("pattern",))
        composed = composer.process(make_items(vocabulary, "pasted", count))
    detected = ground_truth.process([one for one in composed if isinstance(one, ComposedScene)])
    return [one for one in detected if isinstance(one, DetectedScene)], vocabulary


def label_miniature(scenes: list[DetectedScene], vocabulary: VocabularyConfig, style: str) -> list[str]:
    """Label scenes of the miniature world, and return their queries."""
    stage = LabelStage(LabelConfig(style=style), plurals=vocabulary.categories)
    stage.setup()
    samples = (one for one in stage.process(scenes) if isinstance(one, Sample))
    return [query.text for sample in samples for query in sample.queries]


if __name__ == "__main__":
    main()
