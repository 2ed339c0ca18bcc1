"""Imports of packages: their names are common words, so each has to resolve to this checkout."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["pipeline", "shards", "generation", "augmentation", "trainer", "workflows"])
def test_a_package_resolves_to_this_checkout(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).resolve().parent == ROOT / name


def test_importing_pipeline_does_not_import_ray() -> None:
    subprocess.run([sys.executable, "-c", "import sys, pipeline; sys.exit('ray' in sys.modules)"], cwd=ROOT, check=True)
