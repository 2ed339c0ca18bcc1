"""Queries by the number of other instances of the target's category: what the method is for."""

from __future__ import annotations

RIVALS = ("0", "1", "2-3", "4+", "unknown")


def rival_group(num_rivals: int | None) -> str:
    """One of ``RIVALS``; None is not known."""
    if num_rivals is None:
        return "unknown"
    return str(num_rivals) if num_rivals < 2 else "2-3" if num_rivals < 4 else "4+"
