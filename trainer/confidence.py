"""Confidence of predictions: whether the box is right, and whether the image contains the object at all.

Both follow from the verification scores, the match of each image feature with the query (VLTVG, equation 2), so they
cost nothing. The share of the scores inside the predicted box tells right from wrong boxes. The highest score tells
objects that are there from those that are not; a network with a presence head has an answer of its own. Training fits a
curve to each on its validation split (Platt scaling, 1999), so that both read as probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import minimize
from scipy.special import logit
from torch import Tensor

from trainer.boxes import mask_covered_cells
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from trainer.evaluation.metrics import PredictionRecord
    from trainer.model.network import GroundingOutput

CALIBRATION_FILE = "calibration.json"
EPSILON = 1e-6
MIN_EXAMPLES = 10
"""Number of examples of each outcome that a curve is fitted to, at least."""


@dataclass(frozen=True, kw_only=True)
class LogisticCurve:
    """Map from log odds to a probability; the default returns the probability with these odds."""

    slope: float = 1.0
    intercept: float = 0.0

    def compute_probabilities(self, log_odds: Tensor) -> Tensor:
        """Compute the probabilities (n,) of log odds (n,)."""
        return (self.slope * log_odds + self.intercept).sigmoid()


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Curves of one network; the default is that of a network that was not validated."""

    score: LogisticCurve = field(default_factory=LogisticCurve)
    """Curve of the share of the verification scores inside the box, by default that share itself."""

    presence: LogisticCurve | None = None
    """Curve of the presence head, or without one of the highest verification score; None if it was not fitted."""

    def compute_confidence(self, output: GroundingOutput) -> tuple[Tensor, Tensor | None]:
        """Compute the probabilities of each query, that the box is right and that the object is in the image.

        Returns:
            (queries,) in 0..1 each; None for the second without a curve or a presence head.
        """
        visible = output.scores.float().masked_fill(output.padding, 0.0)
        inside = (visible * mask_covered_cells(output.boxes[-1], visible.shape[1])).sum(1)
        share = inside / visible.sum(1).clamp(min=EPSILON)
        score = self.score.compute_probabilities(share.clamp(EPSILON, 1 - EPSILON).logit())
        if output.presence is not None:
            return score, (self.presence or LogisticCurve()).compute_probabilities(output.presence)
        if self.presence is None:
            return score, None
        return score, self.presence.compute_probabilities(visible.amax(1).clamp(min=EPSILON).log())

    def compute_token_presences(self, output: GroundingOutput) -> Tensor | None:
        """Compute the probabilities (queries, tokens) that each token's box is a target; None if that is unknown."""
        if output.tokens is None:
            _, presence = self.compute_confidence(output)
            return None if presence is None else presence[:, None]
        return (self.presence or LogisticCurve()).compute_probabilities(output.tokens.presence)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``calibration.json`` into ``folder``."""
        (folder / CALIBRATION_FILE).write_bytes(TypeAdapter(Calibration).dump_json(self, indent=1))

    @staticmethod
    def from_pretrained(folder: Path) -> Calibration:
        """Load what ``save_pretrained`` wrote; the default if the folder has none.

        Raises:
            TrainerError: the file is damaged.
        """
        path = folder / CALIBRATION_FILE
        if not path.exists():
            return UNCALIBRATED
        try:
            return TypeAdapter(Calibration).validate_json(path.read_bytes())
        except ValidationError as error:
            raise TrainerError(f"{path} is damaged: {error.errors()[0]['msg']}; remove it, or train again") from error


UNCALIBRATED = Calibration()
"""Calibration of a network that was not validated."""

UNFITTED = Calibration(presence=LogisticCurve())
"""Calibration of predictions that ``fit_calibration`` takes."""


def fit_calibration(records: Sequence[PredictionRecord], absent: Sequence[float] = ()) -> Calibration:
    """Fit both curves to predictions with ``UNFITTED``; a curve without enough examples stays the default.

    Args:
        records: predictions for queries with a target.
        absent: presences of queries without a target.
    """
    scores = [(record.score, record.iou > 0.5) for record in records if record.score is not None]
    presences = [(record.presence, True) for record in records if record.presence is not None]
    presences += [(record.absent_presence, False) for record in records if record.absent_presence is not None]
    presences += [(presence, False) for presence in absent]
    return Calibration(score=_fit_curve(scores) or LogisticCurve(), presence=_fit_curve(presences))


def _fit_curve(examples: Sequence[tuple[float, bool]]) -> LogisticCurve | None:
    """Fit a rising curve by the likelihood of smoothed labels (Platt, 1999); None without enough examples."""
    values, labels = np.array(examples, dtype=np.float64).reshape(-1, 2).T
    num_true = int(labels.sum())
    num_false = len(labels) - num_true
    if min(num_true, num_false) < MIN_EXAMPLES:
        return None
    targets = labels * (num_true + 1) / (num_true + 2) + (1 - labels) / (num_false + 2)
    log_odds = logit(values.clip(EPSILON, 1 - EPSILON))

    def compute_loss(parameters: npt.NDArray[np.float64]) -> float:
        fitted = parameters[0] * log_odds + parameters[1]
        return float((np.logaddexp(0, fitted) - targets * fitted).mean())  # cross-entropy

    slope, intercept = minimize(compute_loss, (1.0, 0.0), method="Nelder-Mead").x
    return LogisticCurve(slope=float(slope), intercept=float(intercept)) if slope > 0 else None
