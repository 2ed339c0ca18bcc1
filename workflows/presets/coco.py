"""COCO's categories for scenes: those that the full-size detector knows and that RefCOCO's images show."""

from __future__ import annotations

from augmentation.planning.vocabulary import VocabularyConfig
from generation.parsing.coco_categories import COCO_CATEGORIES


def vocabulary() -> VocabularyConfig:
    """Return a vocabulary of all 80 categories, two to eight objects of one."""
    return VocabularyConfig(
        categories={name: words.plural for name, words in COCO_CATEGORIES.items()},
        nouns={name: tuple(words.split(", ")) for name, words in NOUNS.items()},
    )


NOUNS = {
    "bicycle": "bike, vehicle",
    "car": "vehicle",
    "motorcycle": "motorbike, bike, vehicle",
    "airplane": "plane, aircraft, vehicle",
    "bus": "vehicle",
    "train": "vehicle",
    "truck": "vehicle",
    "boat": "vehicle",
    "traffic light": "stoplight",
    "fire hydrant": "hydrant",
    "parking meter": "meter",
    "bench": "seat",
    "bird": "animal",
    "cat": "animal, kitty",
    "dog": "animal",
    "horse": "animal",
    "sheep": "animal",
    "cow": "animal",
    "elephant": "animal",
    "bear": "animal",
    "zebra": "animal",
    "giraffe": "animal",
    "backpack": "bag",
    "handbag": "bag",
    "suitcase": "bag",
    "tie": "necktie",
    "sports ball": "ball",
    "baseball bat": "bat",
    "baseball glove": "glove, mitt",
    "tennis racket": "racket, racquet",
    "wine glass": "glass",
    "banana": "fruit",
    "apple": "fruit",
    "orange": "fruit",
    "hot dog": "hotdog",
    "donut": "doughnut",
    "chair": "seat",
    "couch": "sofa, seat",
    "potted plant": "plant",
    "dining table": "table",
    "toilet": "seat",
    "tv": "television",
    "cell phone": "phone, cellphone",
    "refrigerator": "fridge",
    "teddy bear": "teddy, stuffed animal, bear",
}
"""Further nouns that are true of every object of a category, separated by commas. Mugs and glasses are cups in COCO,
and women are persons, but "mug" and "woman" are not true of every cup and person."""
