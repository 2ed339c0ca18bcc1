"""The losses of a training step: means over the queries and instances of all its batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from trainer.data.batch import Batch
from trainer.data.config import ExemplarConfig
from trainer.model.exemplar_scoring import ExemplarScoring
from trainer.model.network import GroundingOutput
from trainer.training.appearance_losses import compute_appearance_losses
from trainer.training.losses import compute_box_losses, compute_verification_loss
from trainer.training.set_losses import compute_set_losses


class StepCounts(NamedTuple):
    """What the losses of a step are means over, in all batches of all processes."""

    weight: Tensor
    """Number of queries with a target, each exemplar query by its weight."""

    queries: Tensor
    """Number of queries of the data."""

    instances: Tensor
    """Number of instances with a crop, at least 1."""


@dataclass(frozen=True, kw_only=True)
class StepLosses:
    """Losses of a step and their weights."""

    verification_loss_weight: float
    """Weight of ``compute_verification_loss``, also for the score by the words alone."""

    exemplars: ExemplarConfig | None
    """Weights of training with exemplars; None without them."""

    def count(self, batches: Iterable[Batch]) -> Tensor:
        """Count the ``StepCounts`` (3,) of batches, on the host."""
        counted = [batch for batch in batches if batch.counts]
        num_exemplars = sum(batch.num_exemplars for batch in counted)
        queries = sum(len(batch.targets) for batch in counted) - num_exemplars
        with_target = queries - sum(batch.num_without_target for batch in counted)
        weight = 0.0 if self.exemplars is None else self.exemplars.query_weight
        instances = sum(len(batch.exemplars.boxes) for batch in counted if batch.exemplars is not None)
        return torch.tensor([with_target + weight * num_exemplars, queries, instances])

    def compute(
        self, output: GroundingOutput, batch: Batch, counts: StepCounts, scoring: ExemplarScoring | None
    ) -> dict[str, Tensor]:
        """Compute a batch's part of the means of a step.

        Args:
            output: output for the batch.
            batch: batch on the output's device.
            counts: divisors of the means.
            scoring: the network's exemplar scoring; None without it.

        Returns:
            The total as ``loss``, and its parts without their weights; ``l1`` and ``giou`` of the last stage's boxes.
        """
        if len(output.scores) > len(batch.targets):
            output = output.trim(batch.num_images, len(batch.targets))
        weight, presence = self.verification_loss_weight, None
        if output.tokens is not None and batch.sets is not None:
            boxes, presence = compute_set_losses(output.tokens, batch.sets)
        else:
            boxes = compute_box_losses(output.boxes, batch.targets)
            if output.presence is not None:
                has_target = torch.ones_like(output.presence) if batch.has_target is None else batch.has_target.float()
                presence = binary_cross_entropy_with_logits(output.presence, has_target, reduction="none")
        losses = {"loss": boxes.per_query, "l1": boxes.l1[-1], "giou": boxes.giou[-1]}  # (queries,) each
        if weight:
            losses["verification"] = compute_verification_loss(output.scores, output.padding, batch.targets)
            losses["loss"] = losses["loss"] + weight * losses["verification"]
        if batch.has_target is not None:
            losses = {name: loss * batch.has_target for name, loss in losses.items()}
        means = self._compute_means(losses, output, batch, counts, scoring)
        if presence is not None:  # of the queries of the data
            counted = presence if batch.exemplars is None else presence * ~batch.exemplars.is_exemplar
            means["presence"] = counted.sum() / counts.queries
            means["loss"] = means["loss"] + means["presence"]
        return means

    def _compute_means(
        self,
        losses: dict[str, Tensor],
        output: GroundingOutput,
        batch: Batch,
        counts: StepCounts,
        scoring: ExemplarScoring | None,
    ) -> dict[str, Tensor]:
        """Compute a batch's part of the means of losses (queries,) each, and the losses of training with exemplars."""
        appearance, weight = output.appearance, self.verification_loss_weight
        if self.exemplars is None or batch.exemplars is None or appearance is None or scoring is None:
            return {name: loss.sum() / counts.weight for name, loss in losses.items()}
        weights = torch.where(batch.exemplars.is_exemplar, self.exemplars.query_weight, 1.0)
        means = {name: (loss * weights).sum() / counts.weight for name, loss in losses.items()}
        if weight:  # the words alone must find the target, too: a query may come without a prior
            loss = compute_verification_loss(appearance.text_scores, output.padding, batch.targets)
            is_whole = batch.exemplars.is_whole
            if batch.has_target is not None:
                is_whole = is_whole & batch.has_target
            means["text_verification"] = (loss * is_whole).sum() / counts.queries
            means["loss"] = means["loss"] + weight * means["text_verification"]
        loss = compute_appearance_losses(
            appearance.features,
            appearance.padding,
            batch.exemplars.boxes,
            batch.exemplars.instance_image,
            scoring.center_exemplars(batch.exemplars.crops),
            self.exemplars.min_alike_cosine,
        )
        means["appearance"] = loss.sum() / counts.instances
        means["loss"] = means["loss"] + self.exemplars.appearance_loss_weight * means["appearance"]
        return means
