"""The packages' names are common words, so each has to resolve to this checkout and not to an installed package."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["pipeline", "shards", "generation", "augmentation", "trainer", "workflows"])
def test_a_package_resolves_to_this_checkout(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).resolve().parent == ROOT / name
