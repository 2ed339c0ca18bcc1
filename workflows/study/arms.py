"""The arms: what each network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Priors = Literal["own", "shuffled", "oracle"]
"""``own``: drawn from the query. ``shuffled``: those of other queries. ``oracle``: a clean rendering of the target."""

ExtraData = Literal["prompted", "plain", "pasted", "pseudo-q", "plain-pseudo-q", "real-images"]
"""Training data beside the real ones: prompted scenes; those of prompts without colors and patterns; pasted ones; both
kinds of prompted ones with Pseudo-Q's queries instead of proved ones; as many further images of the world itself."""

HELD_OUT_COLORS = frozenset({"purple", "pink", "brown"})
"""Three of ten colors. Text-to-image model and CLIP know them, as large ones know more words than grounding
data hold."""


def has_held_out_color(text: str) -> bool:
    """Whether a query says one of the words that some arms withhold."""
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
    """What a network is given."""

    name: str
    priors: Priors | None = None
    extra: ExtraData | None = None
    max_extra_fraction: float | None = 0.25
    """Of the images that are looked at, at most so many are of the further training data; None: all of it in each
    epoch. Of the two, this one was chosen, on val with one seed."""

    steps_factor: int = 1
    """Times the steps of the others."""

    prior_scale: float = 1.0
    """Factor of the priors; see ``NetworkConfig.prior_scale``."""

    use_prior_verification: bool = False
    """Flag to score image features against the prior, too, with ``prior_loss_weight`` 1; not the published method."""

    holds_out_colors: bool = False
    """Training has no query that says one of the words ``HELD_OUT_COLORS``."""

    is_main: bool = False
    """One of the four that the paper compares; the others are controls."""

    all_seeds: bool = False
    """As many as the main arms have."""

    all_sizes: bool = False
    """The others are trained at one size."""

    @property
    def training_set(self) -> TrainingSet:
        """Of the real samples that it reads."""
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
    Variant(
        name="verifying priors, colors held out",
        priors="own",
        use_prior_verification=True,
        holds_out_colors=True,
    ),
    Variant(name="verifying priors", priors="own", use_prior_verification=True),
    Variant(name="verifying priors and scenes", priors="own", extra="prompted", use_prior_verification=True),
    Variant(name="scaled priors", priors="own", prior_scale=SCALED_PRIOR),
)
VARIANTS_BY_NAME = {variant.name: variant for variant in VARIANTS}
