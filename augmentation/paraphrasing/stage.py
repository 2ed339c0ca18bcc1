"""Stage that paraphrases the queries of labeled scenes, and keeps the paraphrases that are verified."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Protocol

from augmentation.paraphrasing.config import ParaphraseConfig
from augmentation.paraphrasing.verification import ParaphraseVerifier
from augmentation.queries.generator import VerifiedQuery
from augmentation.queries.labeled import LabeledScene, ParaphrasedSample
from augmentation.queries.realizer import PhraseRealizer
from augmentation.relations.programs import from_json
from augmentation.relations.scene import Scene
from pipeline import MapStage, Resources
from shards.schema import Query, Sample


class Paraphraser(Protocol):
    """Model that proposes paraphrases."""

    def paraphrase(self, texts: Sequence[str], seed: int) -> list[list[str]]:
        """Return the candidates of each text."""


def load_language_model(config: ParaphraseConfig) -> Paraphraser:
    """Load the language model of a configuration."""
    from augmentation.paraphrasing.language_model import LanguageModel

    return LanguageModel(config)


class ParaphraseStage(MapStage[LabeledScene, Sample]):
    """Stage that replaces the text of each query with one target by its first verified paraphrase, if there is one.

    The queries of a scene form a batch with the scene's own seed, so other scenes do not change its paraphrases.

    Args:
        config: language model and settings.
        realizer: realizer of the queries.
        num_gpus: GPUs of one worker.
        load: loads the model of a configuration.
    """

    def __init__(
        self,
        config: ParaphraseConfig,
        realizer: PhraseRealizer,
        *,
        num_gpus: float = 0.0,
        load: Callable[[ParaphraseConfig], Paraphraser] = load_language_model,
    ) -> None:
        self._config, self._realizer, self._load = config, realizer, load
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        self._model, self._verifier = self._load(self._config), ParaphraseVerifier(self._realizer)

    def process_item(self, item: LabeledScene) -> Sample:
        sample, outcomes = item.sample, Counter[str]()
        single = [i for i, query in enumerate(sample.queries) if len(query.boxes_xyxy) == 1]
        seed = int.from_bytes(hashlib.sha256(f"paraphrases/{sample.key}".encode()).digest()[:7])
        candidates = self._model.paraphrase([sample.queries[i].text for i in single], seed) if single else []
        texts = [query.text for query in sample.queries]
        for i, some in zip(single, candidates, strict=True):
            texts[i] = self._choose(sample.queries[i], some, texts, item.scene, outcomes)
        values = {field.name: getattr(sample, field.name) for field in fields(Sample)}
        queries = tuple(replace(query, text=text) for query, text in zip(sample.queries, texts, strict=True))
        return ParaphrasedSample(**{**values, "queries": queries}, paraphrases=dict(outcomes))

    def _choose(
        self, query: Query, candidates: Sequence[str], used: Sequence[str], scene: Scene, outcomes: Counter[str]
    ) -> str:
        """Return the first verified candidate that is no text of the scene yet, or the query's own text."""
        assert query.program is not None and query.instance is not None  # labeling sets both
        verified = VerifiedQuery(text=query.text, target=query.instance, program=from_json(query.program))
        outcomes["queries"] += 1
        for candidate in candidates:
            text = " ".join(candidate.lower().strip(" .!?\"'").split())
            fault = self._verifier.find_fault(text, verified, scene) or ("repeated" if text in used else "")
            outcomes[fault or "kept"] += 1
            if not fault:
                return text
        return query.text
