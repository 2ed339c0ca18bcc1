"""The console script, and the check of the installation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflows import __main__ as script
from workflows import check_setup
from workflows.cli.console import UserError

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "workflows", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_without_a_command_all_are_listed_with_a_sentence() -> None:
    lines = [line.split(maxsplit=1) for line in _run().stdout.splitlines() if line.startswith("  ")]
    assert [name for name, _ in lines] == list(script.COMMANDS)
    assert all(sentence.endswith(".") for _, sentence in lines)


def test_a_command_gets_its_options_and_an_unknown_one_is_named() -> None:
    done = _run("status", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m workflows.status")
    done = _run("statistics")
    assert done.returncode == 1
    assert done.stderr == "error: there is no command 'statistics'; resvg-grounding --help lists them\n"


def test_a_gpu_that_torch_cannot_use_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_setup.main(check_setup.CheckSetupConfig())
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"cannot use GPU 0: NVIDIA H100.*TORCH_INDEX"):
        check_setup.main(check_setup.CheckSetupConfig())
