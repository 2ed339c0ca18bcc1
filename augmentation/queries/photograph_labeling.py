"""Labeling of photographs: verified queries for each category whose salient objects can be told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from augmentation.composers.photographs import COMPOSER, PhotographDescription, PhotographsConfig, describe_photograph
from augmentation.detection.detected import encode_preview
from augmentation.queries.generator import VerifiedQuery, generate_queries
from augmentation.queries.labeled import LabeledScene
from augmentation.queries.labeling import LabelConfig
from augmentation.queries.parse_check import RoundTripParser
from augmentation.relations.programs import Program, to_json
from augmentation.relations.types import get_relation_type
from pipeline import MapStage, Rejected, Resources
from shards.images import decode_rgb_image
from shards.schema import Query, Sample


class LabelPhotographStage(MapStage[Sample, Sample | LabeledScene]):
    """Stage that gives photographs verified queries; it rejects those without any.

    The instances of a labeled photograph are its salient objects: queries are verified against these.

    Args:
        photographs: limits of salient objects and of targets.
        config: style, number and box noise of the queries; its limits of detected scenes do not apply.
        plurals: plural by category of the vocabulary; objects of other categories are no targets.
        seed: decides, with the key of a photograph, which of its verified programs are realized, and how.
        nouns: further nouns by category, for measured styles.
        keeps_scene: whether the sample comes with its scene, for ``ParaphraseStage``.
    """

    name = "label"

    resources = Resources(num_cpus=1)

    def __init__(
        self,
        photographs: PhotographsConfig,
        config: LabelConfig,
        plurals: Mapping[str, str],
        seed: int,
        nouns: Mapping[str, Sequence[str]] | None = None,
        *,
        keeps_scene: bool = False,
    ) -> None:
        self._photographs, self._config, self._seed = photographs, config, seed
        self._realizer, self._keeps_scene = config.make_realizer(plurals, nouns), keeps_scene

    def setup(self) -> None:
        self._round_trip_parser = RoundTripParser(nouns=self._realizer.nouns)

    def process_item(self, sample: Sample) -> Sample | LabeledScene | Rejected:
        size = (sample.width, sample.height)
        described = describe_photograph(sample.instances, size, self._photographs, self._realizer.plurals)
        queries = tuple(
            Query(
                query_id=f"{COMPOSER}-{sample.key}-{number:02d}",
                text=query.text,
                boxes_xyxy=(described.instances[query.target].box_xyxy,),
                split=self._config.split,
                source=COMPOSER,
                instances=(query.target,),
                program=to_json(query.program),
            )
            for number, query in enumerate(self._generate(described, sample.key))
        )
        if not queries:
            return self._reject(sample, described)
        labeled = replace(sample, instances=described.instances, queries=queries)
        return LabeledScene(sample=labeled, scene=described.scene) if self._keeps_scene else labeled

    def _generate(self, described: PhotographDescription, key: str) -> Iterator[VerifiedQuery]:
        for category in described.categories:
            digest = hashlib.sha256(f"{self._seed}/{key}/{category}".encode()).digest()
            yield from generate_queries(
                described.scene,
                category,
                self._realizer,
                self._config.queries_per_relation_type,
                seed=int.from_bytes(digest[:8]),
                noise=self._config.box_noise,
                accepts=self._is_accepted,
            )

    def _is_accepted(self, text: str, program: Program) -> bool:
        is_excluded = get_relation_type(to_json(program)) in self._photographs.excluded_types
        return not is_excluded and self._round_trip_parser.is_consistent(text, program)

    def _reject(self, sample: Sample, described: PhotographDescription) -> Rejected:
        """Reject by the reason of the category with most salient objects; the detail has those of all."""
        reason = "no_verified_query" if described.categories else described.find_main_reason()
        detail = ", ".join(f"{name}: {reason}" for name, reason in described.unusable.items())
        preview = encode_preview(decode_rgb_image(sample.image), [one.box_xyxy for one in described.instances])
        return Rejected(key=sample.key, reason=reason, detail=detail or reason, attachment=preview)
