"""Extraction of location words from a referring expression, so that the tagger gets a plain noun phrase.

"2nd zebra from left" becomes "zebra", and "cup to the left of the ball" becomes "cup @left_of the ball". A relation to
another object stays as a mark, because the words after it describe that object and not the target.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from generation.parsing.lexicon import COLORS, LOCATION_WORDS, ORDINAL_WORDS


@dataclass(frozen=True, kw_only=True)
class ExtractedLocation:
    """Text without its location words."""

    text: str
    """Remaining text, with relations as ``@relation_words``."""

    absolute: tuple[str, ...]
    """Location words in order, such as ``("bottom", "right")``."""

    ordinals: tuple[str, ...]
    """Ordinals in order, such as ``("2nd",)``."""

    part: str = ""
    """Part of an object at the start of the text: "top" in "top of the building"."""


_SIDE = (
    r"(?:leftmost|rightmost|topmost|bottommost|uppermost|lowermost|frontmost|left|right|top|bottom|middle|center|"
    r"front|forefront|rear|back|upper|lower|foreground|background)"
)
_FRAME = r"(?:pic|picture|photo|photograph|image|frame|shot|scene|view|page|screen|photos?)"
_VIEWER = r"(?:us|you|me|the camera|camera|the viewer|viewer|cam|the cam|the photographer|the screen|screen)"
_DEGREE = (
    r"(?:far|very|dead|smack|extreme|most|way|all the way|almost|slightly|just|directly|further|furthest|"
    r"farthest|immediate|closest|nearest|close|near|more|absolute|total|even|the|our|your|my)"
)
_PART = r"(?:most|hand side|hand corner|side|corner|edge|row|area|portion|section|end|part|center|ish)"
_ORDINAL = rf"(?:{'|'.join(sorted(ORDINAL_WORDS))})"
_COLOR = rf"(?:{'|'.join(sorted(COLORS))}|striped|tank|halter|plaid|tube)"

_LOCATION_WORD = re.compile(rf"\b(?:{'|'.join(sorted(LOCATION_WORDS, key=len, reverse=True))})\b")
_COUNT_AHEAD = re.compile(r"(?:two|three|four|five|six|\d) ")
""" "middle of the three zebras" is one zebra, no part."""

_SEEN_PARTS = frozenset({"half", "piece"})
"""Parts with an appearance of their own; others ("left part of the sky") look like the whole."""

_CLOCK = re.compile(
    r"\b(?:at |on |in )?(?:the )?(\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
    r" ?o(?: ?'? ?| )clock(?: position)?\b"
)
_NUMBER = re.compile(r"^(?:number|num|no) (one|two|three|four|five|six|seven|eight|nine|ten)\b")
_LETTER = re.compile(r"^(?:the )?([lr]) (?=[a-z]{3})|(?<=[a-z]{3} )([lr])$")

_GARMENT_TOP = re.compile(
    rf"\b((?:in|wearing) (?:a |the )?|{_COLOR} )top\b(?! (?:left|right|row|corner|of|middle|center|half|bun))"
)
_OWN_BACK = re.compile(r"((?:'s|\b(?:his|her|their|its|with|whose)) )back\b")
_BACK_TO_VIEWER = re.compile(
    rf"\b(?:with )?(?:(?:his|her|their|its|whose|the) )?backs? (?:is |turned |facing )*(?:to|towards?) {_VIEWER}\b"
)
_THAN = re.compile(r"\b(closer|nearer|further|farther|higher|lower)(?: \w+)? than\b")
_IN_FRAME = re.compile(
    r"\b(?:(?:in|of|on|from) (?:the |this |our )?(?:(?:left|right) hand )?(?:whole |entire )?"
    rf"(?!screen|frame){_FRAME}|(?<=side )of (?:the )?screen)\b"
)
_SCREEN = re.compile(rf"\b({_SIDE}|side|corner|edge|half|part) (?:of|in|on) (?:the )?(?:{_FRAME})\b")
_SIDES = frozenset(
    ["left", "right", "top", "bottom", "middle", "center", "front", "rear", "back", "upper", "lower", "half", "part"]
)

_RIGHT_AT = re.compile(
    r"(?<!the )(?<!on )(?<!to )(?<!far )(?<!and )\bright (?=(?:above|below|behind|under|beneath|beside|next|on top)\b)"
)
""" "right above the dog" is directly above it."""

_FACING = re.compile(rf"\b(facing|looking at|watching)(?: (?:at|to|towards|toward))? {_VIEWER}\b")
_TO_VIEWER = re.compile(
    rf"\b(?:(?:in|to) )?(?:the )?(closest|nearest|closer|nearer|close|near|next|front|furthest|farthest|far|away)"
    rf"(?: (?:to|of|from|towards|toward|away from|by))?(?: to)? {_VIEWER}\b"
)
_PART_OF = re.compile(
    rf"^(?:the |on |in |at |just |a |an )*((?:(?:{_COLOR}|wooden|metal|plastic) )*)"
    rf"(?:((?:{_DEGREE} )*{_SIDE}(?:(?: and| -)? {_SIDE})*)(?: (?:most|hand))?)?"
    r"(?: ?\b(side|part|portion|end|section|corner|edge|area|inside|outside|rest|half|piece))?"
    r" of (?:the |a |an |this |his |her )*(?=\w)"
)
_BESIDE = re.compile(
    r"\b(?:(?:to|on|at|in|from) )?(?:the |his |her )?(?:immediate |direct |directly |just |far |very )*"
    r"(left|right|front|back|rear|top|bottom|middle|center|side|ahead|inside|outside|north|south|east|west)"
    r"(?: hand)?(?: side)? of\b"
)
_NEXT_TO = re.compile(
    r"\b(?:right |directly |just |immediately |the )?"
    r"((?:close|closer|closest|nearest|near)(?= to\b)|next|adjacent|opposite)(?: to)? (?=\w)"
)
_LEFT_FROM = re.compile(r"\b(left|right) (?:from|to) (?:the )?(?!left|right|front|back|top|bottom|us|you)(?=\w)")
_COUNTED = re.compile(
    rf"\b(?:number )?({_ORDINAL})(?: most)?(?: one)?\b(?: (?:in|row|position|place)\b(?= from| on| to|$))?"
)
_FROM = re.compile(rf"\b(?:over |in )?from (?:the )?(?:{_DEGREE} )*({_SIDE}|end)(?:[ -](?:{_SIDE}|{_PART}))*\b")
_ABSOLUTE = re.compile(
    rf"\b(?:(?:on|in|at|to|toward|towards|from|near|by|along|of|for) )?(?:{_DEGREE} )*"
    rf"({_SIDE}(?:[ -](?:and )?{_SIDE})*)(?:[ -]{_PART}(?! of))*\b(?![-'])"
)
_DISTANCE = re.compile(
    r"\b(?:the )?(closest|nearest|closer|furthest|farthest|further|farther|far|foremost|lowest|highest)"
    r"(?: (?:away|out|one|up|back))?\b"
)
_PLACE = re.compile(
    r"\b(?:in|on|at|near|from) (?:the |a |our |your )?(?:far )?(corner|side|edge|end|row|distance|line)\b(?! of)"
    r"|^(?:the )?(?:corner|side|edge)(?= [a-z])|\b(?:corner|anywhere)$|^anywhere (?:in|on|along|near|at)\b"
)
_UP = re.compile(
    r"(?<!ing )(?<!ed )(?<!nt )(?<!holds )(?<!lifts )(?<!picks )(?<!held )(?<!grown )(?<!button )(?<!pick )"
    r"(?<!straight )(?<!hair )(?<!face )(?<!hood )(?<!zipper )(?<!bat )(?<!batter )(?<!batters )(?<!racket )"
    r"(?<!racquet )\b"
    r"(?:(?:a little |way |higher |further |farther |right )?(?:up|down)|higher)\b(?! to| the| close)"
)
"""Up and down as places; "hair up" and "racket up" are postures."""


def extract_location(text: str) -> ExtractedLocation:
    """Split a normalized text into its location words and the rest.

    Args:
        text: lower-case words separated by single spaces, spelling corrected.
    """
    absolute: list[str] = []
    ordinals: list[str] = []
    part = ""

    def record_location(match: re.Match[str]) -> str:
        absolute.extend(_LOCATION_WORD.findall(match[0]))
        return " , "

    def record_part(match: re.Match[str]) -> str:
        nonlocal part
        attributes, side, part_word = match.groups()
        if side is None and part_word is None:
            return match[0]
        absolute.extend(_LOCATION_WORD.findall(side or ""))
        if _COUNT_AHEAD.match(match.string, match.end()):
            return f"{attributes}of "
        if part_word in _SEEN_PARTS:
            return f"{attributes}{part_word} of "
        part = part or part_word or side.split()[-1]
        return str(attributes)

    def record_clock_time(match: re.Match[str]) -> str:
        absolute.append(f"{match[1]} o'clock")
        return " , "

    def record_ordinal(match: re.Match[str]) -> str:
        ordinals.append(match[1])
        return " "

    text = _CLOCK.sub(record_clock_time, text)
    text = _NUMBER.sub(record_ordinal, text)
    text = _LETTER.sub(lambda match: {"l": " left ", "r": " right "}[match[1] or match[2]], text)
    text = _GARMENT_TOP.sub(r"\1top_", text)
    text = _BACK_TO_VIEWER.sub(record_location, text)
    text = _THAN.sub(r"@\1_than", text)
    text = _OWN_BACK.sub(r"\1back_", text)
    text = _RIGHT_AT.sub("", text)
    text = _SCREEN.sub(lambda match: match[1] if match[1] in _SIDES else f"at {match[1]}", text)
    text = _IN_FRAME.sub(" ", text)
    text = _FACING.sub(r"facing-camera", text)
    text = _TO_VIEWER.sub(record_location, _normalize_spaces(text))
    if not re.match(r"(?:(?:left|right)|on (?:the )?top) of", text):
        text = _PART_OF.sub(record_part, _PART_OF.sub(record_part, _normalize_spaces(text)))
    text = _BESIDE.sub(lambda match: f" @{match[1]}_of", _normalize_spaces(text))
    text = _FROM.sub(record_location, _normalize_spaces(text))
    text = _LEFT_FROM.sub(lambda match: f" @{match[1]}_of ", text)
    text = _COUNTED.sub(record_ordinal, _normalize_spaces(text))
    text = _ABSOLUTE.sub(record_location, _normalize_spaces(text))
    text = _NEXT_TO.sub(lambda match: f" @{match[1]}_to ", _normalize_spaces(text))
    text = _DISTANCE.sub(record_location, text)
    text = _PLACE.sub(record_location, _normalize_spaces(text))
    text = _UP.sub(record_location, text)
    return ExtractedLocation(
        text=_normalize_spaces(text), absolute=tuple(absolute), ordinals=tuple(ordinals), part=part
    )


def _normalize_spaces(text: str) -> str:
    return " ".join(text.split())
