from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter
from upath import UPath

from pipeline import Receipt
from trainer.config import make_published_recipe
from workflows.cli.steps import StepCost
from workflows.rehearsal.__main__ import main
from workflows.rehearsal.config import RehearsalConfig
from workflows.rehearsal.plan import list_steps
from workflows.rehearsal.report import (
    Rate,
    TrainingPace,
    format_report,
    make_rate,
    measure_disk,
    read_training_pace,
)


def make_receipt(finished_at: float, attempted: int, seconds: float, **summary: int) -> Receipt:
    return Receipt(
        shard_id=f"{finished_at:.0f}",
        plan_hash="",
        files={},
        attempted=attempted,
        accepted=attempted,
        summary=summary,
        stage_seconds={"render": seconds - 1, "commit": 1.0},
        finished_at=finished_at,
    )


def test_the_first_shard_which_loads_models_does_not_count() -> None:
    receipts = [make_receipt(3, 2, 8.0), make_receipt(1, 4, 100.0), make_receipt(2, 2, 4.0)]
    rate = make_rate("generate-priors", "prior", receipts, 1200)
    assert rate.seconds_per_item == 3.0  # (8 + 4) / (2 + 2)
    assert rate.hours == 1.0


def test_a_single_shard_counts() -> None:
    assert make_rate("ingest", "image", [make_receipt(1, 4, 10.0)], 1).seconds_per_item == 2.5


def test_crops_are_counted_one_by_one() -> None:
    assert make_rate("crop-features", "crop", [make_receipt(1, 2, 10.0, crops=20)], 1).seconds_per_item == 0.5


def test_the_pace_of_a_training_leaves_its_first_step_out(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step, (seconds, queries, memory_gb) in enumerate([(60.0, 4, 1.0), (2.0, 4, 3.0), (4.0, 2, 2.0)]):
            for name, value in {"step_s": seconds, "num_queries": queries, "peak_memory_gb": memory_gb}.items():
                writer.add_scalar(name, value, step)
    assert read_training_pace(tmp_path) == TrainingPace(seconds_per_step=3, queries_per_step=3, peak_bytes=3 * 10**9)


def test_files_with_several_links_count_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("a")
    assert measure_disk([tmp_path]) == 5


def test_the_image_size_is_a_multiple_of_8() -> None:
    with pytest.raises(ValueError, match=r"image_size_px must be a multiple of 8.*got 100; try 96"):
        RehearsalConfig(image_size_px=100)


def test_trainings_have_the_published_sizes_and_differ_by_exemplars_alone(tmp_path: Path) -> None:
    config = RehearsalConfig(output=tmp_path)
    trainings = {step.name: shlex.join(step.lanes[0][0]) for step in list_steps(config) if "train" in step.name}
    published, exemplars = trainings["train, published"], trainings["train, exemplars"]
    assert "--network" not in published
    assert f"--batch-images {make_published_recipe(tmp_path, (UPath(tmp_path),)).batch_images}" in published
    assert exemplars.replace("exemplars --exemplars True", "published") == published


def test_the_report_names_hours_of_the_gpu_only_with_one() -> None:
    cost = StepCost(seconds=90.0, cpu_s=45.0, peak_bytes=2 * 10**9, gpu_peak_bytes=4 * 10**9)
    rate = Rate(part="ingest", item="image", seconds_per_item=0.36, num_items=20_000)
    report = {
        "machine": {"device": "NVIDIA H100", "is_gpu": True, "torch": "2.11"},
        "options": vars(RehearsalConfig()),
        "steps": {"ingest": {**vars(cost), "disk_bytes": 5_000_000}},
        "training": {"published": vars(TrainingPace(seconds_per_step=0.5, queries_per_step=64, peak_bytes=10**10))},
        "refcoco": [{**vars(rate), "hours": rate.hours}],
    }
    text = format_report(report)
    assert "| ingest | 90 | 45 | 2.0 | 4.0 | 5 |" in text
    assert "| published | 0.50 | 64 | 10.0 |" in text
    assert "GPU-hours" in text and "| ingest | 20,000 x image | 360.0 | 2.0 |" in text
    report["machine"]["is_gpu"] = False
    text = format_report(report)
    assert "| ingest | 90 | 45 | 2.0 | 5 |" in text and "GPU" not in text.partition("\n\n")[2].partition("\n\n")[2]


@pytest.mark.slow
def test_the_smoke_rehearsal_runs_every_command_once_and_reports_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RehearsalConfig(smoke=True, device="cpu", output=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        options = ("--smoke", "--device", "cpu", "--output", str(tmp_path))
        # In a process of its own: the peak memory of a command includes that of the process that starts it.
        subprocess.run([sys.executable, "-m", "workflows.rehearsal", *options], check=True)
        report = json.loads((tmp_path / "rehearsal.json").read_text())
        assert list(report["steps"]) == [step.name for step in list_steps(config)]
        assert all(step["seconds"] > 0 and step["disk_bytes"] > 0 for step in report["steps"].values())
        assert max(step["peak_bytes"] for step in report["steps"].values()) < 4e9
        assert [rate["part"] for rate in report["refcoco"]] == [
            "ingest",
            "generate-priors",
            *("augment, prompted", "augment, pasted", "augment, photographs"),
            "crop-features",
            "pack",
            *("train, published", "train, exemplars"),
            *("evaluate, published, with its start", "evaluate, exemplars, with its start"),
        ]
        assert all(rate["hours"] > 0 for rate in report["refcoco"])
        assert set(report["training"]) == {"published", "exemplars"}
        assert (tmp_path / "predictions" / "predictions.jsonl").is_file()
        capsys.readouterr()
        main(config)
        assert capsys.readouterr().err.count("done before") == len(report["steps"])
        assert json.loads((tmp_path / "rehearsal.json").read_text()) == report
