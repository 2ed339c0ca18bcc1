"""Normalization of queries: case, spaces, punctuation, and equivalent wordings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from generation.parsing.lexicon import (
    ANIMALS,
    BODY_PARTS,
    CARRIED,
    COLORS,
    GARMENTS,
    JOINED,
    OBJECT_NOUNS,
    PEOPLE,
    RIDDEN,
)


def is_empty(text: str) -> bool:
    """Return whether a text has nothing to parse: no letter and no digit."""
    return not any(character.isalnum() for character in text)


def normalize_text(text: str) -> str:
    """Normalize to lower case, NFKC and single spaces; control characters go, punctuation is set apart."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text)
    text = text.lower()
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def separate_possessives(text: str) -> str:
    """Write a possessive as a word: "man hand", "elephant trunk", "catchers vest", "girls umbrella"."""
    return _OWNED.sub(r"\1 's ", text.replace("'s", " 's"))


_POSED = r"(?:crossed|folded|clasped|outstretched)"
_LIMB = r"hands?|arms?|heads?|legs?|foot|feet|paws?|knees?|trunks?|tails?|thumbs?"
_HELD = r"(?:(?:is|are|held|straight|slightly|way|high) )"
_NO_PLACE = r"(?! (?:to|top|front|back|here|there|left|right|by|near)\b)"
""" "Hand up top" is in the upper part of the image, "hand up" is raised."""

_NUMBER = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)"
_IMAGE_WORD = r"(?:frame|picture|pic|photo|shot|view)"
_REPLACEMENTS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(\w) ' ?(s|t|re|m|ll|ve|d)\b", r"\1'\2"),
        (r"\bw/\s*", "with "),
        (rf"\b(?:{'|'.join(JOINED)})\b".replace(" ", "[ -]"), lambda match: JOINED[match[0].replace("-", " ")]),
        (r"\b(?:cut|cropped|chopped)[ -]?(?:off|out)\b", " "),
        (rf"\b{_NUMBER}[ -](?:years?|months?)[ -]old\b", "young"),
        (r"\bupside[ -]down\b", "upsidedown"),
        (r"\b(cut|half|fold) (\w+e[dn]|visible|full|empty|open|up)\b", r"\1-\2"),
        (r"\bbeing (?!\w+ing\b)\w+", " "),
        (rf"\b({'|'.join(sorted(COLORS))})[ -]colou?r(?:ed)?\b", r"\1"),
        (r"\b(\w+)[ -](hair|skin)n?ed (\w+)", r"\3 with \1 \2"),
        (rf"(?<!with )\b(hands?|arms?|legs?) ({_POSED})\b", r"with \2 \1"),
        (rf"\bhalf (?=(?:{'|'.join(sorted(OBJECT_NOUNS))})\b)", "half of "),
        (r"\b(two|three|four|five|six|both) of (?:the|his|her|their|its|these|those|my)\b", r"\1"),
        (r"\b(leaning|looking|turned|pulled|lying|laying|tied|sitting|bent|facing) back\b", r"\1"),
        (r"(?<=\w) ?/ ?(?=\w)", " and "),
        (rf"\b({_LIMB}) {_HELD}*(?:up|higher|raised|in the air)\b{_NO_PLACE}", r"raised \1"),
        (rf"\b({_LIMB}) {_HELD}*down\b{_NO_PLACE}", r"lowered \1"),
        (r"\bback (?=(?:legs?|foot|feet|paws?)\b)", "hind "),
        (r"\b(?:with )?(?:no|without an?|without|not wearing an?) shirt\b(?: on)?", " shirtless "),
        (rf"\b(?:mostly |partly |half )?out of (?:the )?{_IMAGE_WORD}\b", " "),
        (r"\b(?:whole|full|entire) body\b|\bclose[ -]?up\b(?! to)|\bhurry(?: up)?\b", " "),
        (r"\b(?:all|any|some|most|lots|a lot) of (?:the |these |those )?|\ba lot\b", ""),
        (r"\bhalf (?:a|an|the|of a|of an|of the)\b", "half of"),
        (r"\bor (?:an? |the )?[\w-]+", " "),
        (r"\b(?:a )?pair of\b", " "),
        (r"\b(?:a )?couple of\b", "two"),
        (r"[^\w\s',;-]|_|(?<!\w)[-']|[-'](?!\w)", " "),
        (r"[,;]", " , "),
    )
]

_OWNED = re.compile(
    rf"\b({'|'.join(sorted(PEOPLE | ANIMALS))})"
    rf"(?:s? (?=(?:(?:left|right) )?(?:{'|'.join(sorted(BODY_PARTS))})\b)"
    rf"|s (?=(?:{'|'.join(sorted(GARMENTS | CARRIED | RIDDEN))})\b))"
)
