"""The shape of the house: which room may import which, and that the common names are ours."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("pipeline", "shards", "generation", "augmentation", "trainer", "workflows")
MAY_IMPORT = {
    "pipeline": set(),
    "shards": {"pipeline"},
    "generation": {"shards", "pipeline"},
    "augmentation": {"shards", "generation", "pipeline"},
    "trainer": {"shards", "pipeline"},
    "workflows": set(ROOMS),
}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.split(".")[0] in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for name in _imports(path):
            allowed = {room} | MAY_IMPORT[room]
            assert any(name == a or name.startswith(f"{a}.") for a in allowed), f"{path} imports {name}"


@pytest.mark.parametrize("room", ROOMS[1:])
def test_other_packages_import_the_public_face_of_pipeline_alone(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        deep = [name for name in _imports(path) if name.startswith("pipeline.")]
        assert not deep, f"{path} imports {deep}; import from pipeline"


def test_importing_pipeline_does_not_import_ray() -> None:
    subprocess.run([sys.executable, "-c", "import sys, pipeline; sys.exit('ray' in sys.modules)"], cwd=ROOT, check=True)


@pytest.mark.parametrize("room", ["generation", "augmentation", "trainer", "shards"])
def test_science_rooms_do_not_know_ray(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert "import ray" not in path.read_text(), path


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_resolves_to_this_checkout(room: str) -> None:
    module = importlib.import_module(room)
    assert Path(str(module.__file__)).resolve().parent == ROOT / room
