"""Hand-written queries with what they say; the expected values were written by reading them, not by running."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from generation.errors import GenerationError
from generation.parsing.attributes import MAX_WORDS, AttributeParser, Attributes, EmptyQueryError
from generation.parsing.normalization import normalize_text
from generation.priors.prompt import build_prompt_text

SHARED = Path(__file__).resolve().parents[3].parent / "shared"

HEADS = {
    "left guy": "guy",
    "blue shirt left": "shirt",
    "2nd zebra from left": "zebra",
    "bottom right donut with pink sprinkles": "donut",
    "man in red shirt on the far right": "man",
    "striped red cup": "cup",
    "cup on the far left": "cup",
    "second bottle from right": "bottle",
    "bottle 2nd from left": "bottle",
    "cup to the left of the ball": "cup",
    "ball above the house": "ball",
    "sky above the house": "sky",
    "guy blue shirt": "guy",
    "blue shirt guy": "guy",
    "womans arm in front": "arm",
    "elephant trunk": "trunk",
    "baby elephant": "elephant",
    "tennis player on left": "player",
    "wine glass middle": "glass",
    "slice of pizza on left": "slice",
    "left half of sandwich": "half",
    "right side of couch": "side",
    "table that the food is on": "table",
    "the motorcycle that the girl is riding": "motorcycle",
    "parking meter on right": "meter",
    "moving car": "car",
    "kneeling man": "man",
    "cow facing us": "cow",
    "closest giraffe": "giraffe",
    "giraffe closest to us": "giraffe",
    "man behind woman in red": "man",
    "zbra on right": "zebra",
    "orange on left": "orange",
    "orange cat": "cat",
    "women in the back": "woman",
    "black thing": "thing",
    "left one": "",
    "the big yellow one": "",
    "left": "",
    "top right corner": "corner",
    "holding umbrella": "",
    "umbrealla on left": "umbrella",
    "cutting board": "board",
    "white frosting": "frosting",
    "guy glasses": "guy",
    "frisbee guy": "guy",
    "balding older man wearing a hat": "man",
    "cut off person on left": "person",
    "a zebra sniffs the ground": "zebra",
    "partially eaten pepperoni pizza": "pizza",
    "bat shaped cake": "cake",
    "orange and black raft": "raft",
    "not full zebra": "zebra",
    "picture of a white sheep": "sheep",
    "a wooden back of a chair": "back",
    "dogs nose": "nose",
    "l tree": "tree",
    "paper on desk": "paper",
    "number one bear": "bear",
    "1 o clock slice": "slice",
    "lap top on the right": "laptop",
}


@pytest.mark.parametrize(("query", "head"), HEADS.items())
def test_the_head_is_the_noun_of_the_target(parser: AttributeParser, query: str, head: str) -> None:
    assert parser.parse([query])[0].target.lemma == head


def _read(parser: AttributeParser, query: str) -> Attributes:
    return parser.parse([query])[0]


COLORS = {
    "blue shirt guy": {("blue", "shirt")},
    "guy blue shirt": {("blue", "shirt")},
    "man in red shirt and black pants": {("red", "shirt"), ("black", "pants")},
    "red and white umbrella": {("red", "umbrella"), ("white", "umbrella")},
    "woman in purple": {("purple", "")},
    "woman purple left": {("purple", "")},
    "donut with pink sprinkles": {("pink", "sprinkle")},
    "girl holding orange umbrella": {("orange", "umbrella")},
    "blk shirt": {("black", "shirt")},
    "light blue car": {("light", "car"), ("blue", "car")},
    "the big yellow one": {("yellow", "")},
    "car left white": {("white", "car")},
    "boy in orange": {("orange", "")},
    "darker laptop": {("darker", "laptop")},
    "black horse butt": {("black", "horse")},
    "couch behind the lady in red": set(),
}


@pytest.mark.parametrize(("query", "colors"), COLORS.items())
def test_colors_say_what_they_modify(parser: AttributeParser, query: str, colors: set[tuple[str, str]]) -> None:
    assert set(_read(parser, query).colors) == colors


LOCATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "bottom right donut": (("bottom", "right"), (), ()),
    "cup on the far left": (("far", "left"), (), ()),
    "guy in the back": (("back",), (), ()),
    "man in the middle of the picture": (("middle",), (), ()),
    "2nd zebra from left": (("left",), ("2nd",), ()),
    "second bottle from the right": (("right",), ("second",), ()),
    "cup to the left of the ball": ((), (), ("left of",)),
    "bike in front of the bus": ((), (), ("front of",)),
    "chair next to the table": ((), (), ("next to",)),
    "giraffe closest to the camera": (("closest",), (), ()),
    "leftmost elephant": (("leftmost",), (), ()),
    "third row second cake": ((), ("third", "second"), ()),
    "red top": ((), (), ()),
    "bottom left corner": (("bottom", "left", "corner"), (), ()),
    "bus 3 o clock": (("3 o'clock",), (), ()),
    "person furthest right": (("furthest", "right"), (), ()),
    "man with his back to us": (("back",), (), ()),
    "hand up top": (("top", "up"), (), ()),
    "second cup up": (("up",), ("second",), ()),
    # Postures and parts are no places.
    **dict.fromkeys(
        ("raised arms", "man with head down", "elephant with trunk straight up", "woman with hair up"), ((), (), ())
    ),
    **dict.fromkeys(("batter up", "man up close", "bear face down", "button up shirt", "mans back"), ((), (), ())),
    **dict.fromkeys(("elephant on back legs", "man facing back", "boy holding racquet up"), ((), (), ())),
}


@pytest.mark.parametrize(("query", "expected"), LOCATIONS.items())
def test_location_words_stand_apart(
    parser: AttributeParser, query: str, expected: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
) -> None:
    read = _read(parser, query)
    assert (read.absolute_location, read.ordinals, read.relative_location) == expected


def test_roles_are_told_apart_in_one_sentence(parser: AttributeParser) -> None:
    read = _read(parser, "a bald man wearing a striped shirt and glasses holding a wooden bat behind the catcher")
    assert read.kind == "person"
    assert read.target.other_modifiers == ("bald",)
    assert [(t.lemma, t.patterns) for t in read.wearing] == [("shirt", ("striped",)), ("glasses", ())]
    assert [(t.lemma, t.materials) for t in read.carrying] == [("bat", ("wooden",))]
    assert [(r.relation, r.noun_phrase.lemma) for r in read.related] == [("behind", "catcher")]


def test_clothes_belong_to_the_person_named_last(parser: AttributeParser) -> None:
    assert _read(parser, "man behind woman in red").wearing == ()
    assert [t.colors for t in _read(parser, "man next to bus in red shirt").wearing] == [("red",)]


def test_colors_of_a_related_person_are_kept_with_it(parser: AttributeParser) -> None:
    (related,) = _read(parser, "couch behind the lady in red").related
    assert [noun_phrase.colors for noun_phrase in related.details] == [("red",)]


def test_a_part_is_the_head_and_its_whole_is_drawn(parser: AttributeParser) -> None:
    read = _read(parser, "left part of the blue sky")
    assert (read.target.lemma, read.target.noun, read.kind) == ("part", "sky", "stuff")


def test_negated_words_are_no_attributes(parser: AttributeParser) -> None:
    read = _read(parser, "couch not the pink pillow")
    assert read.negated == ("pink", "pillow")
    assert read.colors == ()
    assert _read(parser, "chips that is neither red nor green").negated == ("red", "green")


def test_a_negation_takes_the_object_of_the_verb_after_it_and_no_more(parser: AttributeParser) -> None:
    read = _read(parser, "person in a white shirt not holding a glass")
    assert (read.carrying, read.negated) == ((), ("glass",))
    read = _read(parser, "man not wearing hat holding a bat")
    assert ([noun_phrase.noun for noun_phrase in read.carrying], read.negated) == (["bat"], ("hat",))


def test_counts_sizes_and_actions_are_read(parser: AttributeParser) -> None:
    read = _read(parser, "three small dogs sleeping")
    assert (read.target.count, read.target.sizes, read.target.plural) == (3, ("small",), True)
    assert [action.verb for action in read.actions] == ["sleeping"]


def test_an_action_keeps_its_object(parser: AttributeParser) -> None:
    (action,) = _read(parser, "girl eating pizza").actions
    assert action.verb == "eating"
    assert action.noun_phrase is not None
    assert action.noun_phrase.lemma == "pizza"


def test_the_written_form_is_kept_beside_the_corrected_one(parser: AttributeParser) -> None:
    target = _read(parser, "brocolli left").target
    assert (target.surface, target.lemma) == ("brocolli", "broccoli")


def test_control_characters_case_and_spaces_are_normalized() -> None:
    assert normalize_text("  Left\x00 GUY\tw/ Hat!! ") == "left guy with hat"


@pytest.mark.parametrize("text", ["", "   ", "?!...", "\x00\x01", "---"])
def test_a_query_without_letters_is_refused_by_name(parser: AttributeParser, text: str) -> None:
    with pytest.raises(EmptyQueryError, match="neither a letter nor a digit"):
        parser.parse([text])


def test_an_empty_query_is_an_error_of_the_package() -> None:
    assert issubclass(EmptyQueryError, GenerationError)


def test_a_query_of_500_words_keeps_head_and_color(parser: AttributeParser) -> None:
    read = _read(parser, "red cup " + "with a very long story about the table " * 62)
    assert read.truncated
    assert (read.target.lemma, read.target.colors) == ("cup", ("red",))
    assert len(read.query.split()) > MAX_WORDS


@pytest.mark.parametrize(
    "text", ["红色的杯子", "la tasse rouge", "🙂 cup", "38", "a" * 3000, "of of of", "in in", "'s", "@@ a"]
)
def test_strange_input_is_read_without_an_error(parser: AttributeParser, text: str) -> None:
    assert build_prompt_text(_read(parser, text))


def test_parsing_does_not_depend_on_the_batch(parser: AttributeParser) -> None:
    queries = list(HEADS)
    assert parser.parse(queries) == [parser.parse([query])[0] for query in queries]


def test_json_holds_what_was_read_and_nothing_empty(parser: AttributeParser) -> None:
    record = _read(parser, "left red cup").to_json()
    assert record == {
        "query": "left red cup",
        "kind": "object",
        "category": "cup",
        "target": {"surface": "cup", "lemma": "cup", "noun": "cup", "colors": ["red"]},
        "absolute_location": ["left"],
    }
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(("name", "least"), [("refcoco", 0.89), ("refcoco_plus", 0.875), ("refcocog_umd", 0.865)])
def test_heads_agree_with_the_annotated_ones(parser: AttributeParser, name: str, least: float) -> None:
    path = SHARED / "real" / f"{name}_val.joined.jsonl.gz"
    if not path.is_file():
        pytest.skip("the real validation queries are not at hand")
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines][:3000]
    rows = [row for row in rows if row["attr"].get("r1", ["none"]) != ["none"]]
    read = parser.parse([row["query"] for row in rows])
    agreed = sum(
        bool({one.target.lemma, *one.target.surface.split()[-1:]} & set(row["attr"]["r1"]))
        for row, one in zip(rows, read, strict=True)
    )
    assert agreed / len(rows) >= least
