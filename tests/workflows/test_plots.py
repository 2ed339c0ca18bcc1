from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from PIL import Image
from upath import UPath

from pipeline import Report
from workflows import ingest
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.reports.plot_style import new_figure, plot_heat_map, plot_levels
from workflows.reports.run_report import compute_time_shares, count_outcomes, plot_run
from workflows.reports.training_plots import make_learning_figure, plot_learning
from workflows.scenes.yield_plots import plot_yield


def _is_drawn(path: Path) -> bool:
    """Whether it is a image with more on it than the white of an empty page."""
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


def test_levels_are_read_from_top_to_bottom_with_their_numbers() -> None:
    _, (axes,) = new_figure(4, 2)
    plot_levels(axes, {"attempted": 1200, "accepted": 300}, "items")
    assert [text.get_text().strip() for text in axes.texts] == ["1,200", "300"]
    assert [bar.get_width() for bar in axes.patches] == [1200, 300]
    assert axes.yaxis_inverted()


def test_texts_of_a_heat_map_stand_out_from_dark_and_light() -> None:
    _, (axes,) = new_figure(4, 2)
    plot_heat_map(axes, [[0.0, 1.0, None]], [["0/4", "4/4", ""]], ["side"], ["2", "3", "4"])
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("0/4", "white"), ("4/4", "black"), ("", "black"),
    ]  # fmt: skip


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


def test_the_yield_of_scenes_becomes_three_plots(tmp_path: Path) -> None:
    composer = {
        "attempted": 9, "accepted": 4, "rejected": {"few": 5}, "failed": {}, "near_duplicate": 1, "quota_full": 0,
        "kept_scenes": 3, "work_seconds": {"compose": 2.0, "detect": 1.0},
    }  # fmt: skip
    families = {"side": {"2": {"reached": 1, "total": 2}, "3": {"reached": 0, "total": 2}}, "line": {"4": None}}
    record = {
        "composers": {"prompted": composer, "pasted": composer},
        "cells": {"by_relation_type_and_count": families},
    }
    plot_yield(record, UPath(tmp_path))
    assert all(_is_drawn(tmp_path / f"{name}.png") for name in ("yield", "coverage", "time"))


def test_learning_curves_show_what_was_looked_at(tmp_path: Path) -> None:
    looked = {"accuracy": {"0.50": 0.5, "0.75": 0.25}, "mean_iou": 0.4}
    history = [{"epoch": 0, "loss": 3.0}, {"epoch": 1, "loss": 2.0, "validation": looked}]
    (tmp_path / "metrics.json").write_text(json.dumps({"history": history}))
    plot_learning(tmp_path / "metrics.json", tmp_path / "learning.png")
    assert _is_drawn(tmp_path / "learning.png")
    losses, accuracies = make_learning_figure(history).axes
    assert [list(line.get_ydata()) for line in losses.lines] == [[3.0, 2.0]]
    assert {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in accuracies.lines} == {
        "Acc@0.50": ([2], [50.0]), "Acc@0.75": ([2], [25.0]), "mean IoU": ([2], [40.0]),
    }  # fmt: skip
