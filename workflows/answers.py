"""One phrase in one picture, answered with all that explains the answer: for a page or a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from generation.attributes import AttributeParser
from generation.generator import Prior, PriorGenerator
from trainer.explain import Explanation, explain
from trainer.predict import Grounder, opened


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


class Answerer:
    """Answers phrases; models that draw priors are loaded when the first one is asked for.

    Args:
        grounder: the network.
        make_generator: loads what draws priors; None goes without.
    """

    def __init__(self, grounder: Grounder, make_generator: Callable[[], PriorGenerator] | None = None) -> None:
        self._grounder, self._make_generator = grounder, make_generator

    @property
    def draws_priors(self) -> bool:
        return self._make_generator is not None

    @cached_property
    def _parser(self) -> AttributeParser:
        return AttributeParser()

    @cached_property
    def _generator(self) -> PriorGenerator:
        assert self._make_generator is not None
        return self._make_generator()

    def __call__(self, path: Path, phrase: str, with_prior: bool = True) -> Answer:
        """
        Raises:
            GenerationError: the phrase has neither a letter nor a digit.
            TrainerError: the picture cannot be read.
        """
        attributes = self._parser.parse([phrase])[0]
        picture = opened(path)
        started = time.monotonic()
        prior = self._generator(phrase) if with_prior and self.draws_priors else None
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
