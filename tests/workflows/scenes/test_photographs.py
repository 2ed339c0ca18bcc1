"""Photographs as scenes, end to end: images of the miniature world with their annotations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from augmentation.composers.photographs import PhotographsConfig
from augmentation.errors import AugmentationError
from augmentation.planning.quotas import QuotaConfig
from augmentation.relations.evaluator import evaluate_program
from augmentation.relations.programs import from_json
from augmentation.relations.scene import Scene, SceneObject
from pipeline import ExecutorConfig
from shards.errors import SchemaError
from shards.reader import SampleReader
from workflows import augment, ingest
from workflows.miniature.world.dataset import WorldConfig, write_dataset

INLINE = ExecutorConfig(isolate=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder / "refer", num_train=40, num_val=4, num_test=4))
    ingest.main(
        ingest.IngestConfig(
            annotations=folder / "refer/miniature",
            images=folder / "refer/images",
            data=UPath(folder / "data"),
            executor=INLINE,
        )
    )
    return folder


def _config(data: Path, photographs: PhotographsConfig, num_scenes: int = 1000) -> augment.AugmentConfig:
    return augment.AugmentConfig(
        data=UPath(data),
        composers=("photographs",),
        photographs=replace(photographs, min_area=0.01),
        num_scenes=num_scenes,
        quotas=QuotaConfig(queries_per_quota=1000),
        scenes_per_shard=16,
        executor=INLINE,
        priors=False,
    )


def _check_queries(reader: SampleReader) -> None:
    for sample in reader:
        objects = tuple(SceneObject(box_xyxy=one.box_xyxy, category=one.category) for one in sample.instances)
        scene = Scene(width=sample.width, height=sample.height, objects=objects, perspective=True)
        for query in sample.queries:
            assert query.program is not None and query.source == "photographs"
            assert evaluate_program(from_json(query.program), scene) == {query.instance}


def test_scenes_of_the_datasets_own_images_hold_no_image(world: Path) -> None:
    augment.main(_config(world / "data", PhotographsConfig()))
    scenes, samples = (SampleReader(world / "data/miniature" / name) for name in ("scenes", "samples"))
    assert len(scenes) > 5 and {entry.image_bytes for entry in scenes.index} == {-1}
    assert all(sample.image == samples.read(samples.find(sample.key)).image for sample in scenes)
    assert {samples.index[samples.find(entry.key)].split for entry in scenes.index} == {"train"}
    _check_queries(scenes)
    with pytest.raises(SchemaError, match="has no sample elsewhere"):
        samples.find("elsewhere")


def test_photographs_of_a_folder_become_scenes_in_rounds(world: Path, tmp_path: Path) -> None:
    refer = world / "refer"
    photographs = PhotographsConfig(images=refer / "images", instances=refer / "miniature/instances.json")
    augment.main(_config(tmp_path, photographs))
    record = json.loads((tmp_path / "miniature/scenes-rounds/yield.json").read_text())
    of_photographs = record["composers"]["photographs"]
    assert record["stopped"] == "every photograph is used" and of_photographs["attempted"] == 52
    assert of_photographs["accepted"] + sum(of_photographs["rejected"].values()) == 52
    scenes = SampleReader(tmp_path / "miniature/scenes")
    assert scenes.num_queries == record["selection"]["kept_queries"] > 20
    _check_queries(scenes)
    augment.main(_config(tmp_path, photographs))  # resumes, and changes nothing


def test_a_smaller_budget_uses_fewer_photographs(world: Path, tmp_path: Path) -> None:
    refer = world / "refer"
    photographs = PhotographsConfig(images=refer / "images", instances=refer / "miniature/instances.json")
    augment.main(_config(tmp_path, photographs, num_scenes=20))
    record = json.loads((tmp_path / "miniature/scenes-rounds/yield.json").read_text())
    assert record["scenes_requested"] == 20


def test_photographs_of_validation_and_test_splits_are_excluded(world: Path) -> None:
    refer = world / "refer"
    photographs = PhotographsConfig(images=refer / "images", instances=refer / "miniature/instances.json")
    config = replace(_config(world / "data", photographs), dataset="other", vocabulary=None)
    with pytest.raises(AugmentationError, match=r"may be used \(\d+ held_out_name, \d+ missing_image\)"):
        augment.main(replace(config, photographs=replace(photographs, images=_copy_held_out(world))))


def _copy_held_out(world: Path) -> Path:
    """Copy the images of the validation and test splits to a folder of their own."""
    folder = world / "held-out"
    folder.mkdir()
    for sample in SampleReader(world / "data/miniature/samples"):
        if sample.queries[0].split != "train":
            (folder / sample.image_name).write_bytes(sample.image)
    return folder


def test_a_detector_finds_the_objects_of_images_without_annotations(world: Path, tmp_path: Path) -> None:
    augment.main(_config(tmp_path, PhotographsConfig(images=world / "refer/images"), num_scenes=24))
    scenes = SampleReader(tmp_path / "miniature/scenes")
    assert all(instance.score is not None for sample in scenes for instance in sample.instances)
    _check_queries(scenes)
