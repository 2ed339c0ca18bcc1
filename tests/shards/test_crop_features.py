"""Features of instances' crops, found again by the key of their sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Item, Job, Location, MapStage, PipelineError, PlanRow, Rejected, SinkOutput, read_receipts, run_job
from shards.crop_features import CropFeatures, CropFeatureSink, InstanceCrops
from shards.errors import SchemaError

COUNTS = {"a": 2, "b": 0, "c": 1, "d": 0}
"""Number of instances by key; the image of ``d`` is broken."""


class _CropStage(MapStage[Item, InstanceCrops]):
    """Gives both views of each instance the features [i, 0, 0] and [i, 1, 0], numbered over all samples."""

    def process_item(self, item: Item) -> InstanceCrops | Rejected:
        if item.key == "d":
            return Rejected(key=item.key, reason="broken_image")
        first = sum(count for key, count in COUNTS.items() if key < item.key)
        rows = [[[i, 0, 0], [i, 1, 0]] for i in range(first, first + COUNTS[item.key])]
        return InstanceCrops(key=item.key, features=np.array(rows, np.float16).reshape(-1, 2, 3))


def _make_run(
    folder: Location, keys: str = "abcd", fingerprint: dict[str, Any] | None = None, items_per_shard: int = 1
) -> None:
    job = Job(
        name="crop-features",
        fingerprint=fingerprint or {},
        inputs=lambda: [PlanRow(key=key) for key in keys],
        items_per_shard=items_per_shard,
        stages=[_CropStage()],
        sink=CropFeatureSink(),
    )
    run_job(job, folder)


@pytest.mark.parametrize("items_per_shard", [1, 2, 4])
def test_each_sample_has_the_features_of_its_instances_in_order(tmp_path: Path, items_per_shard: int) -> None:
    _make_run(tmp_path / "crops", items_per_shard=items_per_shard)
    crops = CropFeatures(tmp_path / "crops")
    assert (crops.num_views, crops.dim) == (2, 3)
    assert crops.keys() == ["a", "b", "c"] and "a" in crops and "d" not in crops
    assert crops.read("a").tolist() == [[[0, 0, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0]]]
    assert crops.read("b").shape == (0, 2, 3)
    assert crops.read("c").tolist() == [[[2, 0, 0], [2, 1, 0]]]
    assert crops.read("c").dtype == np.float16


def test_the_mean_is_over_all_instances_and_views(tmp_path: Path) -> None:
    _make_run(tmp_path / "crops")
    mean = CropFeatures(tmp_path / "crops").compute_mean()
    assert mean.tolist() == [1.0, 0.5, 0.0] and mean.dtype == np.float32


def test_what_is_read_is_a_copy(tmp_path: Path) -> None:
    _make_run(tmp_path / "crops")
    crops = CropFeatures(tmp_path / "crops")
    crops.read("a")[:] = 7
    assert crops.read("a").max() == 1


def test_samples_without_any_instance_have_no_mean(tmp_path: Path) -> None:
    _make_run(tmp_path / "crops", "bd")
    with pytest.raises(SchemaError, match="crops has no instance; ingest the dataset with the boxes of its objects"):
        CropFeatures(tmp_path / "crops").compute_mean()


def test_a_run_of_broken_images_alone_is_empty(tmp_path: Path) -> None:
    _make_run(tmp_path / "crops", "d")
    crops = CropFeatures(tmp_path / "crops")
    assert (crops.keys(), crops.num_views, crops.dim) == ([], 0, 0)


def test_missing_crop_features_name_their_command(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="crops does not exist; make the crop features with `make crop-features`"):
        CropFeatures(tmp_path / "crops")


@pytest.mark.parametrize("role", ["crop_index", "crops"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, role: str) -> None:
    _make_run(tmp_path / "crops")
    name = read_receipts(tmp_path / "crops")[0].files[role].name
    path = tmp_path / "crops" / "shards" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PipelineError, match=rf"{name} has \d+ bytes, not \d+; delete .*00000.json"):
        CropFeatures(tmp_path / "crops").read("a")


def test_another_run_than_of_crop_features_is_refused(tmp_path: Path) -> None:
    class OtherSink(CropFeatureSink):
        def write(self, items: list[InstanceCrops], folder: Path) -> SinkOutput:
            files = super().write(items, folder).files
            return SinkOutput(files={"index": files["crop_index"]})

    job = Job(
        name="other",
        fingerprint={},
        inputs=lambda: [PlanRow(key="a")],
        stages=[_CropStage()],
        sink=OtherSink(),
    )
    run_job(job, tmp_path / "other")
    with pytest.raises(PipelineError, match=r"has files \['index', 'ledger'\], not 'crop_index'"):
        CropFeatures(tmp_path / "other")


def test_priors_of_another_encoder_or_beside_other_samples_are_refused(tmp_path: Path) -> None:
    of_crops = {"samples_plan_hash": "1", "encoder": "clip-a"}
    _make_run(tmp_path / "crops", "a", of_crops)
    crops = CropFeatures(tmp_path / "crops")
    for name, fingerprint in {"same": of_crops, "other-form": {"encoder": "clip-a"}, "published": {}}.items():
        _make_run(tmp_path / name, "a", fingerprint)
        crops.check_matches(tmp_path / name)
    _make_run(tmp_path / "packed", "a", {**of_crops, "encoder": "clip-b"})
    with pytest.raises(SchemaError, match=r"encoded by clip-a, the priors of .*packed by clip-b; .*make crop-features"):
        crops.check_matches(tmp_path / "packed")
    _make_run(tmp_path / "moved", "a", {**of_crops, "samples_plan_hash": "2"})
    with pytest.raises(SchemaError, match=r"has crops of other samples than .*moved; run `make crop-features`"):
        crops.check_matches(tmp_path / "moved")
