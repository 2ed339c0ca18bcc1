"""Most likely category of a head noun among COCO's 80; a hypothesis, for counting distractors.

infer_category(NounPhrase(noun="wine glass", lemma="glass"), "object") == "wine glass"
"""

from __future__ import annotations

from generation.parsing.noun_phrases import NounPhrase

_NOUNS = {
    "bicycle": "bicycle bike cycle",
    "car": "car taxi cab suv jeep minivan sedan van auto vehicle pickup",
    "motorcycle": "motorcycle motorbike scooter moped",
    "airplane": "airplane plane jet aircraft airliner",
    "bus": "bus",
    "train": "train locomotive",
    "truck": "truck trailer firetruck forklift ambulance",
    "boat": "boat ship canoe kayak sailboat raft yacht ferry",
    "traffic light": "traffic_light stoplight",
    "fire hydrant": "hydrant",
    "stop sign": "stop_sign",
    "parking meter": "meter",
    "bench": "bench",
    "bird": "bird duck goose swan pigeon parrot owl seagull eagle chicken turkey penguin peacock hen",
    "cat": "cat kitten kitty",
    "dog": "dog puppy doggy",
    "horse": "horse pony foal colt",
    "sheep": "sheep lamb goat ram",
    "cow": "cow bull calf ox cattle bison buffalo",
    "elephant": "elephant",
    "bear": "bear cub",
    "zebra": "zebra",
    "giraffe": "giraffe",
    "backpack": "backpack bookbag",
    "umbrella": "umbrella parasol",
    "handbag": "handbag purse bag",
    "tie": "tie necktie bowtie",
    "suitcase": "suitcase luggage briefcase case",
    "frisbee": "frisbee",
    "skis": "ski skis",
    "snowboard": "snowboard",
    "sports ball": "ball",
    "kite": "kite",
    "baseball bat": "bat",
    "baseball glove": "glove mitt",
    "skateboard": "skateboard",
    "surfboard": "surfboard",
    "tennis racket": "racket racquet",
    "bottle": "bottle",
    "wine glass": "wine_glass wineglass",
    "cup": "cup mug glass drink coffee beer",
    "fork": "fork",
    "knife": "knife",
    "spoon": "spoon",
    "bowl": "bowl soup salad",
    "banana": "banana",
    "apple": "apple",
    "sandwich": "sandwich burger sub wrap",
    "orange": "orange",
    "broccoli": "broccoli",
    "carrot": "carrot",
    "hot dog": "hotdog sausage frankfurter",
    "pizza": "pizza",
    "donut": "donut doughnut",
    "cake": "cake cupcake muffin",
    "chair": "chair armchair stool recliner seat",
    "couch": "couch sofa loveseat futon",
    "potted plant": "plant flowerpot flower planter",
    "bed": "bed bunk mattress",
    "dining table": "table tablecloth",
    "toilet": "toilet urinal",
    "tv": "tv television monitor screen",
    "laptop": "laptop computer",
    "mouse": "mouse",
    "remote": "remote controller wiimote",
    "keyboard": "keyboard",
    "cell phone": "phone cellphone",
    "microwave": "microwave",
    "oven": "oven stove",
    "toaster": "toaster",
    "sink": "sink",
    "refrigerator": "refrigerator fridge",
    "book": "book magazine",
    "clock": "clock",
    "vase": "vase",
    "scissors": "scissors",
    "teddy bear": "teddy teddy_bear stuffed_bear",
    "hair drier": "hairdryer dryer",
    "toothbrush": "toothbrush",
}
_CATEGORY_BY_NOUN = {noun.replace("_", " "): category for category, nouns in _NOUNS.items() for noun in nouns.split()}


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
