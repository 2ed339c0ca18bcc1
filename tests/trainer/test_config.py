from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from trainer.config import TrainConfig, claim_run_folder
from trainer.config_file import read_config
from trainer.errors import TrainerError


def test_a_prior_loss_needs_prior_verification() -> None:
    with pytest.raises(ValueError, match="use_prior_verification"):
        TrainConfig(output=Path("run"), train=(UPath("samples"),), prior_loss_weight=1.0)


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
