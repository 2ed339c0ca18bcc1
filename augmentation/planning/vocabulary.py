"""The words that scenes and their prompts are made of.

vocabulary = VocabularyConfig.from_file(Path("vocabulary.json"))
vocabulary.prompt("cup", "three", {"color": "red"})    # "three red cups"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any, ClassVar

from augmentation.errors import AugmentationError
from augmentation.relations.scene import ContactKind
from generation.parsing.english import NUMBER_WORDS

QUANTIFIERS: Mapping[str, int] = {NUMBER_WORDS[count]: count for count in range(2, 9)}
"""Number words that a prompt may use, with their numbers."""

_SLOTS = ("quantifier", "attributes", "plural")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """Words of the prompts of scenes."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    categories: Mapping[str, str]
    """Plural by singular, such as ``{"cup": "cups"}``; the singular is the category of instances and queries."""

    nouns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further nouns by category, each true of every object of it: ``{"bicycle": ("bike",)}``. Queries of a measured
    style use them; other queries and prompts have the category's name alone."""

    quantifiers: tuple[str, ...] = tuple(QUANTIFIERS)
    """Words of ``QUANTIFIERS``."""

    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Words by attribute, such as ``{"color": ("red", "blue")}``."""

    attribute_sets: tuple[tuple[str, ...], ...] = ((),)
    """Sets of attributes that a prompt may have together, in the order of a phrase: ``((), ("pattern", "color"))``."""

    supports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categories that may stand on objects of a category, such as ``{"box": ("cup", "ball")}``, in pasted scenes. Give
    only supports whose upper edge is flat and seen from the side."""

    containers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categories that may be in objects of a category, such as ``{"cup": ("ball",)}``, in pasted scenes. A container
    hides the lower part of what is in it."""

    template: str = "{quantifier} {attributes} {plural}"
    """Template with the slots ``{quantifier}``, ``{plural}``, and ``{attributes}`` if there are any."""

    def __post_init__(self) -> None:
        _check_words("categories", [*self.categories, *self.categories.values()])
        _check_words("quantifiers", self.quantifiers)
        for category, words in self.nouns.items():
            if category not in self.categories:
                raise AugmentationError(
                    f"nouns name {category!r}, which is no category; the vocabulary has {_format_list(self.categories)}"
                )
            _check_words(f"nouns of {category!r}", words)
        for attribute, words in self.attributes.items():
            _check_words(f"attributes of kind {attribute!r}", words)
        self._check_anchors("supports", self.supports)
        self._check_anchors("containers", self.containers)
        _check_quantifiers(self.quantifiers)
        _check_attribute_sets(self.attribute_sets, self.attributes)
        _check_template(self.template, needs_attributes=any(self.attribute_sets))

    def _check_anchors(self, name: str, anchors: Mapping[str, tuple[str, ...]]) -> None:
        for anchor, categories in anchors.items():
            for category in (anchor, *categories):
                if category not in self.categories:
                    raise AugmentationError(
                        f"{name} name {category!r}, which is no category; the vocabulary has "
                        f"{_format_list(self.categories)}"
                    )
            if anchor in categories:
                raise AugmentationError(f"{name} of {anchor!r} must be of other categories, got {anchor!r}; remove it")

    def list_anchors(self, category: str) -> list[tuple[ContactKind, str]]:
        """List the categories that objects of a category may be on or in."""
        on: list[tuple[ContactKind, str]] = [
            ("on", one) for one in sorted(self.supports) if category in self.supports[one]
        ]
        return [*on, *(("in", one) for one in sorted(self.containers) if category in self.containers[one])]

    @property
    def category_quantifiers(self) -> list[tuple[str, str]]:
        """Return all pairs (category, quantifier), over which scenes are spread evenly."""
        return list(product(sorted(self.categories), sorted(self.quantifiers, key=QUANTIFIERS.__getitem__)))

    def prompt(self, category: str, quantifier: str, attributes: Mapping[str, str]) -> str:
        """Fill the template; attributes keep their order.

        Raises:
            AugmentationError: the quantifier or the category is unknown.
        """
        _check_quantifiers((quantifier,))
        if category not in self.categories:
            raise AugmentationError(
                f"unknown category {category!r}; the vocabulary has {_format_list(self.categories)}"
            )
        words = " ".join(attributes.values())
        text = self.template.format(quantifier=quantifier, attributes=words, plural=self.categories[category])
        return " ".join(text.split())

    @staticmethod
    def from_file(path: Path) -> VocabularyConfig:
        """Read a JSON object with the fields of this class; only ``categories`` is required.

        Raises:
            AugmentationError: the file is missing, is no such object, or breaks a rule.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(VocabularyConfig).validate_json(path.read_bytes())
        except OSError as error:
            raise AugmentationError(f"{path} cannot be read as a vocabulary ({error}); it must be JSON") from error
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "vocabulary"
            raise AugmentationError(f"{path}: {name}: {first['msg']}, got {str(first['input'])[:80]!r}") from error
        except AugmentationError as error:
            raise AugmentationError(f"{path}: {error}") from error


def _format_list(words: Any) -> str:
    return ", ".join(str(word) for word in words)


def _check_words(what: str, words: Any) -> None:
    if not words:
        raise AugmentationError(f"the vocabulary has no {what}; give at least one")
    for word in words:
        if not isinstance(word, str) or not word.strip() or word != word.lower():
            raise AugmentationError(f"{what} must be words in lower case, got {word!r}")


def _check_quantifiers(quantifiers: tuple[str, ...]) -> None:
    if len(set(quantifiers)) < len(quantifiers):
        raise AugmentationError(f"each quantifier once, got {_format_list(quantifiers)}")
    for word in quantifiers:
        if word not in QUANTIFIERS:
            raise AugmentationError(f"unknown quantifier {word!r}; scenes can hold {_format_list(QUANTIFIERS)} objects")


def _check_attribute_sets(sets: tuple[tuple[str, ...], ...], attributes: Mapping[str, tuple[str, ...]]) -> None:
    if not sets:
        raise AugmentationError("attribute_sets is empty; give at least [[]], which is prompts without attributes")
    for attribute in (attribute for attribute_names in sets for attribute in attribute_names):
        if attribute not in attributes:
            known = _format_list(attributes) or "none"
            raise AugmentationError(
                f"attribute_sets names {attribute!r}, which has no words in attributes (known: {known}); "
                "add words or remove it"
            )


def _check_template(template: str, needs_attributes: bool) -> None:
    try:
        parsed = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise AugmentationError(f"template {template!r} has unbalanced braces ({error})") from error
    if formatted := [slot for _, slot, form, conversion in parsed if form or conversion]:
        raise AugmentationError(f"template {template!r} formats the slot {formatted[0]!r}; write {{{formatted[0]}}}")
    slots = {str(slot) for _, slot, _, _ in parsed}
    required = {"quantifier", "plural"} | ({"attributes"} if needs_attributes else set())
    if missing := sorted(required - slots):
        raise AugmentationError(f"template {template!r} lacks the slot {{{missing[0]}}}")
    if unknown := sorted(slots - set(_SLOTS)):
        raise AugmentationError(
            f"template {template!r} has an unknown slot {{{unknown[0]}}}; known: {_format_list(_SLOTS)}"
        )
