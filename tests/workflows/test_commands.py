from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import tyro
from upath import UPath

from shards.reader import SampleReader
from workflows import generate_priors, ingest
from workflows.augment import AugmentConfig
from workflows.cli.console import UserError, run
from workflows.cli.paths import get_dataset_paths
from workflows.demo import SIZES
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.presets.full_size import PRESETS
from workflows.train import TrainCommandConfig, Variant, build_train_config

COMMANDS = {
    "ingest": "IngestConfig",
    "generate_priors": "GeneratePriorsConfig",
    "augment": "AugmentConfig",
    "pack": "PackConfig",
    "train": "TrainCommandConfig",
    "evaluate": "EvaluateCommandConfig",
    "demo": "DemoConfig",
    "miniature.train_all": "MiniatureModelsConfig",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_help_and_runs_without_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"workflows.{name}")
    config = getattr(module, COMMANDS[name])
    tyro.cli(config, args=[])
    with pytest.raises(SystemExit) as exit_info:
        tyro.cli(config, args=["--help"], description=module.__doc__)
    assert exit_info.value.code == 0
    assert "--data" in capsys.readouterr().out or name in ("demo", "miniature.train_all")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=6, num_val=2, num_test=2))
    return folder


def _config(world: Path, data: Path, **changes: object) -> ingest.IngestConfig:
    values: dict[str, object] = {"annotations": world / "miniature", "images": world / "images", "data": data}
    return ingest.IngestConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_ingest_delivers_every_query_once(world: Path, tmp_path: Path) -> None:
    ingest.main(_config(world, tmp_path))
    reader = SampleReader(tmp_path / "miniature" / "samples")
    found = [query.query_id for sample in reader for query in sample.queries]
    listed = [json.loads(line)["query_id"] for line in (tmp_path / "miniature/queries.jsonl").read_text().splitlines()]
    assert sorted(found) == sorted(listed)
    assert reader.splits == ["testA", "testB", "train", "val"]


def test_missing_photographs_stop_ingest_unless_allowed(world: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((world / "images").iterdir())[1:]:
        (images / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"1 images are not in .*--allow-missing-images"):
        ingest.main(_config(world, tmp_path / "data", images=images))
    assert not (tmp_path / "data/miniature/samples").exists()
    ingest.main(_config(world, tmp_path / "data", images=images, allow_missing_images=True))
    problems = (tmp_path / "data/miniature/problems.jsonl").read_text().splitlines()
    assert [json.loads(line)["rule"] for line in problems] == ["missing_image"]
    ingest.main(_config(world, tmp_path / "whole"))
    partial, whole = (SampleReader(tmp_path / name / "miniature/samples") for name in ("data", "whole"))
    assert len(partial) == len(whole) - 1


def test_a_users_error_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: ingest.IngestConfig) -> None:
        raise UserError("the folder [x] is\nnot there")

    monkeypatch.setattr("sys.argv", ["ingest"])
    with pytest.raises(SystemExit) as exit_info:
        run(fail, ingest.IngestConfig, "")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: the folder [x] is not there\n"


def test_the_full_demo_and_the_single_steps_share_their_defaults() -> None:
    size, world = SIZES["full"], WorldConfig()
    assert (size.num_train, size.num_val, size.num_test) == (world.num_train, world.num_val, world.num_test)
    assert size.num_scenes == AugmentConfig().num_scenes
    assert size.epochs is None


def test_a_preset_is_what_the_options_start_from(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[generate_priors.GeneratePriorsConfig] = []
    options = ["--dataset", "refcoco", "--preset", "sd-turbo", "--prior.render.num-inference-steps", "2"]
    monkeypatch.setattr("sys.argv", ["generate_priors", *options])
    run(given.append, generate_priors.GeneratePriorsConfig, "", generate_priors.make_default_config)
    (config,) = given
    assert (config.prior.render.checkpoint, config.prior.render.num_inference_steps) == ("stabilityai/sd-turbo", 2)
    assert config.prior.render.guidance_scale == 0
    assert all(make().encoder for make in PRESETS.values())


def test_an_unknown_preset_is_refused_by_the_parser_of_all_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["generate_priors", "--preset", "sd99"])
    with pytest.raises(SystemExit) as exit_info:
        run(print, generate_priors.GeneratePriorsConfig, "", generate_priors.make_default_config)
    assert exit_info.value.code == 2


def test_two_starting_points_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give one of them"):
        TrainCommandConfig(detr_weights=tmp_path, pretrained_visual=tmp_path)


@pytest.mark.parametrize(
    ("variant", "trainer_args", "share"),
    [
        ("both", (), 0.25),
        ("both", ("--mixing-ratios", "1", "1"), None),
        ("both", ("--max-synthetic-fraction", "0.5"), 0.5),
        ("scenes", (), 0.25),
        ("priors", (), None),
    ],
)
def test_training_limits_the_share_of_scenes_if_it_has_any(
    variant: Variant, trainer_args: tuple[str, ...], share: float | None, tmp_path: Path
) -> None:
    for source in ("samples", "scenes", "packed-samples", "packed-scenes"):
        (tmp_path / "miniature" / source).mkdir(parents=True)
    config = TrainCommandConfig(variant=variant, data=UPath(tmp_path), trainer_args=trainer_args)
    assert build_train_config(config).max_synthetic_fraction == share
    assert build_train_config(replace(config, max_synthetic_fraction=None)).max_synthetic_fraction in (None, 0.5)


def test_an_arm_asks_for_what_it_is_trained_on_and_for_no_more(tmp_path: Path) -> None:
    data = UPath(tmp_path)
    made = {"samples": "ingest", "scenes": "augment", "packed-samples": "generate-priors pack", "packed-scenes": "pack"}
    needs: dict[Variant, list[str]] = {
        "base": ["samples"],
        "scenes": ["samples", "scenes"],
        "priors": ["packed-samples"],
        "both": ["packed-samples", "packed-scenes"],
    }
    for variant, folders_of_arm in needs.items():
        for source in folders_of_arm:
            if not (tmp_path / "mine" / source).is_dir():
                with pytest.raises(UserError, match=f"{source} does not exist; run `make .*{made[source]}` for 'mine'"):
                    build_train_config(
                        TrainCommandConfig(dataset="mine", variant=variant, recipe="miniature", data=data)
                    )
                (tmp_path / "mine" / source).mkdir(parents=True)
        built = build_train_config(TrainCommandConfig(dataset="mine", variant=variant, recipe="miniature", data=data))
        assert built.train == tuple(data / "mine" / source for source in folders_of_arm)
        assert built.network.use_prior == (variant in ("priors", "both"))


def test_the_published_recipe_does_not_start_from_random_weights_unasked(tmp_path: Path) -> None:
    (tmp_path / "refcoco" / "samples").mkdir(parents=True)

    config = TrainCommandConfig(dataset="refcoco", variant="base", recipe="published", data=UPath(tmp_path))
    with pytest.raises(UserError, match="give --detr-weights FOLDER or --pretrained-visual"):
        build_train_config(config)
    assert build_train_config(replace(config, random_weights=True)).pretrained_visual is None
    named = replace(config, trainer_args=("--pretrained-visual", "detr.pth"))
    assert build_train_config(named).pretrained_visual == Path("detr.pth")


def test_networks_are_evaluated_on_samples_without_priors_where_none_are_packed(tmp_path: Path) -> None:
    place = get_dataset_paths("mine", UPath(tmp_path))
    assert place.evaluated == place.samples
    place.get_packed_run("samples").mkdir(parents=True)
    assert place.evaluated == place.get_packed_run("samples")
