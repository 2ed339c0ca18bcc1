"""Prompt of a prior: a plain caption of the attributes that are visible on the target alone.

A prompt has no location, no ordinal and no other object, so queries that differ only in these share one image. "left
guy in red shirt" and "man with a red shirt on the right" both become "a man in a red shirt".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from generation.parsing import lexicon as lex
from generation.parsing.attributes import Attributes
from generation.parsing.english import NUMBER_WORDS, add_article
from generation.parsing.grammar import Action
from generation.parsing.noun_phrases import NounPhrase

PHOTO_TEMPLATES = {
    "person": "a photo of {caption}, full body",
    "animal": "a photo of {caption}, whole animal",
    "garment": "a photo of {caption}",
    "part": "a close-up photo of {caption}",
    "stuff": "a wide photo of {caption}",
    "object": "a photo of {caption}",
    "unknown": "a photo of {caption}",
}
"""Templates that suit Stable Diffusion, by the kind of the target; by default the prompt is the caption alone."""

PHOTO_NEGATIVE_PROMPT = "blurry, low quality, distorted, deformed, cropped, text, watermark, collage"
"""Negative prompt that suits Stable Diffusion 1.x, 2.x and XL; empty by default."""


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """Wording of captions; changes a prior's id only through its prompt."""

    template: str = "{caption}"
    """Text around the caption, such as ``"a photo of {caption}, realistic"``; with ``{caption}`` exactly once."""

    templates: Mapping[str, str] = field(default_factory=dict)
    """Templates for kinds of targets (``person``, ``animal``, ``garment``, ``part``, ``stuff``, ``object``,
    ``unknown``) that replace ``template``."""

    negative_prompt: str = ""
    """Negative prompt of all images; empty by default."""

    unknown_noun: str = "object"
    """Noun for a query without a category ("the big yellow one")."""

    garments_mean_wearers: bool = True
    """Rendering of a person for "blue shirt", as in COCO's queries; turn it off if clothes are categories."""

    max_words: int = 40
    """Maximum words of a caption, at least 5; the last details go first. CLIP reads 77 tokens, about 55 words."""

    def __post_init__(self) -> None:
        for template in (self.template, *self.templates.values()):
            if template.count("{caption}") != 1:
                raise ValueError(f"template must hold {{caption}} exactly once, got {template!r}")
        if unknown := sorted(self.templates.keys() - PHOTO_TEMPLATES.keys()):
            raise ValueError(f"templates are for {', '.join(PHOTO_TEMPLATES)}, got {', '.join(unknown)}")
        if not self.unknown_noun.strip():
            raise ValueError("unknown_noun must not be empty; try 'object'")
        if self.max_words < 5:
            raise ValueError(f"max_words must be at least 5 to name an object and its color, got {self.max_words}")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Prompt, and what became of the query's details."""

    text: str
    shortened: bool = False
    """Whether details were dropped."""

    is_plain: bool = False
    """Whether it names no appearance attribute: color, pattern, material or clothing."""


def build_prompt_text(attributes: Attributes, config: PromptConfig | None = None) -> str:
    """Build the text of a prior's prompt."""
    return build_prompt(attributes, config or PromptConfig()).text


def build_prompt(attributes: Attributes, config: PromptConfig) -> Prompt:
    """Build the prompt: head with its attributes, clothes, carried objects, parts and actions, in a template."""
    target, wearing = _choose_subject(attributes, config)
    head = _format_head(target, attributes, config)
    worn_with = [noun_phrase for noun_phrase in wearing if _is_accessory(noun_phrase)]
    parts = [noun_phrase for noun_phrase in attributes.parts if noun_phrase.noun.strip("_") not in ("", "back", "body")]
    details = [
        _format_list("in", [_format_object(noun_phrase) for noun_phrase in wearing if noun_phrase not in worn_with]),
        _format_list("holding", [_format_object(noun_phrase) for noun_phrase in attributes.carrying]),
        _format_list("with", [_format_object(noun_phrase) for noun_phrase in (*worn_with, *parts)]),
        _format_list("", filter(None, (_format_action(action, attributes.kind) for action in attributes.actions))),
    ]
    caption, shortened = _fit_details(head, [detail for detail in details if detail], config.max_words)
    kind = attributes.kind if target is attributes.target else "person"
    text = config.templates.get(kind, config.template).replace("{caption}", caption)
    acted = [action.noun_phrase for action in attributes.actions if _format_action(action, attributes.kind)]
    named = filter(None, [target, attributes.owner, *attributes.carrying, *parts, *acted])
    is_plain = not wearing and not any(map(_has_appearance, named))
    return Prompt(text=text, shortened=shortened or attributes.truncated, is_plain=is_plain)


def _has_appearance(noun_phrase: NounPhrase) -> bool:
    """Return whether a noun phrase, or what it contains, has a color, pattern or material."""
    own = noun_phrase.colors or noun_phrase.patterns or noun_phrase.materials
    return bool(own) or any(map(_has_appearance, noun_phrase.contents))


