"""Variants of the study: the training data and settings of each network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Priors = Literal["own", "shuffled", "oracle"]
"""Prior mode: ``own`` is rendered from the query, ``shuffled`` belongs to another query, ``oracle`` is a clean drawing
of the target."""

ExtraData = Literal["prompted", "plain", "pasted", "pseudo-q", "plain-pseudo-q", "real-images"]
"""Kind of training data in addition to the real samples.

``prompted`` and ``plain`` are generated scenes; prompts of ``plain`` have no colors and patterns. ``pasted`` are pasted
scenes. ``pseudo-q`` and ``plain-pseudo-q`` are the same images with Pseudo-Q's queries instead of verified ones.
``real-images`` are equally many further images of the world."""

HELD_OUT_COLORS = frozenset({"purple", "pink", "brown"})
"""Three of ten colors. Text-to-image model and CLIP know them, as large models know words that grounding data lack."""


def has_held_out_color(text: str) -> bool:
    """Return whether a query contains a color that some variants hold out."""
    return not HELD_OUT_COLORS.isdisjoint(text.split())


SCALED_PRIOR = 11.3
"""Factor sqrt(128) of priors of length 1; not in the published method, see ``NetworkConfig.prior_scale``."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Real samples with priors."""

    priors: Priors
    holds_out_colors: bool

    def __str__(self) -> str:
        return f"{self.priors}-withheld" if self.holds_out_colors else self.priors


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

    uses_exemplars: bool = False
    """Whether priors are compared with the image as exemplars, instead of used as published."""

    holds_out_colors: bool = False
    """Whether training leaves out queries with a word of ``HELD_OUT_COLORS``."""

    is_main: bool = False
    """Whether the paper compares this variant; the others are controls."""

    all_seeds: bool = False
    """Whether the variant has as many seeds as the main ones."""

    all_sizes: bool = False
    """Whether the variant is trained at all sizes."""

    @property
    def training_set(self) -> TrainingSet:
        """Return the real samples that the variant trains on."""
        return TrainingSet(priors=self.priors or "own", holds_out_colors=self.holds_out_colors)


VARIANTS = (
    Variant(name="base", is_main=True, all_sizes=True),
    Variant(name="priors", priors="own", is_main=True, all_sizes=True),
    Variant(name="scenes", extra="prompted", is_main=True, all_sizes=True),
    Variant(name="both", priors="own", extra="prompted", is_main=True, all_sizes=True),
    Variant(name="shuffled priors", priors="shuffled"),
    Variant(name="oracle priors", priors="oracle"),
    Variant(name="pasted scenes", extra="pasted", all_sizes=True),
    Variant(name="Pseudo-Q's rules", extra="pseudo-q", all_seeds=True),
    Variant(name="prompts without attributes", extra="plain", all_seeds=True, all_sizes=True),
    Variant(name="prompts without attributes, Pseudo-Q's rules", extra="plain-pseudo-q", all_seeds=True),
    Variant(name="more real images", extra="real-images"),
    Variant(name="all scenes in each epoch", extra="prompted", max_extra_fraction=None),
    Variant(name="base, four times the steps", steps_factor=4, all_sizes=True),
    Variant(name="both, four times the steps", priors="own", extra="prompted", steps_factor=4, all_sizes=True),
    Variant(name="base, colors held out", holds_out_colors=True),
    Variant(name="priors, colors held out", priors="own", holds_out_colors=True),
    Variant(name="exemplar priors, colors held out", priors="own", uses_exemplars=True, holds_out_colors=True),
    Variant(name="exemplar priors", priors="own", uses_exemplars=True),
    Variant(name="exemplar priors and scenes", priors="own", extra="prompted", uses_exemplars=True),
    Variant(name="scaled priors", priors="own", prior_scale=SCALED_PRIOR),
)
VARIANTS_BY_NAME = {variant.name: variant for variant in VARIANTS}
