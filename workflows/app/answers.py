"""Answers to one query about one image, with their explanation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image

from generation.parsing.attributes import AttributeParser
from generation.priors.generator import PriorGenerator
from generation.priors.prior import Prior

if TYPE_CHECKING:
    from trainer.explain import Explanation
    from trainer.predict import Grounder


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Predicted box with its explanation, prior and timings."""

    image: Image.Image
    explanation: Explanation
    attributes: dict[str, Any]
    """Attributes that the parser read in the query."""

    prior: Prior | None
    prior_s: float
    network_s: float


class GroundingSession:
    """Network and prior generator that answer one query at a time.

    Args:
        grounder: network.
        generator: prior generator; None answers without priors.
    """

    def __init__(self, grounder: Grounder, generator: PriorGenerator | None = None) -> None:
        self._grounder, self._generator = grounder, generator

    @property
    def generates_priors(self) -> bool:
        return self._generator is not None

    @cached_property
    def _parser(self) -> AttributeParser:
        return AttributeParser()

    def __call__(self, image: Image.Image, query: str, with_prior: bool = True) -> Answer:
        """Answer a query.

        Raises:
            EmptyQueryError: the query has neither a letter nor a digit.
        """
        from trainer.explain import explain

        started = time.monotonic()
        prior = self._generator(query) if with_prior and self._generator else None
        attributes = prior.attributes if prior else self._parser.parse([query])[0].to_json()
        prior_done = time.monotonic()
        self._grounder.set_image(image)  # encoded once for all queries about it
        explanation = explain(self._grounder, query, prior.feature if prior else None)
        return Answer(
            image=image,
            explanation=explanation,
            attributes=dict(attributes),
            prior=prior,
            prior_s=prior_done - started,
            network_s=time.monotonic() - prior_done,
        )
