from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from trainer.config import TrainConfig, add_exemplars, claim_run_folder
from trainer.config_file import parse_overrides, read_config, write_config
from trainer.errors import TrainerError


def test_exemplars_need_scoring_and_crop_features_of_each_run() -> None:
    config = TrainConfig(output=Path("run"), train=(UPath("samples"), UPath("scenes")))
    crops = (UPath("crop_features"), UPath("crop_features_scenes"))
    trained = add_exemplars(config, crops, ("red", "striped"))
    assert trained.network.exemplar_scoring is not None and trained.exemplars is not None
    assert not trained.exemplars.limit_words  # its text encoder is pretrained
    with pytest.raises(ValueError, match=r"need each other, got None and ExemplarScoringConfig"):
        replace(trained, exemplars=None)
    with pytest.raises(ValueError, match=r"one run for each of train \(2\) with exemplars, .* got 1; .*crop-features"):
        replace(trained, crop_features=crops[:1])
    with pytest.raises(ValueError, match=r"none without, got 2"):
        replace(config, crop_features=crops)


def test_exemplars_are_read_as_they_were_written_and_options_change_them(tmp_path: Path) -> None:
    config = TrainConfig(output=tmp_path, train=(UPath("samples"),))
    config = add_exemplars(config, (UPath("crop_features"),), ("red", "striped"))
    write_config(config, tmp_path / "config.json")
    assert read_config(TrainConfig, tmp_path / "config.json") == config
    changed = parse_overrides(config, ["--exemplars.max-queries", "1", "--network.exemplar-scoring.margin", "0.3"])
    assert changed.exemplars is not None and changed.network.exemplar_scoring is not None
    assert (changed.exemplars.max_queries, changed.network.exemplar_scoring.margin) == (1, 0.3)


def test_a_run_folder_keeps_the_configuration_of_its_checkpoints(tmp_path: Path) -> None:
    config = TrainConfig(output=tmp_path, train=(UPath("samples"),))
    path = claim_run_folder(config)
    claim_run_folder(replace(config, seed=7))  # no checkpoint yet
    (tmp_path / "checkpoint-0001-000000").mkdir()
    (tmp_path / "last").symlink_to("checkpoint-0001-000000")
    claim_run_folder(replace(config, seed=7, num_workers=0))
    assert read_config(TrainConfig, path) == replace(config, seed=7, num_workers=0)
    other = replace(config, network=replace(config.network, width=128))
    with pytest.raises(TrainerError, match=r"\(network\.width: 256 then, 128 now; seed: 7 then, 42 now\)"):
        claim_run_folder(other)
    with pytest.raises(TrainerError, match="already holds a run"):
        claim_run_folder(replace(config, seed=7, resume="never"))
    assert read_config(TrainConfig, path).seed == 7
