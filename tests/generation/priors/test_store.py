"""The store of priors."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from generation.errors import GenerationError
from generation.models.image_encoder import ImageEncoder
from generation.models.text_to_image import Renderer
from generation.models.webp import encode_webp
from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint, compute_prior_id
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.rendering import RenderStage
from generation.priors.seeds import compute_image_seed
from generation.priors.store import PriorSink, PriorStore
from pipeline import ExecutorConfig, Job, PipelineError, PlanRow, run_job

DIM = 12


PROMPTS = ["a red cup", "a man", "two dogs", "a blue ball", "a cat"]


def _job(config: PriorConfig, prompts: list[str], quality: int | None = 90) -> Job:
    settings = build_image_settings(config)
    return Job(
        name="priors",
        fingerprint={"settings": settings},
        inputs=lambda: [PlanRow(key=compute_prior_id(p, settings), payload={"prompt": p}) for p in prompts],
        items_per_shard=2,
        seed=0,
        stages=[RenderStage(config, webp_quality=quality)],
        sink=PriorSink(settings, compute_encoder_fingerprint(config)),
    )


@pytest.fixture(scope="module")
def root(prior_config: PriorConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs: three priors, then one more."""
    folder = tmp_path_factory.mktemp("priors")
    config = replace(prior_config, num_images=2)
    run_job(_job(config, PROMPTS[:3], None), folder / "0001", ExecutorConfig(isolate=False))
    run_job(_job(config, PROMPTS[3:4], None), folder / "0002", ExecutorConfig(isolate=False))
    return folder


@pytest.fixture(scope="module")
def settings(prior_config: PriorConfig) -> dict[str, object]:
    return build_image_settings(replace(prior_config, num_images=2))


def test_a_store_is_all_runs_below_a_folder(root: Path, settings: dict[str, object]) -> None:
    store = PriorStore.open(root)
    ids = [compute_prior_id(prompt, settings) for prompt in PROMPTS]
    assert len(store) == 4
    assert store.dim == DIM
    assert ids[0] in store
    assert ids[4] not in store
    assert store.missing([*ids, ids[4]]) == [ids[4]]
    assert store.prompt(ids[1]) == PROMPTS[1]


def test_features_come_in_the_order_asked_and_equal_the_encoders(
    root: Path, settings: dict[str, object], renderer: Renderer, encoder: ImageEncoder
) -> None:
    store = PriorStore.open(root)
    asked = [PROMPTS[3], PROMPTS[0], PROMPTS[3]]
    features = store.features([compute_prior_id(prompt, settings) for prompt in asked])
    assert features.shape == (3, DIM)
    assert features.dtype == np.float16
    for prompt, feature in zip(asked, features, strict=True):
        images = renderer.render([prompt] * 2, [compute_image_seed(prompt, 0, 0), compute_image_seed(prompt, 0, 1)])
        np.testing.assert_allclose(feature, encoder.encode([images], [prompt])[0][0], atol=2e-3)


def test_the_first_image_is_kept_losslessly_if_asked(
    root: Path, settings: dict[str, object], renderer: Renderer
) -> None:
    prompt = PROMPTS[2]
    stored = PriorStore.open(root).image(compute_prior_id(prompt, settings))
    generated = renderer.render([prompt], [compute_image_seed(prompt, 0, 0)])[0]
    assert np.abs(stored.astype(int) - generated.astype(int)).max() <= 1


def test_the_record_says_how_the_image_was_made(root: Path, settings: dict[str, object]) -> None:
    store = PriorStore.open(root)
    identifier = compute_prior_id(PROMPTS[0], settings)
    record = store.record(identifier)
    assert (record["prompt"], record["settings"]) == (PROMPTS[0], settings)
    assert record["clip_score"] == pytest.approx(store.clip_score(identifier), abs=1e-3)


def test_the_mean_clip_score_is_over_all_priors_of_all_shards(root: Path) -> None:
    store = PriorStore.open(root)
    scores = [store.clip_score(identifier) for identifier in store]
    assert len(scores) > 2
    assert store.compute_mean_clip_score() == pytest.approx(sum(score or 0.0 for score in scores) / len(scores))
    assert PriorStore().compute_mean_clip_score() is None


def test_a_shard_is_a_webdataset_tar_with_every_image_and_no_clock(root: Path, settings: dict[str, object]) -> None:
    (tar, *_) = sorted((root / "0001" / "shards").glob("00000*.tar"))
    key = compute_prior_id(PROMPTS[0], settings)
    with tarfile.open(tar) as archive:
        members = archive.getmembers()
        assert [m.name for m in members][:4] == [
            f"{key}.webp",
            f"{key}.1.webp",
            f"{key}.json",
            f"{key}.feature.npy",
        ]
        assert {member.mtime for member in members} == {0}


def test_the_same_priors_give_the_same_bytes(tmp_path: Path) -> None:
    generated = GeneratedImages(
        prompt="a cup",
        images=(),
        feature=np.ones(DIM, np.float16),
        clip_score=21.5,
        compressed=tuple(encode_webp(image, 90) for image in np.zeros((2, 32, 32, 3), np.uint8)),
    )
    prior = Prior(prior_id="a" * 32, generated=generated)
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written = PriorSink({"num_inference_steps": 2}, "clip").write([prior], tmp_path / name)
        contents.append([path.read_bytes() for path in written.files.values()])
    assert contents[0] == contents[1]
    assert written.summary == {"priors": 1, "images": 2}


def test_an_empty_shard_is_written(tmp_path: Path) -> None:
    written = PriorSink({}, "clip").write([], tmp_path)
    assert pq.read_table(written.files["index"]).num_rows == 0


def test_a_store_that_is_not_there_names_the_folder_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"no prior store below .*generate-priors"):
        PriorStore.open(tmp_path)


def test_a_missing_prior_is_named(root: Path) -> None:
    with pytest.raises(GenerationError, match="prior 0000 is not in the store of 4"):
        PriorStore.open(root).features(["0000"])


def test_two_encoders_do_not_mix(root: Path, prior_config: PriorConfig, checkpoints: Path, tmp_path: Path) -> None:
    other = tmp_path / "clip"
    shutil.copytree(checkpoints / "clip", other)
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    config = replace(prior_config, encoder=replace(prior_config.encoder, checkpoint=str(other)))
    run_job(_job(config, PROMPTS[4:]), tmp_path / "run", ExecutorConfig(executor="inline"))
    with pytest.raises(GenerationError, match="features of two encoders do not compare"):
        PriorStore(root / "0001", tmp_path / "run")


def test_a_damaged_tar_is_noticed_at_reading_an_image(root: Path, settings: dict[str, object], tmp_path: Path) -> None:
    shutil.copytree(root / "0002", tmp_path / "run")
    (tar,) = (tmp_path / "run" / "shards").glob("*.tar")
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.chmod(0o644)
    tar.write_bytes(bytes(content))
    store = PriorStore(tmp_path / "run")
    with pytest.raises(PipelineError, match="another hash"):
        store.image(compute_prior_id(PROMPTS[3], settings))
