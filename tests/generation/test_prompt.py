"""Prompts say what is seen of the target alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from generation.attributes import AttributeParser
from generation.prompt import PromptConfig, build_prompt, prior_prompt

SHARED = Path(__file__).resolve().parents[2].parent / "shared"

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
}


@pytest.mark.parametrize(("query", "prompt"), PROMPTS.items())
def test_the_prompt_is_a_plain_caption_of_the_target(parser: AttributeParser, query: str, prompt: str) -> None:
    assert prior_prompt(parser.parse([query])[0]) == prompt


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
    assert len({prior_prompt(read) for read in parser.parse(queries)}) == 1


def test_a_garment_can_stand_for_itself(parser: AttributeParser) -> None:
    config = PromptConfig(garments_mean_wearers=False)
    assert prior_prompt(parser.parse(["red hat on the left"])[0], config) == "a red hat"


def test_the_template_goes_around_the_caption(parser: AttributeParser) -> None:
    config = PromptConfig(template="a photo of {caption}, realistic")
    assert prior_prompt(parser.parse(["left guy"])[0], config) == "a photo of a man, realistic"


def test_a_long_query_keeps_head_and_attributes_and_says_that_it_was_shortened(parser: AttributeParser) -> None:
    query = "red cup with a wooden handle and " + "a golden ornament and a silver ring and " * 60 + "a lid"
    prompt = build_prompt(parser.parse([query])[0], PromptConfig(max_words=12))
    assert prompt.shortened
    assert prompt.text.startswith("a red cup")
    assert len(prompt.text.split()) <= 12


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
    prompts = {prior_prompt(read) for read in parser.parse(queries)}
    assert len(queries) == 10_834
    assert len(prompts) <= 5_400
    words = {word for prompt in prompts for word in prompt.split()}
    assert not words & {"left", "right", "leftmost", "rightmost", "middle", "second", "furthest"}
