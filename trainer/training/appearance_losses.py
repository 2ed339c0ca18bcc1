"""Contrastive losses of the appearance head, over all annotated instances of a batch, named by a query or not.

Not part of the published recipe. The temperature, and instances that look alike, are those of contrastive learning on
regions: nothing is learned on the side of the crops' features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.boxes import mask_covered_cells, mask_touched_cells

TEMPERATURE = 0.1
"""Temperature of both losses."""

HIDDEN = -1e4
"""Logit of what a softmax leaves out; finite, so that rows without any other have gradients of zero, not NaN."""


def compute_appearance_losses(
    appearance: Tensor,
    padding: Tensor,
    boxes: Tensor,
    instance_image: Tensor,
    exemplars: Tensor,
    min_alike_cosine: float,
) -> Tensor:
    """Compute two losses for each instance, and their sum.

    - The instance's crop against all cells of the batch: right are cells inside an instance that looks alike, and cells
      that such a box only touches are left out.
    - The instance's cells, by their mean appearance, against all crops of the batch; other crops that look alike are
      left out.

    Args:
        appearance: (images, features, dim), length 1, on square grids.
        padding: (images, features) bool, True = padding.
        boxes: (instances, 4) cxcywh as fractions of the canvas.
        instance_image: (instances,) int64, the image of each instance.
        exemplars: (instances, dim), crops' features of ``ExemplarScoring.center_exemplars``.
        min_alike_cosine: cosine of two exemplars above which they look alike.

    Returns:
        (instances,); 0 for an instance without an unpadded cell.
    """
    num_images, num_features = padding.shape
    numbers = torch.arange(num_images, device=boxes.device)
    own_image = (instance_image[:, None] == numbers)[:, :, None]  # (instances, images, 1)
    visible = ~padding.flatten()
    inside, touched = (
        (mask(boxes, num_features)[:, None] & own_image).flatten(1) & visible  # (instances, cells)
        for mask in (mask_covered_cells, mask_touched_cells)
    )
    unit, cells = F.normalize(exemplars, dim=-1), appearance.flatten(0, 1)
    alike = (unit @ unit.T > min_alike_cosine).fill_diagonal_(True)
    right, near = (alike.float() @ mask.float() > 0 for mask in (inside, touched))

    logits = (exemplars @ cells.T / TEMPERATURE).masked_fill(~visible | (near & ~right), HIDDEN)
    search = logits.logsumexp(1) - logits.masked_fill(~right, HIDDEN).logsumexp(1)

    regions = F.normalize(inside.to(cells.dtype) @ cells, dim=-1)  # (instances, dim)
    others = alike.fill_diagonal_(False)
    logits = (regions @ exemplars.T / TEMPERATURE).masked_fill(others, HIDDEN)
    naming = logits.logsumexp(1) - logits.diagonal() if len(boxes) else regions.sum(1)
    return (search + naming) * inside.any(1)