def _choose_subject(attributes: Attributes, config: PromptConfig) -> tuple[NounPhrase, list[NounPhrase]]:
    """Choose the object to render and its clothes; a garment alone becomes its wearer if so configured."""
    target, wearing = attributes.target, list(attributes.wearing)
    if attributes.kind == "garment" and config.garments_mean_wearers:
        ages = tuple(other for other in target.other_modifiers if other in lex.AGES)
        garment = replace(target, other_modifiers=tuple(other for other in target.other_modifiers if other not in ages))
        wearer = attributes.owner or NounPhrase(noun="person")
        return replace(wearer, other_modifiers=(*wearer.other_modifiers, *ages)), [garment, *wearing]
    if attributes.actions and replace(target, surface="") == NounPhrase():
        return NounPhrase(noun="person"), wearing
    return target, wearing


def _is_accessory(noun_phrase: NounPhrase) -> bool:
    """Return whether a person is "with" it and not "in" it: "a man with a backpack"."""
    return noun_phrase.lemma in lex.ACCESSORIES or (
        noun_phrase.lemma in lex.OBJECT_NOUNS and noun_phrase.lemma not in lex.GARMENTS
    )


def _format_head(target: NounPhrase, attributes: Attributes, config: PromptConfig) -> str:
    named = target if target.noun else replace(target, noun=config.unknown_noun)
    head = _format_object(named)
    if attributes.owner is not None and target is attributes.target:
        head = f"{_format_object(replace(attributes.owner, plural=False))}'s {_format_noun_phrase(named)}"
    if named.noun == "half" and named.contents:
        return f"half of {_format_list('', map(_format_object, named.contents))}"
    return head


def _fit_details(head: str, details: list[str], max_words: int) -> tuple[str, bool]:
    """Append the details that fit, in order; of a long head the last words stay, since the noun comes last."""
    words = head.split()
    shortened = len(words) > max_words
    words = words[-max_words:]
    for detail in details:
        if len(words) + len(detail.split()) > max_words:
            shortened = True
        else:
            words += detail.split()
    return " ".join(words), shortened


def _format_list(preposition: str, phrases: Iterable[str]) -> str:
    joined = " and ".join(dict.fromkeys(phrases))
    return f"{preposition} {joined}".strip() if joined else ""


def _format_object(noun_phrase: NounPhrase) -> str:
    """Format with article or number: "a red cup", "an umbrella", "three cups", "jeans", "red" (clothes by color)."""
    phrase = _format_noun_phrase(noun_phrase)
    if noun_phrase.count and noun_phrase.plural:
        return f"{NUMBER_WORDS[noun_phrase.count]} {phrase}"
    last = noun_phrase.noun.split()[-1] if noun_phrase.noun else ""
    plural_form = last in lex.SAME_IN_SINGULAR and last not in lex.SINGULAR_WITH_S
    if not noun_phrase.noun or noun_phrase.plural or plural_form or last in lex.MASS:
        return phrase
    return add_article(phrase)


def _format_noun_phrase(noun_phrase: NounPhrase) -> str:
    other_modifiers = [
        lex.MODIFIER_FORMS.get(word, word) for word in noun_phrase.other_modifiers if word.replace("-", "").isalpha()
    ]
    sizes = [lex.SIZE_FORMS.get(word, word) for word in noun_phrase.sizes]
    patterns = [lex.PATTERN_FORMS.get(word, word) for word in noun_phrase.patterns]
    words = [
        *sorted(sizes),
        *other_modifiers,
        *sorted(patterns),
        _format_colors(noun_phrase.colors),
        *sorted(noun_phrase.materials),
        noun_phrase.noun if noun_phrase.plural else _format_singular(noun_phrase.noun),
    ]
    shows = noun_phrase.lemma in lex.IMAGE_NOUNS
    contents = [_format_object(content) if shows else _format_noun_phrase(content) for content in noun_phrase.contents]
    return f"{' '.join(dict.fromkeys(filter(None, words)))} {_format_list('of', contents)}".strip()


def _format_colors(colors: tuple[str, ...]) -> str:
    """Format colors ("dark blue", "black and white") in alphabetical order, so that both orders share a prompt."""
    combined: list[str] = []
    shade = ""
    for color in colors:
        if color in lex.SHADES:
            shade = lex.COLOR_FORMS.get(color, color)
        else:
            combined.append(f"{shade} {lex.COLOR_FORMS.get(color, color)}".strip())
            shade = ""
    return " and ".join(sorted(set(combined))) if combined else lex.COLOR_FORMS.get(shade, shade)


def _format_singular(noun: str) -> str:
    *compound, last = noun.split() or [""]
    return " ".join([*compound, lex.SYNONYMS.get(last, last.rstrip("_"))]).strip()


def _format_action(action: Action, kind: str) -> str:
    """Format an action for a caption; empty if it cannot be seen, such as a gaze without an object."""
    if action.verb in lex.UNSEEN_ACTIONS or (kind in ("object", "part") and action.verb in lex.POSES):
        return ""
    verb = lex.ACTION_FORMS.get(action.verb, action.verb)
    return verb if action.noun_phrase is None else f"{verb} {_format_object(action.noun_phrase)}"
