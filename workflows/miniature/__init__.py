"""Miniature world: drawn scenes, their dataset and captions, and the small models trained on them."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the miniature models."""

BACKBONE = WEIGHTS / "backbone"
"""Folder of the backbone from which the miniature network starts."""

EXAMPLE_IMAGE, EXAMPLE_QUERY = Path(__file__).parent / "example.png", "second star from the bottom"
"""Image of the miniature world, and a query about it."""
