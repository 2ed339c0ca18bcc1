from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from pipeline import ExecutorConfig, Report, Resources
from tests.pipeline.toy_job import SquareStage, toy_job
from workflows import ingest
from workflows.cli.console import UserError
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.reports.run_report import compute_time_shares, count_outcomes, plot_run, run_and_plot_job


def _is_drawn(path: Path) -> bool:
    """Whether it is an image with more on it than the white of an empty page."""
    with Image.open(path) as image:
        return image.width > 300 and len(image.convert("RGB").getcolors(1 << 20) or []) > 20


def test_a_funnel_counts_what_is_taken_away_by_reason_the_commonest_first() -> None:
    assert list(count_outcomes(10, 6, {"few": 1, "many": 2}, {"crash": 1}, {"kept": 5}).items()) == [
        ("attempted", 10),
        ("rejected: many", 2),
        ("rejected: few", 1),
        ("failed: crash", 1),
        ("accepted", 6),
        ("kept", 5),
    ]


def test_shares_of_time_are_in_percent_and_none_where_nothing_was_done() -> None:
    assert compute_time_shares({"draw": 3.0, "commit": 1.0}) == {"draw": 75.0, "commit": 25.0}
    assert compute_time_shares({"draw": 0.0}) == {}


def test_a_run_is_plotted_once_beside_its_report(tmp_path: Path) -> None:
    write_dataset(WorldConfig(output=tmp_path / "world", num_train=4, num_val=2, num_test=2))
    config = ingest.IngestConfig(
        annotations=tmp_path / "world/miniature", images=tmp_path / "world/images", data=UPath(tmp_path / "data")
    )
    ingest.main(config)
    path = tmp_path / "data/miniature/samples/report.png"
    assert _is_drawn(path)
    path.write_bytes(b"as it was")
    ingest.main(config)
    assert path.read_bytes() == b"as it was"


def test_a_report_with_nothing_in_it_is_drawn_all_the_same(tmp_path: Path) -> None:
    report = Report(name="priors", run=UPath(tmp_path), plan_hash="0", num_shards=0, num_items=0, failed=Counter())
    plot_run(report, tmp_path / "report.png")
    assert _is_drawn(tmp_path / "report.png")


def test_a_gpu_that_torch_does_not_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    stage = SquareStage()
    stage.resources = Resources(num_gpus=1)
    with pytest.raises(UserError, match="torch sees no GPU; leave it out to use the CPU, or run `make check-setup`"):
        run_and_plot_job(toy_job(stages=[stage]), tmp_path / "run", ExecutorConfig())
    assert not (tmp_path / "run").exists()
