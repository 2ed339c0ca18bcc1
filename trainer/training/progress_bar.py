"""Progress of training: a bar on a terminal, lines at intervals elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from trainer.evaluation.generalized import format_generalized_scores
from trainer.training.checkpoint import TrainingState


class ProgressBar:
    """Progress bar; it prints on the main process only."""

    def __init__(self, total_steps: int, steps_per_epoch: int, log_every_steps: int, is_main: bool) -> None:
        self._console = Console(stderr=True, highlight=False, quiet=not is_main)
        self._steps_per_epoch, self._log_every = steps_per_epoch, log_every_steps
        self._epochs, self._total = -(-total_steps // steps_per_epoch), total_steps
        self._started, self._first = time.monotonic(), -1
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar = self._bars.add_task("training", total=self._total)

    def __enter__(self) -> ProgressBar:
        self._bars.start()
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def print_message(self, text: str) -> None:
        """Print a message above the bar."""
        self._console.print(text)

    def show_step(self, progress: TrainingState, figures: dict[str, float]) -> None:
        """Show the loss of a step, the pace and the time left."""
        done = progress.epoch * self._steps_per_epoch + progress.step
        self._first = done - 1 if self._first < 0 else self._first
        text = f"epoch {progress.epoch + 1}/{self._epochs} loss {figures['loss']:.3f}"
        self._bars.update(self._bar, completed=done, description=text)
        if not self._console.is_terminal and done % self._log_every == 0:
            pace = (time.monotonic() - self._started) / (done - self._first)
            left = pace * (self._total - done) / 60
            self._console.print(f"step {done:,}/{self._total:,}, {text}, {pace:.2f} s/step, {left:.1f} min left")

    def show_epoch(self, record: dict[str, Any]) -> None:
        """Print the mean loss and the validation scores of an epoch."""
        text = f"epoch {record['epoch'] + 1}/{self._epochs}: loss {record['loss']:.3f}"
        if "validation" in record:
            metrics = record["validation"]
            text += f", Acc@0.5 {metrics['accuracy']['0.50']:.3f}, mean IoU {metrics['mean_iou']:.3f}"
        if "generalized" in record:
            text += f", {format_generalized_scores(record['generalized'])}"
        self._console.print(text)
