"""Prompts say what is seen of the target alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from generation.parsing.attributes import AttributeParser
from generation.priors.prompt import PHOTO_TEMPLATES, PromptConfig, build_prompt, build_prompt_text

SHARED = Path(__file__).resolve().parents[3].parent / "shared"

PROMPTS = {
    "blue shirt left": "a person in a blue shirt",
    "2nd zebra from left": "a zebra",
    "bottom right donut with pink sprinkles": "a donut with pink sprinkles",
    "left guy": "a man",
    "the big yellow one": "a big yellow object",
    "man in red shirt on the far right": "a man in a red shirt",
    "striped red cup": "a striped red cup",
    "red striped cup on the left": "a striped red cup",
    "cup on the far left": "a cup",
    "second bottle from right": "a bottle",
    "bottle second from right": "a bottle",
    "left one": "an object",
    "the striped orange one": "a striped orange object",
    "orange one on the right": "an orange object",
    "orange on the right": "an orange",
    "man with his back to us in a white shirt": "a man in a white shirt",
    "the small dotted purple mushroom": "a small dotted purple mushroom",
    "largest orange star": "a big orange star",
    "three striped red cups": "three striped red cups",
    "cup left of the ball": "a cup",
    "cup above the red ball": "a cup",
    "the ball in the center": "a ball",
    "orange umbrella": "an orange umbrella",
    "umbrella furthest right": "an umbrella",
    "white and black cow": "a black and white cow",
    "black and white cow": "a black and white cow",
    "dark blue car": "a dark blue car",
    "woman in black dress holding an umbrella": "a woman in a black dress holding an umbrella",
    "guy with hat": "a man in a hat",
    "girl in black": "a girl in black",
    "kid on skateboard": "a child on a skateboard",
    "girl eating pizza on the right": "a girl eating a pizza",
    "woman sitting": "a woman sitting",
    "chair sitting next to the table": "a chair",
    "woman's arm": "a woman's arm",
    "glass of red wine": "a glass of red wine",
    "slice of pizza": "a slice of pizza",
    "broccoli on top": "broccoli",
    "man with glasses": "a man in glasses",
    "jeans": "a person in jeans",
    "guy not the one in red": "a man",
    "couch behind the man in the blue shirt": "a couch",
    "standing zebra": "a zebra standing",
    "wooden table": "a wooden table",
    "the second person from the left in a white hat": "a person in a white hat",
    "horse in the middle of the picture": "a horse",
    "stuffed bear": "a stuffed bear",
    "bear wearing a hat": "a bear in a hat",
    "blk shirt": "a person in a black shirt",
    "black/yellow shorts": "a person in black and yellow shorts",
    "white shirt jeans": "a person in a white shirt and jeans",
    "brown shirt and blue pants": "a person in a brown shirt and blue pants",
    "guy white striped t": "a man in a striped white shirt",
    "woman in army fatigues second left": "a woman in army fatigues",
    "right person cowboy hat": "a person in a cowboy hat",
    "man with backpack": "a man with a backpack",
    "man wearing camera around neck": "a man with a camera",
    "guy on right with arms crossed": "a man with crossed arms",
    "young boy hands crossed": "a young boy with crossed hands",
    "girl with hands up": "a girl with raised hands",
    "woman standing with her hands on her hips": "a woman with hands on hips standing",
    "man with no shirt": "a shirtless man",
    "the bald one": "a bald person",
    "no shirt": "a shirtless person",
    "dark skinned woman": "a woman with dark skin",
    "red haired girl in green": "a girl in green with red hair",
    "dad blue shirt": "a man in a blue shirt",
    "old man brown hat": "an old man in a brown hat",
    "a one year old boy in a high chair": "a young boy",
    "catchers vest": "a catcher in a vest",
    "the head of the white animal looking at the dog": "a white animal's head",
    "butt of zebra": "a zebra's butt",
    "the umbrella of the woman in front": "an umbrella",
    "house covered in snow": "a house covered in snow",
    "cake cut into a triangle": "a cake cut into a triangle",
    "person riding on a yellow dirt bike": "a person riding a yellow dirt bike",
    "man talking on a phone": "a man talking on a phone",
    "the tall giraffe eating out of a metal basket": "a tall giraffe eating",
    "man with facial hair wearing glasses eating a piece of bread": (
        "a man in glasses with facial hair eating a piece of bread"
    ),
    "a man in a red shirt is serving soup": "a man in a red shirt serving soup",
    "an elephant leading another elephant": "an elephant",
    "woman handing a man a plate": "a woman",
    "man watching another man on waves": "a man",
    "a man walking in the opposite direction of a boy taking a picture with his phone": "a man walking",
    "guy next to the one with his hands up": "a man",
    "player behind fence nearest black end of bat": "a player",
    "cup closest to the chocolate donut with the spiderweb design": "a cup",
    "giraffe next to tree with head down": "a giraffe with a lowered head",
    "chair girl is sitting on": "a chair",
    "the chair the woman in the gray shirt is sitting on": "a chair",
    "motorcycle the man with a backpack is riding": "a motorcycle",
    "gray cat close to smiling man": "a gray cat",
    "yellow surfboard being held by a man": "a yellow surfboard",
    "a silver car stuck in traffic behind an orange truck": "a silver car",
    "plate of hot dogs mostly out of frame": "a plate of hotdogs",
    "a plate of cheese and crackers": "a plate of cheese and crackers",
    "a half empty bottle of wine": "a half-empty bottle of wine",
    "chocolate covered donut with white frosting": "a chocolate-covered donut with white frosting",
    "the larger of the two zebras": "a big zebra",
    "middle of the three zebras": "a zebra",
    "half a sandwich on the left": "half of a sandwich",
    "left half of the couch": "half of a couch",
    "brownie with white top": "a brownie with a white top",
    "darker elephant": "a dark elephant",
    "light colored pants": "a person in light pants",
    "upside down cup": "an upside-down cup",
    "right pic bottom left donut": "a donut",
    "the image of a woman in a green shirt": "a woman in a green shirt",
    "white book edge of pic": "a white book",
    "horse showing whole body": "a horse",
    "lots of purple flowers": "purple flowers",
    "two people on right": "two people",
    "plaidman": "a plaid man",
    "umbrealla with stripes": "a striped umbrella",
    "sky above the house": "sky",
    "ground to left of girl": "ground",
    "rocks at bottom": "rocks",
    "tallest building in the back": "a tall building",
    "12 o clock": "an object",
    "white pants, left": "a person in white pants",
    "the horse with the white mane": "a horse with a white mane",
    "bus on the right, red and white": "a red and white bus",
    "two boys": "two boys",
    "several boys on the left": "several boys",
    "bottom row of girls": "a row of girls",
    "two woman": "two women",
    "2 man": "two men",
    "two fishermen": "two fishermen",
    "specimen on the left": "a specimen",
    "left giraf": "a giraffe",
    "girls umbrella": "a girl's umbrella",
    "boys shirt": "a boy in a shirt",
    "the guys left hand": "a man with a hand",
    "small childs kite": "a small child's kite",
}


def test_there_are_a_hundred_cases() -> None:
    assert len(PROMPTS) >= 100


@pytest.mark.parametrize(("query", "prompt"), PROMPTS.items())
def test_the_prompt_is_a_plain_caption_of_the_target(parser: AttributeParser, query: str, prompt: str) -> None:
    assert build_prompt_text(parser.parse([query])[0]) == prompt


@pytest.mark.parametrize(
    "queries",
    [
        ("left guy", "man on right", "the guy in the middle", "second dude from left", "man"),
        ("red cup", "red cup on the left", "the red cup above the ball", "cup red right"),
        ("man in blue shirt", "left man with blue shirt", "guy blue shirt", "blue shirt guy in back"),
        ("striped red cup", "red striped cup", "3rd striped red cup from the right"),
    ],
)
def test_queries_that_differ_in_position_share_a_prompt(parser: AttributeParser, queries: tuple[str, ...]) -> None:
    assert len({build_prompt_text(read) for read in parser.parse(queries)}) == 1


def test_a_garment_can_stand_for_itself(parser: AttributeParser) -> None:
    config = PromptConfig(garments_mean_wearers=False)
    assert build_prompt_text(parser.parse(["red hat on the left"])[0], config) == "a red hat"


def test_the_template_goes_around_the_caption(parser: AttributeParser) -> None:
    config = PromptConfig(template="a photo of {caption}, realistic")
    assert build_prompt_text(parser.parse(["left guy"])[0], config) == "a photo of a man, realistic"


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        ("left guy", "a photo of a man, full body"),
        ("blue shirt", "a photo of a person in a blue shirt, full body"),
        ("second zebra from left", "a photo of a zebra, whole animal"),
        ("man's arm", "a close-up photo of a man's arm"),
        ("sky above the house", "a wide photo of sky"),
        ("red cup", "a photo of a red cup"),
        ("left one", "a photo of an object"),
    ],
)
def test_every_kind_can_have_its_template(parser: AttributeParser, query: str, prompt: str) -> None:
    assert build_prompt(parser.parse([query])[0], PromptConfig(templates=PHOTO_TEMPLATES)).text == prompt


def test_a_template_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"templates are for person, .*, got people"):
        PromptConfig(templates={"people": "{caption}"})


def test_a_long_query_keeps_head_and_attributes_and_says_that_it_was_shortened(parser: AttributeParser) -> None:
    query = "red cup with a wooden handle and " + "a golden ornament and a silver ring and " * 60 + "a lid"
    prompt = build_prompt(parser.parse([query])[0], PromptConfig(max_words=12))
    assert prompt.shortened
    assert prompt.text.startswith("a red cup")
    assert len(prompt.text.split()) <= 12


@pytest.mark.parametrize(
    ("query", "is_plain"),
    [
        ("second cup from left", True),
        ("left one", True),
        ("big cup", True),
        ("man holding a racket", True),
        ("three cups", True),
        ("red cup", False),
        ("striped cup", False),
        ("wooden chair", False),
        ("man in a shirt", False),
        ("blue shirt", False),
        ("glass of red wine", False),
        ("woman with a pink umbrella", False),
        ("cup with a white handle", False),
        ("red one", False),
        ("cup next to the red ball", True),
        ("man riding a red bike", False),
        ("man looking at the red bike", True),
    ],
)
def test_a_prompt_is_plain_if_it_names_no_color_pattern_material_or_clothing(
    parser: AttributeParser, query: str, is_plain: bool
) -> None:
    assert build_prompt(parser.parse([query])[0], PromptConfig()).is_plain == is_plain


@pytest.mark.parametrize("template", ["a photo", "{caption} and {caption}"])
def test_a_template_without_one_caption_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        PromptConfig(template=template)


@pytest.mark.parametrize("fault", [{"max_words": 2}, {"unknown_noun": " "}])
def test_other_impossible_wordings_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        PromptConfig(**fault)  # type: ignore[arg-type]


def test_real_queries_need_at_most_half_as_many_prompts(parser: AttributeParser) -> None:
    path = SHARED / "real" / "refcoco_val.joined.jsonl.gz"
    if not path.is_file():
        pytest.skip("the real validation queries are not at hand")
    with gzip.open(path, "rt") as lines:
        queries = [json.loads(line)["query"] for line in lines]
    prompts = {build_prompt_text(read) for read in parser.parse(queries)}
    assert len(queries) == 10_834
    assert len(prompts) <= 5_400
    words = {word for prompt in prompts for word in prompt.split()}
    assert not words & {"left", "right", "leftmost", "rightmost", "middle", "second", "furthest"}
