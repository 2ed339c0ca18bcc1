"""COCO's 80 categories: their plurals, the nouns that people call them, and other detectors' labels for them.

infer_category(NounPhrase(noun="wine glass", lemma="glass"), "object") == "wine glass"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generation.parsing.noun_phrases import NounPhrase


@dataclass(frozen=True)
class CocoCategory:
    """The words for one category."""

    plural: str
    nouns: str = ""
    """Head nouns that most likely name it, separated by spaces, with ``_`` inside a compound."""

    label: str = ""
    """Name of the category in Pascal VOC, YOLO and RT-DETR, if it differs from COCO's."""


COCO_CATEGORIES: Mapping[str, CocoCategory] = {
    "person": CocoCategory("people"),
    "bicycle": CocoCategory("bicycles", "bicycle bike cycle"),
    "car": CocoCategory("cars", "car taxi cab suv jeep minivan sedan van auto vehicle pickup"),
    "motorcycle": CocoCategory("motorcycles", "motorcycle motorbike scooter moped", label="motorbike"),
    "airplane": CocoCategory("airplanes", "airplane plane jet aircraft airliner", label="aeroplane"),
    "bus": CocoCategory("buses", "bus"),
    "train": CocoCategory("trains", "train locomotive"),
    "truck": CocoCategory("trucks", "truck trailer firetruck forklift ambulance"),
    "boat": CocoCategory("boats", "boat ship canoe kayak sailboat raft yacht ferry"),
    "traffic light": CocoCategory("traffic lights", "traffic_light stoplight"),
    "fire hydrant": CocoCategory("fire hydrants", "hydrant"),
    "stop sign": CocoCategory("stop signs", "stop_sign"),
    "parking meter": CocoCategory("parking meters", "meter"),
    "bench": CocoCategory("benches", "bench"),
    "bird": CocoCategory(
        "birds", "bird duck goose swan pigeon parrot owl seagull eagle chicken turkey penguin peacock hen"
    ),
    "cat": CocoCategory("cats", "cat kitten kitty"),
    "dog": CocoCategory("dogs", "dog puppy doggy"),
    "horse": CocoCategory("horses", "horse pony foal colt"),
    "sheep": CocoCategory("sheep", "sheep lamb goat ram"),
    "cow": CocoCategory("cows", "cow bull calf ox cattle bison buffalo"),
    "elephant": CocoCategory("elephants", "elephant"),
    "bear": CocoCategory("bears", "bear cub"),
    "zebra": CocoCategory("zebras", "zebra"),
    "giraffe": CocoCategory("giraffes", "giraffe"),
    "backpack": CocoCategory("backpacks", "backpack bookbag"),
    "umbrella": CocoCategory("umbrellas", "umbrella parasol"),
    "handbag": CocoCategory("handbags", "handbag purse bag"),
    "tie": CocoCategory("ties", "tie necktie bowtie"),
    "suitcase": CocoCategory("suitcases", "suitcase luggage briefcase case"),
    "frisbee": CocoCategory("frisbees", "frisbee"),
    "skis": CocoCategory("pairs of skis", "ski skis"),
    "snowboard": CocoCategory("snowboards", "snowboard"),
    "sports ball": CocoCategory("sports balls", "ball"),
    "kite": CocoCategory("kites", "kite"),
    "baseball bat": CocoCategory("baseball bats", "bat"),
    "baseball glove": CocoCategory("baseball gloves", "glove mitt"),
    "skateboard": CocoCategory("skateboards", "skateboard"),
    "surfboard": CocoCategory("surfboards", "surfboard"),
    "tennis racket": CocoCategory("tennis rackets", "racket racquet"),
    "bottle": CocoCategory("bottles", "bottle"),
    "wine glass": CocoCategory("wine glasses", "wine_glass wineglass"),
    "cup": CocoCategory("cups", "cup mug glass drink coffee beer"),
    "fork": CocoCategory("forks", "fork"),
    "knife": CocoCategory("knives", "knife"),
    "spoon": CocoCategory("spoons", "spoon"),
    "bowl": CocoCategory("bowls", "bowl soup salad"),
    "banana": CocoCategory("bananas", "banana"),
    "apple": CocoCategory("apples", "apple"),
    "sandwich": CocoCategory("sandwiches", "sandwich burger sub wrap"),
    "orange": CocoCategory("oranges", "orange"),
    "broccoli": CocoCategory("pieces of broccoli", "broccoli"),
    "carrot": CocoCategory("carrots", "carrot"),
    "hot dog": CocoCategory("hot dogs", "hotdog sausage frankfurter"),
    "pizza": CocoCategory("pizzas", "pizza"),
    "donut": CocoCategory("donuts", "donut doughnut"),
    "cake": CocoCategory("cakes", "cake cupcake muffin"),
    "chair": CocoCategory("chairs", "chair armchair stool recliner seat"),
    "couch": CocoCategory("couches", "couch sofa loveseat futon", label="sofa"),
    "potted plant": CocoCategory("potted plants", "plant flowerpot flower planter", label="pottedplant"),
    "bed": CocoCategory("beds", "bed bunk mattress"),
    "dining table": CocoCategory("dining tables", "table tablecloth", label="diningtable"),
    "toilet": CocoCategory("toilets", "toilet urinal"),
    "tv": CocoCategory("tvs", "tv television monitor screen", label="tvmonitor"),
    "laptop": CocoCategory("laptops", "laptop computer"),
    "mouse": CocoCategory("mice", "mouse"),
    "remote": CocoCategory("remotes", "remote controller wiimote"),
    "keyboard": CocoCategory("keyboards", "keyboard"),
    "cell phone": CocoCategory("cell phones", "phone cellphone"),
    "microwave": CocoCategory("microwaves", "microwave"),
    "oven": CocoCategory("ovens", "oven stove"),
    "toaster": CocoCategory("toasters", "toaster"),
    "sink": CocoCategory("sinks", "sink"),
    "refrigerator": CocoCategory("refrigerators", "refrigerator fridge"),
    "book": CocoCategory("books", "book magazine"),
    "clock": CocoCategory("clocks", "clock"),
    "vase": CocoCategory("vases", "vase"),
    "scissors": CocoCategory("pairs of scissors", "scissors"),
    "teddy bear": CocoCategory("teddy bears", "teddy teddy_bear stuffed_bear"),
    "hair drier": CocoCategory("hair driers", "hairdryer dryer"),
    "toothbrush": CocoCategory("toothbrushes", "toothbrush"),
}
"""Words by COCO's name, in COCO's order."""

_CATEGORY_BY_NOUN = {
    noun.replace("_", " "): name for name, words in COCO_CATEGORIES.items() for noun in words.nouns.split()
}


def infer_category(target: NounPhrase, kind: str, owner: NounPhrase | None = None) -> str:
    """Infer COCO's name of the category; empty if there is none.

    People are ``person``, and so are garments for their wearers. The last two words of a compound come before the last
    one alone ("wine glass", "teddy bear"). The whole comes before its part or quantity ("slice of pizza", "elephant's
    trunk").
    """
    if owner is not None:
        return infer_category(owner, "person" if owner.lemma not in _CATEGORY_BY_NOUN else "animal")
    for noun_phrase in (*target.contents, target):
        *compound, last = [*noun_phrase.noun.split()[:-1], noun_phrase.lemma or noun_phrase.noun]
        both = f"{compound[-1]} {last}" if compound else last
        category = _CATEGORY_BY_NOUN.get(both) or _CATEGORY_BY_NOUN.get(last) or _CATEGORY_BY_NOUN.get(noun_phrase.noun)
        if category and kind != "person":
            return category
    return "person" if kind in ("person", "garment", "part") else ""
