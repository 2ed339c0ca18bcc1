"""One phrase in one picture, answered with all that explains the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from generation.parsing.attributes import AttributeParser
from generation.priors.generator import Prior, PriorGenerator
from trainer.explain import Explanation, explain
from trainer.predict import Grounder


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found, and why."""

    picture: Image.Image
    explanation: Explanation
    attributes: dict[str, Any]
    """What the parser read in the phrase."""

    prior: Prior | None
    prior_s: float
    network_s: float


class PhraseAnswerer:
    """Answers phrases, one at a time.

    Args:
        grounder: the network.
        generator: what draws priors; None goes without.
    """

    def __init__(self, grounder: Grounder, generator: PriorGenerator | None = None) -> None:
        self._grounder, self._generator = grounder, generator

    @property
    def draws_priors(self) -> bool:
        return self._generator is not None

    @cached_property
    def _parser(self) -> AttributeParser:
        return AttributeParser()

    def __call__(self, picture: Image.Image, phrase: str, with_prior: bool = True) -> Answer:
        """
        Raises:
            EmptyQueryError: the phrase has neither a letter nor a digit.
        """
        started = time.monotonic()
        prior = self._generator(phrase) if with_prior and self._generator else None
        attributes = prior.attributes if prior else self._parser.parse([phrase])[0]
        drawn = time.monotonic()
        explanation = explain(self._grounder, picture, phrase, prior.feature if prior else None)
        return Answer(
            picture=picture,
            explanation=explanation,
            attributes=attributes.to_json(),
            prior=prior,
            prior_s=drawn - started,
            network_s=time.monotonic() - drawn,
        )
