from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from trainer.config import TrainConfig


def test_a_prior_loss_asks_for_a_network_whose_prior_verifies() -> None:
    with pytest.raises(ValueError, match="use_prior_verification"):
        TrainConfig(output=Path("run"), train=(UPath("samples"),), prior_loss_weight=1.0)
