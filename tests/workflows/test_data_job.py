"""Ingest, priors, scenes and packing on a small world, with the miniature models at few denoising steps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from generation.priors.config import PriorConfig
from generation.priors.store import PriorStore
from pipeline import ExecutorConfig, PipelineError, list_runs, read_receipts
from shards.reader import SampleReader
from workflows import augment, generate_priors, ingest, pack
from workflows.cli.console import UserError
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path, load_prior_config

pytestmark = pytest.mark.slow

HERE = ExecutorConfig(isolate=False)


def _prior() -> PriorConfig:
    config = miniature.prior_config()
    return replace(config, render=replace(config.render, num_inference_steps=2))


def _priors(data: Path) -> generate_priors.GeneratePriorsConfig:
    return generate_priors.GeneratePriorsConfig(prior=_prior(), data=data, priors_per_shard=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after ingest, generate-priors, augment and pack."""
    folder = tmp_path_factory.mktemp("job")
    refer = folder / "refer"
    write_dataset(WorldConfig(output=refer, num_train=4, num_val=1, num_test=2))
    annotations, images = refer / "miniature", refer / "images"
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=folder, executor=HERE))
    generate_priors.main(_priors(folder))
    scenes = augment.AugmentConfig(num_scenes=12, num_rejected_images=0, data=folder, executor=HERE)
    augment.main(replace(scenes, render=replace(scenes.render, num_inference_steps=8)))
    pack.main(pack.PackConfig(data=folder, executor=HERE))
    return folder


def test_priors_are_the_same_bytes_with_two_workers_of_ray(data: Path, tmp_path: Path) -> None:
    (tmp_path / "miniature").mkdir()
    shutil.copy(data / "miniature" / "queries.parquet", tmp_path / "miniature")
    generate_priors.main(replace(_priors(tmp_path), executor=ExecutorConfig(executor="ray", workers=2)))
    (on_ray,) = list_runs(find_prior_store_path("miniature", UPath(tmp_path)))
    here = find_prior_store_path("miniature", UPath(data)) / on_ray.name
    hashes = [
        [file.sha256 for receipt in read_receipts(run) for file in receipt.files.values()] for run in (here, on_ray)
    ]
    assert len(hashes[0]) >= 6
    assert hashes[0] == hashes[1]


def test_every_query_is_packed_with_the_feature_of_its_own_prior(data: Path) -> None:
    store = PriorStore.open(find_prior_store_path("miniature", UPath(data)))
    for source in ("samples", "scenes"):
        packed, plain = (SampleReader(data / "miniature" / name) for name in (f"packed-{source}", source))
        assert [e.key for e in packed.index] == [e.key for e in plain.index]
        for sample, before in zip(packed, plain, strict=True):
            assert [q.query_id for q in sample.queries] == [q.query_id for q in before.queries]
            assert sample.priors is not None
            np.testing.assert_array_equal(sample.priors, store.features([q.prior_id or "" for q in sample.queries]))
            assert sample.image == before.image


def test_queries_that_differ_in_place_alone_share_a_prior(data: Path) -> None:
    store = PriorStore.open(find_prior_store_path("miniature", UPath(data)))
    queries = [q for sample in SampleReader(data / "miniature" / "packed-samples") for q in sample.queries]
    assert len(store) < len(queries) + sum(len(s.queries) for s in SampleReader(data / "miniature" / "packed-scenes"))
    assert not any(word in store.prompt(q.prior_id or "").split() for q in queries for word in ("left", "right"))


def test_scenes_hold_distractors_and_only_for_training(data: Path) -> None:
    reader = SampleReader(data / "miniature" / "packed-scenes")
    assert len(reader) > 0
    assert reader.splits == ["train"]
    for sample in reader:
        for query in sample.queries:
            assert query.program
            assert query.instance is not None
            category = sample.instances[query.instance].category
            assert sum(instance.category == category for instance in sample.instances) >= 2


def test_an_interrupted_run_of_the_store_is_finished_not_begun_again(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    refer = data / "refer"
    ingest.main(ingest.IngestConfig(annotations=refer / "miniature", images=refer / "images", data=folder))
    config = _priors(folder)
    generate_priors.main(config)
    (run,) = (path.parent.parent for path in (folder / "priors").glob("*/*/plan/plan.json"))
    whole = [receipt.to_bytes() for receipt in read_receipts(run)]
    for receipt in sorted((run / "receipts").glob("*.json"))[1:]:
        receipt.unlink()  # as if killed after the first shard
    generate_priors.main(config)
    assert [path.parent.parent for path in (folder / "priors").glob("*/*/plan/plan.json")] == [run]
    again = read_receipts(run)
    assert len(again) == len(whole) > 1
    assert again[0].to_bytes() == whole[0]


def test_a_limited_run_that_was_interrupted_renders_no_more_than_its_limit(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    refer = data / "refer"
    ingest.main(ingest.IngestConfig(annotations=refer / "miniature", images=refer / "images", data=folder))
    config = replace(_priors(folder), limit=6)
    generate_priors.main(config)
    (run,) = (path.parent.parent for path in (folder / "priors").glob("*/*/plan/plan.json"))
    max((run / "receipts").glob("*.json")).unlink()  # as if killed before the last shard
    generate_priors.main(config)
    assert [path.parent.parent for path in (folder / "priors").glob("*/*/plan/plan.json")] == [run]
    assert len(PriorStore.open(find_prior_store_path("miniature", UPath(folder)))) == 6


def test_later_steps_make_priors_as_generate_priors_did(data: Path) -> None:
    assert load_prior_config(data / "miniature" / "prior.json") == _prior()
    assert load_prior_config(data / "nothing.json") == miniature.prior_config()


def test_a_damaged_prior_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prior.json").write_text('{"render": {"checkpoint": 1, "step": 3}}')
    with pytest.raises(UserError, match=r"prior.json is damaged .*generate-priors"):
        load_prior_config(tmp_path / "prior.json")


def test_packing_before_priors_says_what_to_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make ingest"):
        pack.main(pack.PackConfig(data=tmp_path))


def test_a_configuration_that_fails_is_not_kept(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    refer = data / "refer"
    ingest.main(ingest.IngestConfig(annotations=refer / "miniature", images=refer / "images", data=folder))
    bad = replace(_prior(), render=replace(_prior().render, checkpoint=str(tmp_path)))
    with pytest.raises(PipelineError, match="is no text-to-image pipeline"):
        generate_priors.main(replace(_priors(folder), prior=bad))
    assert not (folder / "miniature" / "prior.json").exists()


def test_training_on_a_truncated_shard_ends_with_one_line(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data / "miniature", folder / "miniature")
    tar = next((folder / "miniature/samples/shards").glob("train*.tar"))
    tar.write_bytes(tar.read_bytes()[:-600])
    command = [sys.executable, "-m", "workflows.train", "--data", str(folder), "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, "--epochs", "1", "--pretrained-visual", str(WEIGHTS / "detector"), "--exemplars", "False"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{tar.name} has " in done.stderr
    assert "to redo this shard" in done.stderr
