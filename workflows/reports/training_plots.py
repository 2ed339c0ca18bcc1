"""Learning curves of a training, from its ``metrics.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflows.reports.plot_style import new_figure, plot_curves, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_learning(metrics: Path, path: Path) -> None:
    """Save the figure of ``make_learning_figure``."""
    save_figure(make_learning_figure(json.loads(metrics.read_text())["history"]), path)


def make_learning_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot the loss of each epoch and the accuracy on the validation split."""
    from matplotlib.ticker import MaxNLocator

    figure, (losses, accuracies) = new_figure(9, 3.4, 2, columns=2)
    trained = [(one["epoch"] + 1, one["loss"]) for one in history if "loss" in one]
    plot_curves(losses, {"loss": ([epoch for epoch, _ in trained], [loss for _, loss in trained])}, "epoch", "loss")
    validated = [(one["epoch"] + 1, one["validation"]) for one in history if "validation" in one]
    epochs = [epoch for epoch, _ in validated]
    lines = {
        f"Acc@{at}": (epochs, [100 * scores["accuracy"][at] for _, scores in validated]) for at in ("0.50", "0.75")
    }
    lines["mean IoU"] = (epochs, [100 * scores["mean_iou"] for _, scores in validated])
    plot_curves(accuracies, lines, "epoch", "validation (%)")
    accuracies.set_ylim(0, 100)
    for axes in (losses, accuracies):
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
