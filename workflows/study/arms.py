"""The arms: what each network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Priors = Literal["own", "shuffled", "oracle"]
"""``own``: drawn from the query. ``shuffled``: those of other queries. ``oracle``: a clean rendering of the target."""

Extra = Literal["prompted", "plain", "pasted", "pseudo-q", "plain-pseudo-q", "photographs"]
"""Training data beside the real ones: prompted scenes; those of prompts without colours and patterns; pasted ones; both
kinds of prompted ones with Pseudo-Q's queries instead of proved ones; as many further pictures of the world itself."""

WITHHELD = frozenset({"purple", "pink", "brown"})
"""Three of ten colours. Text-to-image model and CLIP know them, as large ones know more words than grounding
data hold."""


def names_withheld(text: str) -> bool:
    """Whether a query says one of the words that some arms withhold."""
    return not WITHHELD.isdisjoint(text.split())


SCALED = ("--network.prior-scale", "11.3")
"""Not the published method, or not known to be: louder priors, by sqrt(128); see ``NetworkConfig.prior_scale``."""

VERIFYING = ("--network.prior-verifies", "--prior-weight", "1")
"""Not the published method: image features are scored against the prior, too."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Real samples with priors."""

    priors: Priors
    withholds: bool

    def __str__(self) -> str:
        return f"{self.priors}-withheld" if self.withholds else self.priors


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What a network is given."""

    name: str
    priors: Priors | None = None
    extra: Extra | None = None
    extra_share: float | None = 0.25
    """Of the pictures that are looked at, at most so many are of the further training data; None: all of it in each
    epoch. Of the two, this one was chosen, on val with one seed."""

    steps_factor: int = 1
    """Times the steps of the others."""

    options: tuple[str, ...] = ()
    """Further ones of ``trainer.train``."""

    withholds: bool = False
    """Training has no query that says one of the words ``WITHHELD``."""

    is_main: bool = False
    """One of the four that the paper compares; the others are controls."""

    more_seeds: bool = False
    """As many as the main arms have."""

    at_all_sizes: bool = False
    """The others are trained at one size."""

    @property
    def packing(self) -> Packing:
        """Of the real samples that it reads."""
        return Packing(priors=self.priors or "own", withholds=self.withholds)


ARMS = (
    Arm(name="base", is_main=True, at_all_sizes=True),
    Arm(name="priors", priors="own", is_main=True, at_all_sizes=True),
    Arm(name="scenes", extra="prompted", is_main=True, at_all_sizes=True),
    Arm(name="both", priors="own", extra="prompted", is_main=True, at_all_sizes=True),
    Arm(name="shuffled priors", priors="shuffled"),
    Arm(name="oracle priors", priors="oracle"),
    Arm(name="pasted scenes", extra="pasted", at_all_sizes=True),
    Arm(name="Pseudo-Q's rules", extra="pseudo-q", more_seeds=True),
    Arm(name="plain prompts", extra="plain", more_seeds=True, at_all_sizes=True),
    Arm(name="plain prompts, Pseudo-Q's rules", extra="plain-pseudo-q", more_seeds=True),
    Arm(name="more photographs", extra="photographs"),
    Arm(name="all scenes in each epoch", extra="prompted", extra_share=None),
    Arm(name="base, four times the steps", steps_factor=4, at_all_sizes=True),
    Arm(name="both, four times the steps", priors="own", extra="prompted", steps_factor=4, at_all_sizes=True),
    Arm(name="base, colours withheld", withholds=True),
    Arm(name="priors, colours withheld", priors="own", withholds=True),
    Arm(name="verifying priors, colours withheld", priors="own", options=VERIFYING, withholds=True),
    Arm(name="verifying priors", priors="own", options=VERIFYING),
    Arm(name="verifying priors and scenes", priors="own", extra="prompted", options=VERIFYING),
    Arm(name="scaled priors", priors="own", options=SCALED),
)
BY_NAME = {arm.name: arm for arm in ARMS}
