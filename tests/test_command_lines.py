"""Every command answers ``--help`` without loading a large library."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGE = ("accelerate", "diffusers", "duckdb", "gradio", "matplotlib", "pyarrow.dataset", "ray", "scipy.stats", "spacy")
LARGE += ("torch", "transformers", "webdataset")
RUN = f"""
import runpy, sys
module = sys.argv[1]
del sys.argv[1]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as exited:
    status = exited.code
print(*(name for name in {LARGE} if name in sys.modules), file=sys.stderr)
sys.exit(status)
"""


def _find_commands() -> list[str]:
    """The modules of the packages that have a command line."""
    paths = [path for package in ("trainer", "workflows") for path in (ROOT / package).rglob("*.py")]
    commands = [path.relative_to(ROOT) for path in paths if '__name__ == "__main__"' in path.read_text()]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__main__") for path in commands)


def _run(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, module, *options]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("module", _find_commands())
def test_a_command_shows_its_help_at_once(module: str) -> None:
    done = _run(module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == []
    assert done.stdout.startswith(f"usage: python -m {module} ")
    assert done.stdout.count("\n") <= 80
    assert "``" not in done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ("workflows.augment", "--nosuch"),
        ("workflows.gallery", "--dataset", "nosuch"),
        ("workflows.pack", "--dataset", "nosuch"),
        ("workflows.train", "--dataset", "nosuch"),
        ("workflows.evaluate", "--dataset", "nosuch"),
        ("workflows.predict", "--image", "nosuch.png", "--query", "left cup"),
        ("workflows.status", "nosuch"),
        ("trainer.evaluate", "--config", "nosuch.json"),
        ("trainer.train", "--config", "nosuch.json"),
    ],
    ids=lambda options: options[0],
)
def test_a_command_refuses_wrong_options_and_paths_at_once(options: tuple[str, ...]) -> None:
    done = _run(*options)
    assert done.returncode in (1, 2) and "nosuch" in done.stdout + done.stderr
    assert not set(done.stderr.splitlines()[-1].split()) & set(LARGE)


def test_every_option_has_a_sentence() -> None:
    for module in _find_commands():
        shown = re.sub(r",\s*│\n│\s*--", ", --", _run(module, "--help-all").stdout)
        options = re.findall(r"^│ (--\S+.*?)(?=^│ --|^╰)", shown, re.MULTILINE | re.DOTALL)
        for option in options:
            text = " ".join(option.replace("│", " ").split())
            assert re.search(r"\.( \((default|required|sets)|$)", text), f"{module}: {text}"


def test_the_groups_of_a_command_are_shown_on_request() -> None:
    assert "--ray-address" not in _run("workflows.ingest", "--help").stdout
    shown = _run("workflows.ingest", "--help-all").stdout
    assert "executor options" in shown and "--ray-address" in shown
