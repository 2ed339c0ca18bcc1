"""Variants of the study: the training data and settings of each network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Priors = Literal["own", "shuffled", "oracle"]
"""Prior mode: ``own`` is rendered from the query, ``shuffled`` belongs to another query, ``oracle`` is a clean drawing
of the target."""

ExtraData = Literal[
    "prompted",
    "plain",
    "pasted",
    "weighted",
    "pseudo-q",
    "plain-pseudo-q",
    "weighted-pseudo-q",
    "weighted-attributes",
    "varied",
    "varied-balanced",
    "real-images",
]
"""Kind of training data in addition to the real samples.

``prompted`` and ``plain`` are generated scenes; prompts of ``plain`` have no colors and patterns. ``pasted`` are pasted
scenes, and ``weighted`` those with more queries by appearance, side and ordinal. ``pseudo-q``, ``plain-pseudo-q`` and
``weighted-pseudo-q`` are the same images with Pseudo-Q's queries instead of verified ones, and ``weighted-attributes``
the verified ones of ``weighted`` with the target's attributes in each. ``varied`` are those of ``prompted`` with
verified queries in RefCOCO's measured style, and ``varied-balanced`` with equally many that appearance, a place or both
decide. ``real-images`` are equally many further images of the world."""

WordLimits = Literal["all words", "held-out colors", "rare words"]

WORD_LIMITS: Mapping[WordLimits, Mapping[str, int]] = {
    "all words": {},
    "held-out colors": dict.fromkeys(("purple", "pink", "brown"), 0),
    "rare words": {
        **dict(zip(("purple", "pink", "brown", "orange"), (0, 1, 5, 20), strict=True)),
        **dict(zip(("kite", "hat", "mushroom", "fish"), (0, 1, 5, 20), strict=True)),
    },
}
"""Largest number of training queries with a word. Text-to-image model and CLIP know all words, as large models know
words that grounding data lack. Colors were held out first; rare words have the frequencies of a long tail."""


def find_limited_words(text: str, limits: WordLimits) -> list[str]:
    """Return the words of a query that a limit is about."""
    return [word for word in text.split() if word in WORD_LIMITS[limits]]


SCALED_PRIOR = 11.3
"""Factor sqrt(128) of priors of length 1; not in the published method, see ``NetworkConfig.prior_scale``."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Real samples with priors."""

    priors: Priors
    word_limits: WordLimits

    def __str__(self) -> str:
        return self.priors if self.word_limits == "all words" else f"{self.priors}-{self.word_limits.replace(' ', '-')}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Training data and settings of a network."""

    name: str
    priors: Priors | None = None
    """Prior mode; None trains without priors."""

    extra: ExtraData | None = None
    """Extra training data; None trains on real samples alone."""

    max_extra_fraction: float | None = 0.25
    """Maximum fraction of extra images per epoch; None uses all of them in each epoch. It was chosen on val with one
    seed."""

    steps_factor: int = 1
    """Factor of the study's ``steps``."""

    prior_scale: float = 1.0
    """Factor of the priors; see ``NetworkConfig.prior_scale``."""

    exemplars: Literal["none", "priors", "words"] = "none"
    """Training with exemplars: priors are compared with the image, instead of used as published. ``words``: the same
    exemplar queries as far as words alone decide them, without any prior or exemplar, as a control."""

    word_limits: WordLimits = "all words"
    """Words that few or no training queries have."""

    trainer_args: tuple[str, ...] = ()
    """Options of ``trainer.train`` for this variant."""

    is_main: bool = False
    """Whether the paper compares this variant; the others are controls."""

    all_seeds: bool = False
    """Whether the variant has as many seeds as the main ones."""

    all_sizes: bool = False
    """Whether the variant is trained at all sizes."""

    @property
    def evaluated_priors(self) -> tuple[Literal["own", "none", "shuffled"], ...]:
        """Return the priors at test; the first are those of the report."""
        if self.exemplars == "words":
            return ("none",)
        return ("own", "none", "shuffled") if self.priors else ("own",)

    @property
    def training_set(self) -> TrainingSet:
        """Return the real samples that the variant trains on."""
        return TrainingSet(priors=self.priors or "own", word_limits=self.word_limits)


VARIANTS = (
    Variant(name="base", is_main=True, all_sizes=True),
    Variant(name="priors", priors="own", is_main=True, all_sizes=True),
    Variant(name="scenes", extra="prompted", is_main=True, all_sizes=True),
    Variant(name="both", priors="own", extra="prompted", is_main=True, all_sizes=True),
    Variant(name="shuffled priors", priors="shuffled"),
    Variant(name="oracle priors", priors="oracle"),
    Variant(name="pasted scenes", extra="pasted", all_sizes=True),
    Variant(name="weighted scenes", extra="weighted", all_seeds=True, all_sizes=True),
    Variant(name="weighted scenes, attributes added", extra="weighted-attributes", all_seeds=True, all_sizes=True),
    Variant(name="weighted scenes, Pseudo-Q's rules", extra="weighted-pseudo-q", all_seeds=True, all_sizes=True),
    Variant(name="Pseudo-Q's rules", extra="pseudo-q", all_seeds=True, all_sizes=True),
    Variant(name="varied phrases", extra="varied", all_seeds=True, all_sizes=True),
    Variant(name="varied phrases, balanced", extra="varied-balanced", all_seeds=True, all_sizes=True),
    Variant(name="prompts without attributes", extra="plain", all_seeds=True, all_sizes=True),
    Variant(name="prompts without attributes, Pseudo-Q's rules", extra="plain-pseudo-q", all_seeds=True),
    Variant(name="more real images", extra="real-images"),
    Variant(name="all scenes in each epoch", extra="prompted", max_extra_fraction=None),
    Variant(name="base, four times the steps", steps_factor=4, all_sizes=True),
    Variant(name="both, four times the steps", priors="own", extra="prompted", steps_factor=4, all_sizes=True),
    Variant(name="base, colors held out", word_limits="held-out colors", all_seeds=True),
    Variant(name="priors, colors held out", priors="own", word_limits="held-out colors"),
    Variant(
        name="exemplars, colors held out",
        priors="own",
        exemplars="priors",
        word_limits="held-out colors",
        all_seeds=True,
    ),
    Variant(name="exemplars", priors="own", exemplars="priors", all_sizes=True),
    Variant(name="exemplars and scenes", priors="own", extra="prompted", exemplars="priors", all_sizes=True),
    Variant(name="exemplars of words", priors="own", exemplars="words"),
    Variant(name="oracle exemplars", priors="oracle", exemplars="priors"),
    Variant(name="base, rare words", word_limits="rare words"),
    Variant(name="exemplars, rare words", priors="own", exemplars="priors", word_limits="rare words"),
    Variant(name="scaled priors", priors="own", prior_scale=SCALED_PRIOR),
)
VARIANTS_BY_NAME = {variant.name: variant for variant in VARIANTS}
