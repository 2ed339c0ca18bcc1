"""Rounds of scenes of the miniature world end to end: accounts, resuming, going on, and bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from upath import UPath

from augmentation.errors import AugmentationError
from augmentation.paraphrasing.config import ParaphraseConfig
from augmentation.planning.quotas import QuotaConfig
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.queries.labeling import LabelConfig
from pipeline import ExecutorConfig, PipelineError, open_plan, read_ledger, read_receipts
from shards.reader import SampleReader
from tests.augmentation.tiny_language_model import save_language_model
from workflows import augment, ingest
from workflows.cli.console import UserError
from workflows.miniature.world import cutouts
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.presets import miniature

HERE = ExecutorConfig(isolate=False)
WORDS: dict[str, Any] = {
    "categories": {"cup": "cups", "hat": "hats", "ball": "balls"},
    "quantifiers": ("two", "three"),
    "attributes": {"pattern": ("striped", "dotted"), "color": ("red", "blue", "green")},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut-outs, backgrounds and a vocabulary of three categories."""
    folder = tmp_path_factory.mktemp("inputs")
    config = cutouts.MiniatureCutoutsConfig(cutouts=folder / "cutouts", backgrounds=folder / "backgrounds")
    cutouts.main(config)
    (folder / "vocabulary.json").write_text(json.dumps(asdict(VocabularyConfig(**WORDS))))
    return folder


def _config(inputs: Path, data: Path, **changes: Any) -> augment.AugmentConfig:
    pasted = replace(miniature.pasted_config(), cutouts=inputs / "cutouts", backgrounds=inputs / "backgrounds")
    values: dict[str, Any] = {
        "composers": ("pasted",),
        "vocabulary": inputs / "vocabulary.json",
        "pasted": pasted,
        "data": UPath(data),
        "scenes_per_shard": 12,
        "num_rejected_images": 0,
        "executor": HERE,
    }
    return augment.AugmentConfig(**{**values, **changes})


