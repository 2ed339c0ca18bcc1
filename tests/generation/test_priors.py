"""Ids, images, features and the store, with tiny random models."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from generation.errors import GenerationError
from generation.models.checkpoints import compute_fingerprint
from generation.models.image_encoder import EncoderConfig, ImageEncoder
from generation.models.text_to_image import RenderConfig, Renderer
from generation.models.webp import encode_webp
from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint, prior_id
from generation.priors.generator import PriorGenerator
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.prompt import PromptConfig
from generation.priors.query_parsing import ParsedQuery, ParsedSink, ParseStage
from generation.priors.rendering import PriorRenderer, RenderStage
from generation.priors.seeds import compute_image_seed
from generation.priors.store import PriorSink, PriorStore
from pipeline import ExecutorConfig, Item, Job, PipelineError, PlanRow, Rejected, run_job
from workflows.presets import miniature

DIM = 12
PROMPTS = ["a red cup", "a man", "two dogs", "a blue ball", "a cat"]


@pytest.fixture(scope="module")
def renderer(prior_config: PriorConfig) -> Renderer:
    return Renderer(prior_config.render)


@pytest.fixture(scope="module")
def encoder(prior_config: PriorConfig) -> ImageEncoder:
    return ImageEncoder(prior_config.encoder)


# -- ids ------------------------------------------------------------------------------------------------------------


def test_an_id_is_the_same_in_every_process() -> None:
    assert prior_id("a red cup", {"num_inference_steps": 20, "model": "m"}) == prior_id(
        "a red cup", {"model": "m", "num_inference_steps": 20}
    )
    assert prior_id("a red cup", {}) == "545fe056425d2ce6571f9b7f200dd117"


def test_everything_that_decides_the_picture_decides_the_id(prior_config: PriorConfig) -> None:
    config = prior_config
    variants = [
        config,
        replace(config, seed=1),
        replace(config, num_images=2),
        replace(config, prompt=PromptConfig(negative_prompt="blurry")),
        replace(config, render=replace(config.render, num_inference_steps=3)),
        replace(config, render=replace(config.render, guidance_scale=4.0)),
        replace(config, render=replace(config.render, image_size_px=64)),
        replace(config, render=replace(config.render, scheduler="DDIMScheduler")),
    ]
    assert len({prior_id("a red cup", build_image_settings(variant)) for variant in variants}) == len(variants)
    assert len({prior_id(prompt, build_image_settings(config)) for prompt in PROMPTS}) == len(PROMPTS)


def test_where_and_how_fast_a_picture_is_made_does_not_decide_the_id(prior_config: PriorConfig) -> None:
    faster = replace(prior_config, render=replace(prior_config.render, batch_size=1, dtype="float32"))
    assert build_image_settings(faster) == build_image_settings(prior_config)


def test_a_fingerprint_changes_with_one_byte_of_the_weights_and_not_with_the_folder(tmp_path: Path) -> None:
    for name, content in (("a", b"12345"), ("b", b"12345"), ("c", b"12346")):
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "unet" / "model.safetensors").write_bytes(content)
        (tmp_path / name / "README.md").write_text(f"folder {name}")
    a, b, c = (compute_fingerprint(str(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_a_hub_id_is_its_own_fingerprint_with_the_revision() -> None:
    assert compute_fingerprint("openai/clip-vit-base-patch32", "abc") == "openai/clip-vit-base-patch32@abc"


def test_a_path_without_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"no checkpoint folder .*nowhere"):
        compute_fingerprint(str(tmp_path / "nowhere"))


def test_seeds_differ_by_prompt_seed_and_number_and_fit_63_bits() -> None:
    seeds = {compute_image_seed(prompt, seed, index) for prompt in PROMPTS for seed in (0, 1) for index in (0, 1)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)


# -- images -------------------------------------------------------------------------------------------------------


def test_a_picture_does_not_depend_on_its_batch_or_place(renderer: Renderer) -> None:
    seeds = [compute_image_seed(prompt, 0, 0) for prompt in PROMPTS]
    together = renderer.render(PROMPTS, seeds)
    assert [image.shape for image in together] == [(32, 32, 3)] * 5
    assert all(image.dtype == np.uint8 for image in together)
    backwards = renderer.render(PROMPTS[::-1], seeds[::-1])[::-1]
    for image, other, prompt, seed in zip(together, backwards, PROMPTS, seeds, strict=True):
        alone = renderer.render([prompt], [seed])[0]
        assert np.abs(image.astype(int) - alone.astype(int)).max() <= 1
        assert np.abs(image.astype(int) - other.astype(int)).max() <= 1


def test_prompt_seed_and_negative_prompt_change_the_picture(renderer: Renderer) -> None:
    plain = renderer.render(["a red cup"], [1])[0]
    assert np.array_equal(plain, renderer.render(["a red cup"], [1])[0])
    assert not np.array_equal(plain, renderer.render(["a red cup"], [2])[0])
    assert not np.array_equal(plain, renderer.render(["a blue ball"], [1])[0])
    assert not np.array_equal(plain, renderer.render(["a red cup"], [1], negative_prompt="blurry")[0])


def test_another_scheduler_is_taken_by_name(prior_config: PriorConfig, renderer: Renderer) -> None:
    other = Renderer(replace(prior_config.render, scheduler="EulerDiscreteScheduler"))
    assert not np.array_equal(other.render(["a cup"], [1])[0], renderer.render(["a cup"], [1])[0])


def test_an_unknown_scheduler_is_named(prior_config: PriorConfig) -> None:
    with pytest.raises(GenerationError, match="no scheduler 'Quick'"):
        Renderer(replace(prior_config.render, scheduler="Quick"))


@pytest.mark.parametrize("content", [None, {"_class_name": "Something"}])
def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path, content: dict[str, str] | None) -> None:
    if content is not None:
        (tmp_path / "model_index.json").write_text(json.dumps(content))
    with pytest.raises(GenerationError, match="is no text-to-image pipeline"):
        Renderer(RenderConfig(checkpoint=str(tmp_path)))


@pytest.mark.parametrize(
    "fault", [{"image_size_px": 100}, {"num_inference_steps": 0}, {"guidance_scale": -1.0}, {"batch_size": 0}]
)
def test_impossible_settings_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        RenderConfig(checkpoint="some/model", **fault)  # type: ignore[arg-type]


# -- features -------------------------------------------------------------------------------------------------------


def _images(number: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(number)]


def test_features_have_length_1_and_do_not_depend_on_the_batch(encoder: ImageEncoder) -> None:
    images = _images(5)
    together = encoder.encode_images(images)
    assert together.shape == (5, DIM) == (5, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[3], encoder.encode_images(images[3:4])[0], atol=1e-5)


def test_several_pictures_are_averaged_after_normalisation(encoder: ImageEncoder) -> None:
    images = _images(3)
    singles = encoder.encode_images(images)
    mean = singles[:2].mean(0)
    (feature, score), (other, _) = encoder.encode([images[:2], images[2:]], ["a cup", "a ball"])
    np.testing.assert_allclose(feature, mean / np.linalg.norm(mean), atol=1e-3)
    np.testing.assert_allclose(other, singles[2], atol=1e-3)
    cosine = float(mean / np.linalg.norm(mean) @ encoder.encode_texts(["a cup"])[0])
    assert score == pytest.approx(max(0.0, 100 * cosine), abs=0.01)


def test_a_prompt_longer_than_the_text_tower_reads_is_cut(encoder: ImageEncoder) -> None:
    assert encoder.encode_texts(["word " * 200]).shape == (1, DIM)


def test_a_vision_tower_alone_gives_features_without_a_score(checkpoints: Path, tmp_path: Path) -> None:
    CLIPVisionModelWithProjection.from_pretrained(checkpoints / "clip").save_pretrained(tmp_path)
    CLIPImageProcessor.from_pretrained(checkpoints / "clip").save_pretrained(tmp_path)
    alone = ImageEncoder(EncoderConfig(checkpoint=str(tmp_path), device="cpu"))
    whole = ImageEncoder(EncoderConfig(checkpoint=str(checkpoints / "clip"), device="cpu"))
    ((feature, score),) = alone.encode([_images(1)], ["a cup"])
    np.testing.assert_allclose(feature, whole.encode_images(_images(1))[0], atol=1e-3)
    assert score is None


def test_a_folder_that_is_no_clip_is_named(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="is no CLIP"):
        ImageEncoder(EncoderConfig(checkpoint=str(tmp_path)))


# -- jobs -----------------------------------------------------------------------------------------------------------


def _item(key: str, **payload: object) -> Item:
    return Item(key=key, seed=0, payload=payload)


def test_the_parse_stage_gives_queries_of_one_look_one_id_and_rejects_symbols(prior_config: PriorConfig) -> None:
    stage = ParseStage(prior_config.prompt, build_image_settings(prior_config))
    stage.setup()
    left, symbols, right = stage.process(
        [_item("q1", text="left red cup"), _item("q2", text="?!"), _item("q3", text="red cup on the right")]
    )
    assert isinstance(left, ParsedQuery)
    assert isinstance(right, ParsedQuery)
    assert left.prior_id == right.prior_id == prior_id("a red cup", build_image_settings(prior_config))
    assert symbols == Rejected(key="q2", reason="empty_query", detail="'?!' has neither a letter nor a digit")


def test_parsed_queries_are_written_as_parquet(prior_config: PriorConfig, tmp_path: Path) -> None:
    stage = ParseStage(prior_config.prompt, build_image_settings(prior_config))
    stage.setup()
    parsed = stage.process([_item("q1", text="left red cup"), _item("q2", text="the one"), _item("q3", text="red cup")])
    written = ParsedSink().write([one for one in parsed if isinstance(one, ParsedQuery)], tmp_path)
    assert written.summary == {"queries": 3, "unique_prompts": 2, "without_head": 1, "shortened": 0}
    rows = pq.read_table(written.files["queries"]).to_pylist()
    assert [row["head"] for row in rows] == ["cup", "", "cup"]
    assert json.loads(rows[0]["attributes"])["absolute_location"] == ["left"]


def _job(config: PriorConfig, prompts: list[str], quality: int | None = 90) -> Job:
    settings = build_image_settings(config)
    return Job(
        name="priors",
        fingerprint={"settings": settings},
        inputs=lambda: [PlanRow(key=prior_id(p, settings), payload={"prompt": p}) for p in prompts],
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
    run_job(_job(config, PROMPTS[:3], None), folder / "0001", ExecutorConfig(executor="inline"))
    run_job(_job(config, PROMPTS[3:4], None), folder / "0002", ExecutorConfig(executor="inline"))
    return folder


@pytest.fixture(scope="module")
def settings(prior_config: PriorConfig) -> dict[str, object]:
    return build_image_settings(replace(prior_config, num_images=2))


def test_a_store_is_all_runs_below_a_folder(root: Path, settings: dict[str, object]) -> None:
    store = PriorStore.open(root)
    ids = [prior_id(prompt, settings) for prompt in PROMPTS]
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
    features = store.features([prior_id(prompt, settings) for prompt in asked])
    assert features.shape == (3, DIM)
    assert features.dtype == np.float16
    for prompt, feature in zip(asked, features, strict=True):
        images = renderer.render([prompt] * 2, [compute_image_seed(prompt, 0, 0), compute_image_seed(prompt, 0, 1)])
        np.testing.assert_allclose(feature, encoder.encode([images], [prompt])[0][0], atol=2e-3)


def test_the_first_picture_is_kept_losslessly_if_asked(
    root: Path, settings: dict[str, object], renderer: Renderer
) -> None:
    prompt = PROMPTS[2]
    stored = PriorStore.open(root).image(prior_id(prompt, settings))
    generated = renderer.render([prompt], [compute_image_seed(prompt, 0, 0)])[0]
    assert np.abs(stored.astype(int) - generated.astype(int)).max() <= 1


def test_the_record_says_how_the_picture_was_made(root: Path, settings: dict[str, object]) -> None:
    store = PriorStore.open(root)
    identifier = prior_id(PROMPTS[0], settings)
    record = store.record(identifier)
    assert (record["prompt"], record["settings"]) == (PROMPTS[0], settings)
    assert record["clip_score"] == pytest.approx(store.clip_score(identifier), abs=1e-3)


def test_the_mean_clip_score_is_over_all_priors_of_all_shards(root: Path) -> None:
    store = PriorStore.open(root)
    scores = [store.clip_score(identifier) for identifier in store]
    assert len(scores) > 2
    assert store.compute_mean_clip_score() == pytest.approx(sum(score or 0.0 for score in scores) / len(scores))
    assert PriorStore().compute_mean_clip_score() is None


def test_a_shard_is_a_webdataset_tar_with_every_picture_and_no_clock(root: Path, settings: dict[str, object]) -> None:
    (tar, *_) = sorted((root / "0001" / "shards").glob("00000*.tar"))
    key = prior_id(PROMPTS[0], settings)
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
        compressed=tuple(encode_webp(image, 90) for image in _images(2)),
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


def test_a_feature_length_that_the_network_does_not_read_is_refused(root: Path) -> None:
    store = PriorStore.open(root)
    store.check_dim(DIM)
    with pytest.raises(GenerationError, match=r"have 12 values .* reads 512"):
        store.check_dim(512)


def test_two_encoders_do_not_mix(root: Path, prior_config: PriorConfig, checkpoints: Path, tmp_path: Path) -> None:
    other = tmp_path / "clip"
    shutil.copytree(checkpoints / "clip", other)
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    config = replace(prior_config, encoder=replace(prior_config.encoder, checkpoint=str(other)))
    run_job(_job(config, PROMPTS[4:]), tmp_path / "run", ExecutorConfig(executor="inline"))
    with pytest.raises(GenerationError, match="features of two encoders do not compare"):
        PriorStore(root / "0001", tmp_path / "run")


def test_a_damaged_tar_is_noticed_when_a_picture_is_read(
    root: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    shutil.copytree(root / "0002", tmp_path / "run")
    (tar,) = (tmp_path / "run" / "shards").glob("*.tar")
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.chmod(0o644)
    tar.write_bytes(bytes(content))
    store = PriorStore(tmp_path / "run")
    with pytest.raises(PipelineError, match="another hash"):
        store.image(prior_id(PROMPTS[3], settings))


@pytest.mark.parametrize("quality", [0, 101])
def test_an_impossible_quality_is_refused(prior_config: PriorConfig, quality: int) -> None:
    with pytest.raises(ValueError, match="webp_quality"):
        RenderStage(prior_config, webp_quality=quality)


def test_the_draw_stage_takes_its_seed_from_the_prompt_not_from_the_item(prior_config: PriorConfig) -> None:
    stage = RenderStage(replace(prior_config, num_images=2, seed=3), webp_quality=50)
    stage.setup()
    items = [Item(key="a", seed=1, payload={"prompt": "a cup"}), Item(key="b", seed=2, payload={"prompt": "a cup"})]
    first, second = stage.process(items)
    assert isinstance(first, Prior)
    assert isinstance(second, Prior)
    assert len(first.generated.compressed) == 2
    assert first.generated.compressed[0] != first.generated.compressed[1]
    assert first.generated.compressed[1] == second.generated.compressed[1]


# -- the gate, memory and precision ----------------------------------------------------------------------------------


def test_what_scores_too_little_is_drawn_again_and_the_best_try_is_kept() -> None:
    config = miniature.prior_config()
    prompts = ["a red cup", "a striped blue star", "a dotted green house", "a purple ball"]
    plain = PriorRenderer(config).generate_images(prompts)
    scores = [one.clip_score or 0.0 for one in plain]
    bar = (min(scores) + sorted(scores)[1]) / 2  # one prompt falls short of it
    drawer = PriorRenderer(replace(config, min_clip_score=bar, max_retries=2))
    gated = drawer.generate_images(prompts)
    assert [one.num_retries > 0 for one in gated] == [score < bar for score in scores]
    (poor,) = [i for i, score in enumerate(scores) if score < bar]
    tries = [compute_image_seed(prompts[poor], config.seed, number) for number in range(gated[poor].num_retries + 1)]
    images = drawer.renderer.render([prompts[poor]] * len(tries), tries)
    encoded = drawer.encoder.encode([[image] for image in images], [prompts[poor]] * len(tries))
    assert gated[poor].clip_score == pytest.approx(max(score or 0.0 for _, score in encoded), abs=0.2)


def test_a_gate_is_part_of_the_id_only_where_it_is_set(prior_config: PriorConfig) -> None:
    assert "min_clip_score" not in build_image_settings(prior_config)
    gated = build_image_settings(replace(prior_config, min_clip_score=20.0))
    assert prior_id("a cup", gated) != prior_id("a cup", build_image_settings(prior_config))


def test_priors_are_equal_whatever_the_batch_size(prior_config: PriorConfig) -> None:
    generated = [
        PriorRenderer(replace(prior_config, render=replace(prior_config.render, batch_size=size))).generate_images(
            PROMPTS
        )
        for size in (1, 3, 8)
    ]
    for one, *others in zip(*generated, strict=True):
        for other in others:
            assert float(one.feature.astype(float) @ other.feature.astype(float)) >= 1 - 1e-3


def _out_of_memory_beyond(renderer: Renderer, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real UNet run out of memory for larger batches (guidance doubles the rows)."""
    unet = renderer._pipeline.unet
    forward = unet.forward

    def bounded(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        if len(sample) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", bounded)


def test_out_of_memory_halves_the_batch_says_so_and_goes_on(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = Renderer(prior_config.render)
    whole = renderer.render(PROMPTS[:4], [1, 2, 3, 4])
    _out_of_memory_beyond(renderer, 2, monkeypatch)
    halved = renderer.render(PROMPTS[:4], [1, 2, 3, 4])
    assert renderer.batch_size == 1
    assert "2 images are drawn at a time" in caplog.text
    assert max(np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(whole, halved, strict=True)) <= 1


def test_a_picture_that_no_memory_holds_names_the_remedy(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = Renderer(prior_config.render)
    _out_of_memory_beyond(renderer, 1, monkeypatch)
    with pytest.raises(GenerationError, match="try a smaller image size"):
        renderer.render(PROMPTS[:1], [1])


def test_nan_of_half_precision_is_drawn_again_in_float32(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = Renderer(prior_config.render).render(PROMPTS[:2], [1, 2])
    renderer = Renderer(replace(prior_config.render, dtype="bfloat16"))
    decode = renderer._pipeline.vae.decode

    def overflowing(latents: torch.Tensor, *args: object, **kwargs: object) -> object:
        (image,) = decode(latents, *args, **kwargs)
        if latents.dtype != torch.float32:
            image[:1] = torch.nan  # the first of the batch
        return (image,)

    monkeypatch.setattr(renderer._pipeline.vae, "decode", overflowing)
    images = renderer.render(PROMPTS[:2], [1, 2])
    assert "1 image(s) held NaN" in caplog.text
    assert np.abs(images[0].astype(int) - right[0].astype(int)).max() <= 1
    assert renderer._pipeline.unet.dtype == torch.bfloat16


def test_nan_in_full_precision_is_an_error_that_names_the_prompt(prior_config: PriorConfig) -> None:
    renderer = Renderer(prior_config.render)
    with torch.no_grad():
        renderer._pipeline.vae.post_quant_conv.weight.fill_(torch.nan)
    with pytest.raises(GenerationError, match="NaN in float32 for 'a"):
        renderer.render(PROMPTS[:1], [1])


# -- the library ----------------------------------------------------------------------------------------------------


def test_the_library_gives_picture_and_feature_and_draws_a_prompt_once(prior_config: PriorConfig) -> None:
    generator = PriorGenerator(prior_config)
    left, right, dog = generator.generate(["left red cup", "red cup on the right", "dog"])
    assert (left.prompt, dog.prompt) == ("a red cup", "a dog")
    assert left.images is right.images
    assert left.image.shape == (32, 32, 3)
    assert left.feature.shape == (generator.dim,) == (DIM,)
    assert left.prior_id == prior_id("a red cup", build_image_settings(prior_config))
    assert generator("the red cup above the ball").images is left.images


def test_the_librarys_memory_is_bounded(prior_config: PriorConfig) -> None:
    generator = PriorGenerator(prior_config, cache_size=1)
    first = generator("red cup")
    generator("dog")
    again = generator("red cup")
    assert again.images is not first.images
    np.testing.assert_array_equal(again.image, first.image)
