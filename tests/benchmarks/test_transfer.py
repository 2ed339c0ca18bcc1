"""The benchmark of queries that people wrote: its data, and a network that chooses instances."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from augmentation.composers.photographs import PhotographsConfig
from benchmarks.transfer import Trainer, choose_largest, count_by_rule, join_types, select
from benchmarks.transfer_network import (
    MAX_INSTANCES,
    InstanceImage,
    TargetedQuery,
    TextFeatures,
    TrainingConfig,
    compute_box_features,
    is_chosen,
    keep_largest,
    train_chooser,
)
from benchmarks.transfer_queries import DATASETS, PeopleQueries, Photographs, read_people_queries

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "left", "right", "dog")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> TextFeatures:
    """Features of a small BERT with random weights."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    return TextFeatures(folder)


def _row(query: str, box: Sequence[float], **changes: Any) -> dict[str, Any]:
    boxes = [[0, 0, 50, 100], [100, 0, 100, 100]]
    return {
        "image": "a.jpg",
        "query": query,
        "bbox_xywh": box,
        "category": "sofa",
        "size": [200, 100],
        "same_category_boxes_xywh": boxes,
        **changes,
    }


def test_people_s_queries_have_targets_among_all_known_instances_of_the_image(tmp_path: Path) -> None:
    rows = [_row("left couch", [0.04, 0, 50.01, 100]), _row("2nd from the back", [100, 0, 100, 100])]
    other = _row("dog", [0, 0, 20, 20], category="dog", same_category_boxes_xywh=[[0, 0, 20, 20]])
    for stem, of_file in zip(DATASETS.values(), (rows, [other], []), strict=True):
        with gzip.open(tmp_path / f"{stem}_val.joined.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in of_file)
    people = read_people_queries(tmp_path)
    ((boxes, categories),) = people.images
    assert categories == ("couch", "couch", "dog") and boxes[1] == (0.5, 0, 1, 1)
    assert [query.target for query in people.queries] == [0, 1, 2]
    assert {"RefCOCO", "positional", "left, right", "1 distractor"} < people.groups[0]
    assert {"RefCOCO", "positional", "ordinal", "front, back"} < people.groups[1]
    assert {"RefCOCO+", "other"} < people.groups[2]
    assert select(people, "RefCOCO", "ordinal") == [1]
    assert choose_largest(people).tolist() == [0, 1, 0]


def test_ordinals_count_salient_objects_of_the_targets_category() -> None:
    boxes = ((0.8, 0, 1, 1), (0, 0, 0.2, 1), (0.3, 0, 0.31, 0.1), (0.4, 0, 0.6, 1), (0.2, 0, 0.4, 1))
    image = InstanceImage(boxes, ("dog", "dog", "dog", "dog", "cat"))
    texts = {"second dog from left": 3, "dog 2nd from the right": 3, "fourth from left": 0, "second in left row": 0}
    group = frozenset({"RefCOCO", "reporting half", "ordinal", "left, right"})
    people = PeopleQueries(
        images=(image,),
        queries=tuple(TargetedQuery(0, text, target) for text, target in texts.items()),
        image_names=("a.jpg",) * len(texts),
        groups=(group,) * len(texts),
    )
    assert count_by_rule(people, PhotographsConfig()) == {"queries": 3, "right": 66.67}


def test_queries_about_photographs_are_about_salient_instances(tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 30], [60, 0, 30, 30]]
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    photographs, limits = Photographs.read(tmp_path / "instances.json"), PhotographsConfig()
    assert photographs.name_categories(limits) == [TargetedQuery(0, "dog", 1), TargetedQuery(0, "dog", 2)]
    assert TargetedQuery(0, "left dog", 1) in photographs.apply_rules(limits)
    by_type = photographs.verify_programs(limits)
    assert {query.target for query in by_type["side"]} == {1, 2}
    assert join_types(by_type, without=list(by_type)) == []


def test_the_largest_instances_and_their_queries_are_kept() -> None:
    boxes = tuple((0.0, 0.0, 0.1 + 0.01 * i, 0.1) for i in range(MAX_INSTANCES + 2))
    image = InstanceImage(boxes, ("dog",) * len(boxes))
    (kept,), queries = keep_largest([image], [TargetedQuery(0, "left", len(boxes) - 1), TargetedQuery(0, "right", 0)])
    assert len(kept.boxes) == MAX_INSTANCES and queries == [TargetedQuery(0, "left", 0)]


def test_box_features_have_edges_center_size_and_area() -> None:
    (row,) = compute_box_features([(0.0, 0.25, 0.5, 0.75)]).tolist()
    assert row == pytest.approx([-1, -0.5, 0, 0.5, -0.5, 0, 1, 1, np.log(0.25) / 3])


def test_a_network_learns_left_and_right_from_queries(texts: TextFeatures) -> None:
    images = [InstanceImage(((0.0, 0.0, 0.2, 0.5), (0.5 + 0.01 * i, 0.0, 0.9, 0.5)), ("dog", "dog")) for i in range(20)]
    images += [InstanceImage((boxes[1], boxes[0]), names) for boxes, names in images]
    queries = [
        TargetedQuery(number, word, int((word == "left") == (number >= 20)))
        for number in range(40)
        for word in ("left", "right")
    ]
    config = TrainingConfig(steps=60, images_per_step=16, width=32, num_layers=1, learning_rate=3e-3)
    network = train_chooser(images, queries, texts, 0, config)
    assert is_chosen(network, images, queries, texts).mean() > 0.9


def test_a_finished_training_is_not_repeated(texts: TextFeatures, tmp_path: Path) -> None:
    images = [InstanceImage(((0.0, 0.0, 0.2, 0.5), (0.6, 0.0, 0.9, 0.5)), ("dog", "dog"))]
    queries = [TargetedQuery(0, "left", 0), TargetedQuery(0, "right", 1)]
    trainer = Trainer(texts, TrainingConfig(steps=2, images_per_step=1, width=32, num_layers=1), tmp_path)
    first = trainer.choose(images, queries, images, queries, 0)
    (finished,) = tmp_path.iterdir()
    np.save(finished, ~first)
    assert (trainer.choose(images, queries, images, queries, 0) == ~first).all()  # read, not trained again
    trainer.choose(images, queries[:1], images, queries, 0)
    assert len(list(tmp_path.iterdir())) == 2
