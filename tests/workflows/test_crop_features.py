"""Crop features of a dataset's training images, from the command on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from pipeline import ExecutorConfig
from shards.crop_features import CropFeatures
from shards.reader import SampleReader
from workflows import crop_features, ingest
from workflows.cli.console import UserError, console
from workflows.crop_features import CropFeaturesConfig
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.presets import miniature
from workflows.priors.config import save_prior_config

HERE = ExecutorConfig(isolate=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an ingested world of four training images."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(WorldConfig(output=folder / "refer", num_train=4, num_val=1, num_test=1))
    ingest.main(
        ingest.IngestConfig(
            annotations=UPath(folder / "refer/miniature"),
            images=UPath(folder / "refer/images"),
            data=UPath(folder),
            executor=HERE,
        )
    )
    crop_features.main(CropFeaturesConfig(data=UPath(folder), executor=HERE))
    return folder


def _iterate_training_samples(data: Path) -> Iterator[tuple[str, int]]:
    for entry in SampleReader(data / "miniature/samples").index:
        if entry.split == "train":
            yield entry.key, entry.num_instances


def test_every_instance_of_every_training_image_has_features_and_no_other_image_has(data: Path) -> None:
    crops = CropFeatures(data / "miniature/crop_features")
    expected = dict(_iterate_training_samples(data))
    assert {key: len(crops.read(key)) for key in crops.keys()} == expected  # noqa: SIM118
    assert 0 < len(expected) < len(SampleReader(data / "miniature/samples"))
    assert (crops.num_views, crops.dim) == (5, 128)
    crops.check_matches(data / "miniature/samples")


def test_a_killed_run_ends_with_the_same_features(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "miniature/samples", tmp_path / "miniature/samples")
    command = [sys.executable, "-m", "workflows.crop_features", "--data", str(tmp_path), "--samples-per-shard", "1"]
    run = tmp_path / "miniature/crop_features"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(run.glob("receipts/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    crop_features.main(CropFeaturesConfig(data=UPath(tmp_path), samples_per_shard=1, executor=HERE))
    expected, found = CropFeatures(data / "miniature/crop_features"), CropFeatures(run)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found.read(key), expected.read(key)) for key in found.keys())  # noqa: SIM118


def test_scenes_have_a_run_of_their_own(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "miniature/samples", tmp_path / "miniature/samples")
    shutil.copytree(data / "miniature/samples", tmp_path / "miniature/scenes")
    crop_features.main(CropFeaturesConfig(data=UPath(tmp_path), num_views=1, executor=HERE))
    runs = [CropFeatures(tmp_path / "miniature" / name) for name in ("crop_features", "crop_features_scenes")]
    assert runs[0].keys() == runs[1].keys() and runs[0].num_views == 1


def test_a_run_by_another_encoder_is_replaced(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "miniature", tmp_path / "miniature")
    shutil.copytree(WEIGHTS / "clip", tmp_path / "clip")
    (tmp_path / "clip/config.json").write_text((WEIGHTS / "clip/config.json").read_text() + "\n")
    prior = miniature.prior_config()
    prior = replace(prior, encoder=replace(prior.encoder, checkpoint=str(tmp_path / "clip")))
    save_prior_config(tmp_path / "miniature/prior.json", prior)
    before = (tmp_path / "miniature/crop_features/plan/plan.json").read_bytes()
    crop_features.main(CropFeaturesConfig(data=UPath(tmp_path), executor=HERE))
    assert (tmp_path / "miniature/crop_features/plan/plan.json").read_bytes() != before


def test_without_training_images_there_is_nothing_to_learn_from(transvg: Path) -> None:
    data = UPath(transvg / "data")
    save_prior_config(data / "unc/prior.json", miniature.prior_config())
    with pytest.raises(UserError, match=r"samples has no split train, only val; crop features are of training images"):
        crop_features.main(CropFeaturesConfig(dataset="unc", data=data, executor=HERE))


def test_another_dataset_needs_its_prior_configuration_which_names_the_encoder(transvg: Path) -> None:
    with pytest.raises(UserError, match=r"prior.json does not exist; run `make generate-priors ARGS=\"--dataset unc\""):
        crop_features.main(CropFeaturesConfig(dataset="unc", data=UPath(transvg / "data"), executor=HERE))


def test_a_dataset_that_was_not_ingested_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="samples does not exist; run `make ingest`"):
        crop_features.main(CropFeaturesConfig(data=UPath(tmp_path)))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("", "0 instances of 1 training images: the dataset gives none, so networks have no exemplars to learn from"),
        (', "category": "cup"', "1 instances of 1 training images, all of them targets: the dataset gives no other"),
        (', "category": "cup", "instances": [[1, 2, 2, 3], [4, 2, 8, 7]]', "2 instances of 1 training images"),
    ],
)
def test_a_dataset_without_instances_or_with_targets_alone_is_said_to_be_so(
    tmp_path: Path, row: str, said: str
) -> None:
    shutil.copy(WEIGHTS.parent / "example.png", tmp_path / "a.png")
    (tmp_path / "mine.jsonl").write_text(f'{{"image": "a.png", "query": "left cup", "box": [1, 2, 2, 3]{row}}}\n')
    data = UPath(tmp_path / "data")
    ingest.main(
        ingest.IngestConfig(
            dataset="mine",
            format="table",
            annotations=UPath(tmp_path / "mine.jsonl"),
            images=UPath(tmp_path),
            data=data,
            executor=HERE,
        )
    )
    save_prior_config(data / "mine/prior.json", miniature.prior_config())
    with console.capture() as captured:
        crop_features.main(CropFeaturesConfig(dataset="mine", data=data, executor=HERE))
    assert said in captured.get()
    crops = CropFeatures(data / "mine/crop_features")
    (key,) = crops.keys()
    assert crops.read(key).shape[1:] == (5, 128)
