"""Miniature world: drawn scenes, their dataset and captions, and the small models trained on them."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the miniature models."""

BACKBONE = WEIGHTS / "backbone"
"""Folder of the backbone from which the miniature network starts."""
