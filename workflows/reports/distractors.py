"""Queries by the number of other instances of the target's category: what the method is for."""

from __future__ import annotations

DISTRACTOR_GROUPS = ("0", "1", "2-3", "4+", "unknown")


def get_distractor_group(num_distractors: int | None) -> str:
    """One of ``DISTRACTOR_GROUPS``; None is not known."""
    if num_distractors is None:
        return "unknown"
    return str(num_distractors) if num_distractors < 2 else "2-3" if num_distractors < 4 else "4+"
