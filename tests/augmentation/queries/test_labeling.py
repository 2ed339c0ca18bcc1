"""Samples of detected scenes: boxes, queries and pixels."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scene_examples import SPEC, THREE, label_detections, label_scene, make_detections, request_boxes

from augmentation.composers.composed import ComposedScene
from augmentation.detection.detected import DetectedScene
from augmentation.planning.scene_spec import SceneSpec
from augmentation.queries.labeling import LabelConfig
from augmentation.relations.evaluator import evaluate_program
from augmentation.relations.programs import from_json
from augmentation.relations.scene import Scene, SceneObject
from augmentation.relations.types import get_relation_type
from shards.boxes import Box
from shards.schema import Sample


def test_three_cups_in_a_row_become_a_sample_with_true_queries() -> None:
    sample = label_detections(make_detections(*THREE))
    assert isinstance(sample, Sample)
    assert [instance.box_xyxy for instance in sample.instances] == list(THREE)
    assert [query.instance for query in sample.queries] == [0, 1, 1, 1, 2, 2]
    assert [get_relation_type(query.program or {}) for query in sample.queries[:4]] == [
        "side",
        "middle",
        "ordinal",
        "region",
    ]
    assert {query.source for query in sample.queries} == {"prompted"}
    assert {query.split for query in sample.queries} == {"train"}
    assert [query.query_id for query in sample.queries][:2] == ["scene-1-00", "scene-1-01"]
    scene = Scene(width=100, height=80, objects=tuple(SceneObject(box_xyxy=box, category="cup") for box in THREE))
    for query in sample.queries:
        assert query.program is not None and query.instance is not None
        assert evaluate_program(from_json(query.program), scene) == {query.instance}
        assert query.box_xyxy == THREE[query.instance]
    assert [sample.count_distractors(query) for query in sample.queries] == [2] * 6


def test_the_stored_picture_is_the_detected_one_pixel_by_pixel_and_byte_by_byte() -> None:
    sample, again = label_detections(make_detections(*THREE)), label_detections(make_detections(*THREE))
    assert isinstance(sample, Sample) and isinstance(again, Sample)
    assert sample == again and sample.image == again.image
    image = np.asarray(Image.open(io.BytesIO(sample.image)))
    assert image.shape == (80, 100, 3) and (image[0, :2, 0] == [17, 200]).all()


def test_a_scene_is_labelled_by_what_was_found_not_by_what_was_asked() -> None:
    two = label_detections(make_detections(*THREE[:2]))
    assert isinstance(two, Sample) and len(two.instances) == 2
    assert not any(query.program and query.program["op"] in ("ordinal", "middle") for query in two.queries)


def test_the_style_of_the_data_set_decides_how_things_are_said() -> None:
    detections = [*make_detections(*THREE[:2], color="red"), *make_detections(THREE[2], color="blue")]
    sample = label_detections(detections, LabelConfig(style="refcoco+", queries_per_relation_type=50))
    assert isinstance(sample, Sample)
    texts = {query.text for query in sample.queries}
    assert texts & {"blue cup", "the blue cup"}
    assert not any(word in text.split() for text in texts for word in ("left", "right", "middle", "first", "1st"))


def test_depth_is_said_only_where_every_thing_lies_where_it_was_put() -> None:
    boxes: tuple[Box, ...] = ((10, 30, 40, 70), (60, 10, 80, 30))
    spec = replace(SPEC, arrangement="depth")
    image = np.zeros((80, 100, 3), np.uint8)
    families = []
    for requested in (request_boxes(*boxes), request_boxes(boxes[0]), ()):
        composed = ComposedScene(key="k", seed=1, spec=spec, composer="layout", image=image, requested=requested)
        sample = label_scene(DetectedScene(composed=composed, detections=make_detections(*boxes)))
        assert isinstance(sample, Sample)
        families.append({get_relation_type(query.program or {}) for query in sample.queries})
    assert ["depth" in some for some in families] == [True, False, False]


def test_other_categories_stay_as_clutter_without_queries() -> None:
    sample = label_detections([*make_detections(*THREE), *make_detections((40, 5, 50, 15), category="ball")])
    assert isinstance(sample, Sample)
    assert [instance.category for instance in sample.instances] == ["cup", "cup", "cup", "ball"]
    assert {query.instance for query in sample.queries} == {0, 1, 2}


def test_verified_attributes_are_said_and_asked_ones_are_not() -> None:
    detections = [*make_detections(*THREE[:2], color="red"), *make_detections(THREE[2], color="blue")]
    sample = label_detections(detections, LabelConfig(queries_per_relation_type=50))
    assert isinstance(sample, Sample)
    texts = {query.text: query.instance for query in sample.queries}
    assert texts.keys() & {"blue cup", "the blue cup"}
    assert {texts[text] for text in texts if text.endswith(("blue cup left", "blue cup")) and "to" not in text} == {2}
    assert {texts[text] for text in texts if "closest to" in text and "blue" in text} == {1}
    requested = SceneSpec(key="k", category="cup", count=3, attributes={"color": "red"}, prompt="three red cups")
    image = np.zeros((80, 100, 3), np.uint8)
    composed = ComposedScene(key="k", seed=1, spec=requested, composer="prompted", image=image)
    detected = DetectedScene(composed=composed, detections=make_detections(*THREE))
    plain = label_scene(detected, LabelConfig(queries_per_relation_type=50))
    assert isinstance(plain, Sample) and not any("red" in query.text for query in plain.queries)


def test_a_sample_keeps_the_box_that_was_asked_for_each_thing() -> None:
    sample = label_detections(
        make_detections(*THREE), composer="layout", requested=request_boxes(THREE[1], (10, 35, 25, 55))
    )
    assert isinstance(sample, Sample)
    assert [one.requested_box_xyxy for one in sample.instances] == [(10, 35, 25, 55), THREE[1], None]
    assert [one.requested_iou for one in sample.instances] == [pytest.approx(15 / 25), 1, None]


def test_queries_have_the_numbers_of_targets_that_are_asked_for() -> None:
    detections = [*make_detections(*THREE[:2], color="red"), *make_detections(THREE[2], color="blue")]
    samples = {
        targets: label_detections(detections, LabelConfig(targets=targets))
        for targets in (("one",), ("none",), ("several",), ("one", "several", "none"))
    }
    queries = {targets: sample.queries for targets, sample in samples.items() if isinstance(sample, Sample)}
    assert {len(query.boxes_xyxy) for query in queries["one",]} == {1}
    assert {len(query.boxes_xyxy) for query in queries["none",]} == {0}
    assert {len(query.boxes_xyxy) for query in queries["several",]} == {2, 3}
    texts = [{query.text for query in some} for some in queries.values()]
    assert texts[0] | texts[1] | texts[2] == texts[3]
    both = next(query for query in queries["several",] if query.instances == (0, 1))
    assert both.boxes_xyxy == THREE[:2]


def test_numbers_of_targets_are_named_once() -> None:
    with pytest.raises(ValueError, match="targets must name at least one number, each once, got one one"):
        LabelConfig(targets=("one", "one"))


def test_a_measured_style_weights_its_relation_types_and_a_written_one_does_not() -> None:
    weights = LabelConfig(style="refcoco-measured").type_weights
    assert sum(weights.values()) / len(weights) == pytest.approx(1)
    assert weights["side"] / weights["ordinal"] == pytest.approx(1665 / 98)
    assert LabelConfig().type_weights == {}
