"""COCO's categories for scenes: those that the full-size detector knows and that RefCOCO's images show."""

from __future__ import annotations

from augmentation.planning.vocabulary import VocabularyConfig
from generation.parsing.coco_categories import COCO_CATEGORIES


def vocabulary() -> VocabularyConfig:
    """Return a vocabulary of all 80 categories, two to eight objects of one."""
    return VocabularyConfig(categories={name: words.plural for name, words in COCO_CATEGORIES.items()})
