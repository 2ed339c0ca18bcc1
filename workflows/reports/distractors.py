"""Groups of queries by the number of distractors."""

from __future__ import annotations

DISTRACTOR_GROUPS = ("0", "1", "2-3", "4+", "unknown")


def get_distractor_group(num_distractors: int | None) -> str:
    """Return one of ``DISTRACTOR_GROUPS``; None stands for an unknown number."""
    if num_distractors is None:
        return "unknown"
    return str(num_distractors) if num_distractors < 2 else "2-3" if num_distractors < 4 else "4+"
