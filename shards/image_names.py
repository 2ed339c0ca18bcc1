"""What a image is called, whatever the data set: the same one is found again under other folders and prefixes."""

from __future__ import annotations

import re
from pathlib import PurePath

_COCO_NUMBER = re.compile(r"(?:\A|_)(\d{12})(?:_\d+)?\Z")


def normalize_image_name(name: str) -> str:
    """What a image is called without folder and kind; of COCO's, the number: val2014 and train2017 share them."""
    stem = PurePath(name).stem
    number = _COCO_NUMBER.search(stem)
    return f"COCO {int(number[1])}" if number else stem
