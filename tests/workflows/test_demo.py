from __future__ import annotations

from pathlib import Path

import pytest

from workflows.augment import AugmentConfig
from workflows.demo import SIZES
from workflows.miniature.world.dataset import WorldConfig, write_dataset


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=6, num_val=2, num_test=2))
    return folder


def test_the_full_demo_and_the_single_steps_share_their_defaults() -> None:
    size, world = SIZES["full"], WorldConfig()
    assert (size.num_train, size.num_val, size.num_test) == (world.num_train, world.num_val, world.num_test)
    assert size.num_scenes == AugmentConfig().num_scenes
    assert size.epochs is None