def _yield(data: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((data / "miniature/scenes-rounds/yield.json").read_text())
    return record


def _bytes(run: Path) -> list[dict[str, str]]:
    return [{role: file.sha256 for role, file in receipt.files.items()} for receipt in read_receipts(run)]


@pytest.fixture(scope="module")
def made(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 scenes, judged by the miniature detector and CLIP."""
    data = tmp_path_factory.mktemp("made")
    augment.make_scenes(_config(inputs, data, num_scenes=36, num_rejected_images=3))
    return data


def test_every_scene_that_was_asked_for_is_accounted_for(made: Path) -> None:
    record = _yield(made)
    pasted, selection = record["composers"]["pasted"], record["selection"]
    outcomes = pasted["accepted"] + sum(pasted["rejected"].values()) + sum(pasted["failed"].values())
    assert record["scenes_requested"] == pasted["attempted"] == outcomes == 36
    assert pasted["accepted"] == selection["candidates"] == open_plan(made / "miniature/scenes").num_items
    assert selection["candidates"] == sum(selection[name] for name in ("kept_scenes", "near_duplicate", "quota_full"))
    reader = SampleReader(made / "miniature/scenes")
    assert (len(reader), reader.num_queries) == (selection["kept_scenes"], selection["kept_queries"])
    assert pasted["accepted"] > 0 and pasted["rejected"]


def test_the_yield_says_what_it_cost_and_how_far_each_cell_is(made: Path) -> None:
    record = _yield(made)
    pasted, quotas = record["composers"]["pasted"], record["quotas"]
    assert pasted["accepted_per_second"] == pytest.approx(pasted["accepted"] / pasted["wall_seconds"], rel=0.05)
    assert 0.5 < pasted["requested_iou"] <= 1
    assert record["stopped"] == "budget spent"
    assert quotas["reached"] + len(quotas["unreached"]) == quotas["total"]
    assert quotas["total"] == 3 * (8 + 10)  # categories; families of two and of three objects
    assert all(one["reason"] for one in quotas["unreached"])


def test_rejected_scenes_are_shown_by_reason(made: Path) -> None:
    folder = made / "miniature/scenes-rounds"
    (receipts, run) = read_receipts(folder / "01-pasted"), folder / "01-pasted"
    rows = [row for receipt in receipts for row in read_ledger(run, receipt)]
    seen = {row["reason"] for row in rows if row["outcome"] == "rejected" and row["stage"] != "compose"}
    assert {path.name for path in (folder / "rejected").glob("*.png")} == {f"pasted-{reason}.png" for reason in seen}
    for path in (folder / "rejected").glob("*.png"):
        with Image.open(path) as sheet:
            assert min(sheet.size) > 200


def test_kept_scenes_have_queries_within_the_limits_of_each_thing(made: Path) -> None:
    for sample in SampleReader(made / "miniature/scenes"):
        things = [query.instance for query in sample.queries]
        assert sample.queries and max(things.count(thing) for thing in things) <= 2
        assert all(query.source == "pasted" and query.program for query in sample.queries)


def test_a_shard_that_was_lost_is_made_again_as_it_was_and_rates_stay_those_of_the_work(
    inputs: Path, made: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(made, data)
    run = data / "miniature/scenes-rounds/01-pasted"
    sorted((run / "receipts").glob("*.json"))[1].unlink()
    augment.make_scenes(_config(inputs, data, num_scenes=36))
    for folder in ("scenes-rounds/01-pasted", "scenes"):
        assert _bytes(data / "miniature" / folder) == _bytes(made / "miniature" / folder)
    before, after = (_yield(folder)["composers"]["pasted"] for folder in (made, data))
    assert after["accepted"] == before["accepted"] and after["wall_seconds"] > before["wall_seconds"] / 4
    augment.make_scenes(_config(inputs, data, num_scenes=36))
    assert _yield(data)["composers"]["pasted"] == after


@pytest.fixture(scope="module")
def exact_scenes(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("exact")
    augment.make_scenes(_config(inputs, data, num_scenes=30, skip_detector=True))
    return data


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(inputs: Path, exact_scenes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(exact_scenes, data)
    augment.make_scenes(_config(inputs, data, num_scenes=50, skip_detector=True))
    rounds = data / "miniature/scenes-rounds"
    assert [open_plan(rounds / name).num_items for name in ("01-pasted", "02-pasted")] == [30, 20]
    assert _bytes(rounds / "01-pasted") == _bytes(exact_scenes / "miniature/scenes-rounds/01-pasted")
    keys = {entry.key[:9] for entry in SampleReader(data / "miniature/scenes").index}
    assert keys == {"pasted-01", "pasted-02"}
    with pytest.raises(UserError, match=r"02-pasted has 20 scenes, but 10 of .* are left; give at least 50"):
        augment.make_scenes(_config(inputs, data, num_scenes=40, skip_detector=True))


def test_quotas_follow_a_measured_style_unless_they_are_weighted(inputs: Path, tmp_path: Path) -> None:
    config = _config(
        inputs,
        tmp_path,
        num_scenes=60,
        skip_detector=True,
        label=LabelConfig(style="refcoco-measured"),
        quotas=QuotaConfig(queries_per_quota=40, weights={"depth": 0}),
    )
    augment.make_scenes(config)
    min_queries = {one["relation_type"]: one["min_queries"] for one in _yield(tmp_path)["quotas"]["unreached"]}
    assert min_queries["side"] > 6 * min_queries["region"] > 0 and "depth" not in min_queries


def test_another_configuration_is_refused_and_says_what_differs(inputs: Path, exact_scenes: Path) -> None:
    changed = _config(inputs, exact_scenes, num_scenes=30, skip_detector=True, quotas=QuotaConfig(queries_per_quota=9))
    with pytest.raises(PipelineError, match=r"quotas\.queries_per_quota: 8 in the plan, 9 now"):
        augment.make_scenes(changed)


def test_rounds_end_when_every_cell_is_reached(inputs: Path, tmp_path: Path) -> None:
    words = {**WORDS, "categories": {"cup": "cups"}, "quantifiers": ("three",)}
    (tmp_path / "cups.json").write_text(json.dumps(asdict(VocabularyConfig(**words))))
    quotas = QuotaConfig(queries_per_quota=1)
    config = _config(
        inputs, tmp_path, num_scenes=600, skip_detector=True, quotas=quotas, vocabulary=tmp_path / "cups.json"
    )
    augment.make_scenes(config)
    record = _yield(tmp_path)
    assert record["stopped"] == "every quota is reached" and record["scenes_requested"] < 600
    assert record["selection"]["kept_queries"] == record["quotas"]["total"] == record["quotas"]["reached"] == 10
    assert record["selection"]["quota_full"] > 0


def test_composers_share_the_scenes_and_the_account(inputs: Path, tmp_path: Path) -> None:
    config = _config(inputs, tmp_path, num_scenes=5, composers=("prompted", "pasted"))
    augment.make_scenes(replace(config, render=replace(config.render, num_inference_steps=2)))
    composers = _yield(tmp_path)["composers"]
    assert {name: one["attempted"] for name, one in composers.items()} == {"prompted": 3, "pasted": 2}
    assert composers["prompted"]["requested_iou"] is None


@pytest.mark.slow
def test_paraphrases_are_counted_and_change_the_texts_of_queries_alone(
    inputs: Path, exact_scenes: Path, tmp_path: Path
) -> None:
    paraphrase = ParaphraseConfig(model=str(save_language_model(tmp_path / "model", "causal")), max_new_tokens=4)
    augment.make_scenes(_config(inputs, tmp_path, num_scenes=30, skip_detector=True, paraphrase=paraphrase))
    counts = _yield(tmp_path)["composers"]["pasted"]["paraphrases"]
    assert counts["queries"] > 30 and sum(counts.values()) > counts["queries"]
    assert "paraphrases" not in _yield(exact_scenes)["composers"]["pasted"]
    paraphrased, plain = (
        [
            (query.query_id, query.box_xyxy, query.program)
            for sample in SampleReader(data / "miniature/scenes-rounds/01-pasted")
            for query in sample.queries
        ]
        for data in (tmp_path, exact_scenes)
    )
    assert paraphrased == plain


@contextmanager
def _refused(data: Path, error: type[Exception], message: str) -> Iterator[None]:
    """With one clear line, and before anything is made."""
    with pytest.raises(error, match=message):
        yield
    assert not (data / "miniature").exists()


def test_bad_input_is_refused_before_the_first_scene(inputs: Path, tmp_path: Path) -> None:
    config = _config(inputs, tmp_path, skip_detector=True)
    (tmp_path / "dogs.json").write_text('{"categories": {"cup": "cups", "dog": "dogs"}}')
    with _refused(tmp_path, AugmentationError, "has no cut-outs of dog; make them with"):
        augment.make_scenes(replace(config, vocabulary=tmp_path / "dogs.json"))
    with _refused(tmp_path, AugmentationError, "does not know 'dog'; it knows ball"):
        augment.make_scenes(replace(config, skip_detector=False, vocabulary=tmp_path / "dogs.json"))
    with _refused(tmp_path, AugmentationError, "/nowhere cannot be loaded as a language model"):
        augment.make_scenes(replace(config, paraphrase=ParaphraseConfig(model="/nowhere")))
    with _refused(tmp_path, AugmentationError, "there are no cut-outs: .* is no folder; make them with"):
        augment.make_scenes(replace(config, pasted=replace(config.pasted, cutouts=tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_scenes": 0}, "num_scenes must be at least 1, got 0"),
        ({"composers": ()}, "composers must name at least one, and each once, got none"),
        ({"composers": ("pasted", "pasted")}, "each once, got pasted pasted"),
        ({"composers": ("prompted", "pasted"), "skip_detector": True}, "or leave --skip-detector out"),
        ({"num_rejected_images": -1}, "num_rejected_images must be at least 0"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment.AugmentConfig(**changes)


def test_images_of_the_test_splits_are_no_backgrounds(inputs: Path, tmp_path: Path) -> None:
    refer, backgrounds = tmp_path / "refer", tmp_path / "backgrounds"
    write_dataset(WorldConfig(output=refer, num_train=2, num_val=1, num_test=1))
    ingest.main(ingest.IngestConfig(annotations=refer / "miniature", images=refer / "images", data=UPath(tmp_path)))
    held_out = [sample for sample in SampleReader(tmp_path / "miniature/samples") if sample.queries[0].split != "train"]
    backgrounds.mkdir()
    for number, sample in enumerate(held_out):
        (backgrounds / f"holiday-{number}.png").write_bytes(sample.image)
    config = _config(inputs, tmp_path, skip_detector=True)
    with pytest.raises(AugmentationError, match=r"held.out"):
        augment.make_scenes(replace(config, pasted=replace(config.pasted, backgrounds=backgrounds)))


def test_scenes_of_other_data_sets_are_asked_for_of_cocos_categories(inputs: Path, tmp_path: Path) -> None:
    config = replace(_config(inputs, tmp_path, skip_detector=True), dataset="mine", vocabulary=None)
    with pytest.raises(AugmentationError, match=r"no cut-outs of airplane, apple, .* zebra; .* out of the vocabulary"):
        augment.make_scenes(config)


def test_style_and_models_are_those_of_the_data_set_unless_others_are_named() -> None:
    styles = {
        name: augment.make_default_config(["--dataset", name]).label.style for name in ("refcoco+", "refcocog", "mine")
    }
    assert styles == {"refcoco+": "refcoco+", "refcocog": "refcocog", "mine": "refcoco"}
    assert augment.make_default_config(["--dataset", "mine"]).detector.checkpoint == augment.DETECTOR
    assert (
        augment.make_default_config([])
        == augment.make_default_config(["--data", "refcoco+"])
        == augment.AugmentConfig()
    )
