"""The miniature world: drawn scenes, their data set and captions, and the small models trained on them."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the miniature models."""
