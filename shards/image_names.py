"""Names of images, comparable between datasets that use other folders and prefixes."""

from __future__ import annotations

import re
from pathlib import PurePath

_COCO_NUMBER = re.compile(r"(?:\A|_)(\d{12})(?:_\d+)?\Z")


def normalize_image_name(name: str) -> str:
    """Return an image's name without folder and suffix; for COCO the number, as val2014 and train2017 share images."""
    stem = PurePath(name).stem
    number = _COCO_NUMBER.search(stem)
    return f"COCO {int(number[1])}" if number else stem
