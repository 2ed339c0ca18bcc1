"""Crops of instances and their features."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation.models.config import RgbImage
from generation.models.image_encoder import ImageEncoder
from generation.priors.config import PriorConfig
from generation.priors.instance_crops import CropStage, View, choose_views, cut_view
from pipeline import ExecutorConfig, Item, Job, MapStage, PlanRow, Rejected, read_receipts, run_job
from shards.crop_features import CropFeatures, CropFeatureSink, InstanceCrops
from shards.schema import Instance, Sample
from shards.writer import SampleSink
from tests.generation.conftest import DIM
from tests.shards.toy_samples import make_sample

HERE = ExecutorConfig(isolate=False)
BOXES = {"a": [(0, 0, 8, 6), (20, 10, 21, 11)], "b": [], "c": [(3, 2, 40, 30)], "d": [(0, 0, 40, 30), (39, 29, 40, 30)]}


def _draw_image(seed: int) -> RgbImage:
    return np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)


class _SampleStage(MapStage[Item, Sample]):
    """Draws an image of 40 x 30 noise pixels with the boxes of its key."""

    def process_item(self, item: Item) -> Sample:
        buffer = io.BytesIO()
        Image.fromarray(_draw_image(ord(item.key))).save(buffer, "PNG")
        instances = tuple(Instance(box_xyxy=box, category="cup") for box in BOXES[item.key])
        return make_sample(item.key, width=40, height=30, image=buffer.getvalue(), instances=instances, queries=())


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("data") / "samples"
    rows = [PlanRow(key=key) for key in BOXES]
    run_job(Job(name="s", fingerprint={}, inputs=lambda: rows, stages=[_SampleStage()], sink=SampleSink()), run, HERE)
    return run


def _make_job(samples: Path, config: PriorConfig) -> Job:
    rows = [PlanRow(key=key, payload={"number": number}) for number, key in enumerate(BOXES)]
    return Job(
        name="crop-features",
        fingerprint={},
        inputs=lambda: rows,
        items_per_shard=2,
        stages=[CropStage(samples, config.encoder, 3)],
        sink=CropFeatureSink(),
    )


def _read_hashes(run: Path) -> list[str]:
    return [file.sha256 for receipt in read_receipts(run) for file in receipt.files.values()]


def test_the_first_view_is_the_square_of_1_6_times_the_longer_side_around_the_box() -> None:
    (view,) = choose_views((10, 20, 20, 24), 1, seed=0, instance=0)
    assert (view.left, view.top, view.side, view.mirrored) == (7, 14, 16, False)


def test_other_views_hold_the_box_and_vary_in_scale_position_and_mirroring() -> None:
    box = (10.0, 20.0, 20.0, 24.0)
    views = list(choose_views(box, 200, seed=0, instance=0))[1:]
    scales = [view.side / 10 for view in views]
    assert 1.15 <= min(scales) < 1.2 and 1.95 < max(scales) <= 2.0
    assert all(view.left <= 10 and view.left + view.side >= 20 for view in views)
    assert all(view.top <= 20 and view.top + view.side >= 24 for view in views)
    assert len({view.left + view.side / 2 for view in views}) == len(views)
    assert 60 < sum(view.mirrored for view in views) < 140


def test_views_depend_on_seed_instance_and_number_alone() -> None:
    box = (10, 20, 20, 24)
    three, five = (list(choose_views(box, count, seed=1, instance=2)) for count in (3, 5))
    assert five[:3] == three
    assert list(choose_views(box, 3, seed=2, instance=2))[1:] != three[1:]
    assert list(choose_views(box, 3, seed=1, instance=3))[1:] != three[1:]


def test_a_view_inside_the_image_has_its_pixels() -> None:
    pixels = _draw_image(0)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(cut_view(image, View(left=5, top=3, side=16), 16), pixels[3:19, 5:21])
    mirrored = cut_view(image, View(left=5, top=3, side=16, mirrored=True), 16)
    np.testing.assert_array_equal(mirrored, pixels[3:19, 5:21][:, ::-1])


def test_beyond_the_image_the_pixels_of_the_border_are_repeated() -> None:
    pixels = _draw_image(0)
    crop = cut_view(Image.fromarray(pixels), View(left=-4, top=22, side=16), 16)
    np.testing.assert_array_equal(crop[:8, 4:], pixels[22:, :12])
    np.testing.assert_array_equal(crop[:8, :4], np.repeat(pixels[22:, :1], 4, axis=1))
    np.testing.assert_array_equal(crop[8:], np.repeat(crop[7:8], 8, axis=0))


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (39, 29, 40, 30), (0, 12.3, 40, 12.4), (39.99, 0, 40, 0.01)])
def test_a_tiny_box_or_one_at_the_corner_has_views_of_the_full_size(box: tuple[float, float, float, float]) -> None:
    image = Image.fromarray(_draw_image(0))
    for view in choose_views(box, 20, seed=0, instance=0):
        assert cut_view(image, view, 32).shape == (32, 32, 3)


def test_a_sample_has_the_features_of_its_instances_views_by_the_encoder_of_priors(
    samples: Path, prior_config: PriorConfig, encoder: ImageEncoder, tmp_path: Path
) -> None:
    run_job(_make_job(samples, prior_config), tmp_path / "crops", HERE)
    crops = CropFeatures(tmp_path / "crops")
    assert {key: crops.read(key).shape for key in BOXES} == {key: (len(boxes), 3, DIM) for key, boxes in BOXES.items()}
    image = Image.fromarray(_draw_image(ord("d")))
    for number, box in enumerate(BOXES["d"]):
        (view,) = choose_views(box, 1, seed=0, instance=number)
        expected = encoder.encode_images([cut_view(image, view, encoder.image_size_px)])[0]
        np.testing.assert_allclose(crops.read("d")[number, 0], expected, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(crops.read("a").astype(float), axis=2), 1, atol=2e-3)


def test_a_run_that_was_killed_ends_with_the_bytes_of_one_that_was_not(
    samples: Path, prior_config: PriorConfig, tmp_path: Path
) -> None:
    job, run = _make_job(samples, prior_config), tmp_path / "crops"
    run_job(job, run, HERE)
    before = _read_hashes(run)
    (run / "receipts" / "00001.json").unlink()  # as if killed after the first shard
    assert run_job(job, run, HERE).accepted == 4
    assert _read_hashes(run) == before


@pytest.mark.slow
def test_two_workers_of_ray_write_the_same_bytes(samples: Path, prior_config: PriorConfig, tmp_path: Path) -> None:
    for name, executor in {"here": HERE, "ray": ExecutorConfig(executor="ray", workers=2)}.items():
        run_job(_make_job(samples, prior_config), tmp_path / name, executor)
    assert _read_hashes(tmp_path / "here") == _read_hashes(tmp_path / "ray")


def test_features_that_are_not_finite_are_rejected(
    samples: Path, prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = CropStage(samples, prior_config.encoder, 1)
    stage.setup()
    monkeypatch.setattr(
        ImageEncoder, "encode_images", lambda _, images: np.full((len(images), DIM), np.nan, np.float32)
    )
    result, empty = stage.process([Item(key=key, seed=0, payload={"number": i}) for i, key in enumerate("ab")])
    assert result == Rejected(key="a", reason="feature_not_finite")
    assert isinstance(empty, InstanceCrops) and empty.features.shape == (0, 1, DIM)
