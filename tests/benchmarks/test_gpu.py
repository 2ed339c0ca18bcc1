"""The benchmark of a GPU runs on a CPU with miniature models, keeps each figure at once, and survives a failed part."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import detection
from benchmarks.gpu.record import Record


def run_parts(monkeypatch: pytest.MonkeyPatch, output: Path, *parts: str) -> Any:
    arguments = ["benchmarks.gpu", "--smoke", "--rounds", "1", "--output", str(output), "--parts", *parts]
    monkeypatch.setattr(sys, "argv", arguments)
    command.main()
    return json.loads(output.read_text())


def test_parts_run_with_miniature_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures = run_parts(monkeypatch, tmp_path / "gpu.json", "evaluation", "detection")
    assert figures["evaluation"]["float32"]["min IoU of both predictions"] > 0.999
    assert figures["detection"]["CLIP, batch 8"]["images_per_s"] > 0


def test_both_memory_formats_of_the_models_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures = run_parts(monkeypatch, tmp_path / "gpu.json", "formats")
    assert {name: list(values) for name, values in figures["formats"].items()} == {
        "channels-last": ["UNet step, ms", "VAE, ms"],
        "contiguous": ["UNet step, ms", "VAE, ms"],
    }


def test_a_printed_figure_is_short_and_the_file_has_the_longest_kernels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record(path=tmp_path / "gpu.json", smoke=True, rounds=1, folder=tmp_path, device=torch.device("cpu"))
    record.add("priors", "profile", {"kernels_ms": 2.5, "longest": {"direct_copy": [1.5, 63]}})
    printed = capsys.readouterr().out
    assert "kernels_ms" in printed and "direct_copy" not in printed
    assert json.loads(record.path.read_text())["priors"]["profile"]["longest"] == {"direct_copy": [1.5, 63]}


def test_a_failed_part_is_recorded_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(record: object) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setitem(command.PARTS, "detection", fail)
    monkeypatch.setitem(command.PARTS, "sdxl", detection.measure_detection)
    figures = run_parts(monkeypatch, tmp_path / "gpu.json", "detection", "sdxl")
    assert figures["detection"]["failed"] == "RuntimeError: no kernel image"
    assert "detector, batch 8" in figures["detection"]
