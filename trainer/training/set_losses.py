"""Losses of several target tokens: each target is matched to one token, which learns its box and that it is present.

The matching has the smallest total cost (Hungarian algorithm), as in DETR (Carion et al., ECCV 2020, equation 1).
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from trainer.boxes import cxcywh_to_xyxy, giou
from trainer.data.batch import SetTargets
from trainer.model.network import TokenOutput
from trainer.training.losses import GIOU_WEIGHT, L1_WEIGHT, BoxLosses, compute_box_losses


@torch.no_grad()
def match_targets(output: TokenOutput, targets: SetTargets) -> tuple[Tensor, Tensor]:
    """Match the targets of each query to its tokens, by the last stage's boxes and presences.

    Returns:
        Indices of the matched targets among all targets, and of their tokens among all tokens of all queries, (pairs,)
        int64 each. Of more targets than tokens, those that fit best are matched.
    """
    num_tokens = output.presence.shape[1]
    query = torch.arange(len(targets.counts), device=targets.counts.device).repeat_interleave(targets.counts)
    boxes, aims = output.boxes[-1][query], targets.boxes[:, None].expand(-1, num_tokens, -1)  # (targets, tokens, 4)
    cost = (
        L1_WEIGHT * (boxes - aims).abs().sum(-1)
        - GIOU_WEIGHT * giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(aims))
        - output.presence[query].sigmoid()
    ).cpu()  # (targets, tokens)
    rows, columns, first = list[int](), list[int](), 0
    for number, count in enumerate(targets.counts.tolist()):
        target, token = linear_sum_assignment(cost[first : first + count].numpy())
        rows += (first + target).tolist()
        columns += (number * num_tokens + token).tolist()
        first += count
    device = targets.boxes.device
    return torch.tensor(rows, dtype=torch.long, device=device), torch.tensor(columns, dtype=torch.long, device=device)


def compute_set_losses(output: TokenOutput, targets: SetTargets) -> tuple[BoxLosses, Tensor]:
    """Compute the losses of several target tokens.

    Returns:
        Box losses, a mean over the targets of each query, and the binary cross-entropy of presence (queries,), a mean
        over its tokens.
    """
    num_queries, num_tokens = output.presence.shape
    target, token = match_targets(output, targets)
    pairs = compute_box_losses(output.boxes.flatten(1, 2)[:, token], targets.boxes[target])  # (stages, pairs)
    query = token // num_tokens
    counts = torch.bincount(query, minlength=num_queries).clamp(min=1)

    def average(loss: Tensor) -> Tensor:
        return loss.new_zeros(len(loss), num_queries).index_add(1, query, loss) / counts

    is_matched = torch.zeros_like(output.presence).view(-1).index_fill(0, token, 1.0).view_as(output.presence)
    presence = binary_cross_entropy_with_logits(output.presence, is_matched, reduction="none").mean(1)
    return BoxLosses(l1=average(pairs.l1), giou=average(pairs.giou)), presence
