from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from workflows.reports.training_plots import make_learning_figure, plot_learning


def _is_drawn(path: Path) -> bool:
    """Whether it is an image with more on it than the white of an empty page."""
    with Image.open(path) as image:
        return image.width > 300 and len(image.convert("RGB").getcolors(1 << 20) or []) > 20


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
