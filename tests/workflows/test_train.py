from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from trainer.config import DEFAULT_TEXT_ENCODER
from workflows.cli.console import UserError
from workflows.cli.paths import get_dataset_paths
from workflows.presets.full_size import sd15
from workflows.priors.query_parsing import list_appearance_words
from workflows.train import TrainCommandConfig, Variant, build_train_config


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
    for source in ("samples", "scenes", "packed-samples", "packed-scenes", "crop_features", "crop_features_scenes"):
        (tmp_path / "miniature" / source).mkdir(parents=True)
    config = TrainCommandConfig(variant=variant, data=UPath(tmp_path), trainer_args=trainer_args)
    assert build_train_config(config).max_synthetic_fraction == share
    assert build_train_config(replace(config, max_synthetic_fraction=None)).max_synthetic_fraction in (None, 0.5)


def test_an_arm_asks_for_what_it_is_trained_on_and_for_no_more(tmp_path: Path) -> None:
    data = UPath(tmp_path)
    made = {"samples": "ingest", "scenes": "augment", "packed-samples": "generate-priors pack", "packed-scenes": "pack"}
    made |= {"crop_features": "crop-features", "crop_features_scenes": "crop-features"}
    needs: dict[Variant, list[str]] = {
        "base": ["samples"],
        "scenes": ["samples", "scenes"],
        "priors": ["packed-samples", "crop_features"],
        "both": ["packed-samples", "packed-scenes", "crop_features", "crop_features_scenes"],
    }
    for variant, folders_of_arm in needs.items():
        for source in folders_of_arm:
            if not (tmp_path / "mine" / source).is_dir():
                command = f'run `make .*{made[source]} ARGS="--dataset mine'
                with pytest.raises(UserError, match=f"{source} does not exist; {command}"):
                    build_train_config(
                        TrainCommandConfig(dataset="mine", variant=variant, recipe="miniature", data=data)
                    )
                (tmp_path / "mine" / source).mkdir(parents=True)
        built = build_train_config(TrainCommandConfig(dataset="mine", variant=variant, recipe="miniature", data=data))
        assert (*built.train, *built.crop_features) == tuple(data / "mine" / source for source in folders_of_arm)
        assert (built.exemplars is not None) == (variant in ("priors", "both"))
        assert built.network.use_prior == (variant in ("priors", "both"))


def test_exemplars_are_an_option_of_either_recipe_with_priors(tmp_path: Path) -> None:
    data = UPath(tmp_path)
    for source in ("samples", "packed-samples", "crop_features"):
        (tmp_path / "mine" / source).mkdir(parents=True)
    config = TrainCommandConfig(dataset="mine", variant="priors", data=data, random_weights=True)
    assert build_train_config(config).exemplars is None
    trained = build_train_config(replace(config, exemplars=True))
    assert trained.exemplars is not None and {"red", "striped"} <= set(trained.exemplars.appearance_words)
    assert "shirt" not in trained.exemplars.appearance_words  # an object of the miniature world
    assert "shirt" in list_appearance_words(sd15())
    assert not trained.exemplars.limit_words and trained.prior_dropout == 0.5
    published = replace(config, recipe="miniature", exemplars=False)
    assert build_train_config(published).network.starts_from_prior
    with pytest.raises(UserError, match=r"--exemplars is for the variants priors and both, got base"):
        replace(config, variant="base", exemplars=True)


def test_a_started_network_replaces_the_weights_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine" / "samples").mkdir(parents=True)
    config = TrainCommandConfig(dataset="mine", variant="base", data=UPath(tmp_path), start="miniature")
    assert build_train_config(config).start == "miniature"
    built = build_train_config(replace(config, recipe="miniature"))
    assert built.pretrained_visual is None and built.text_encoder == DEFAULT_TEXT_ENCODER
    with pytest.raises(UserError, match="all choose the backbone's weights; give one of them"):
        replace(config, random_weights=True)


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
