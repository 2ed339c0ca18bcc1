"""Training sets of the study: samples of several sizes with several kinds of priors, and extra training data.

Each set is a resumable run below ``<root>``:

    data/miniature/...        the world, its priors, and scenes; two of three prompts have attributes
    data/plain/...            scenes of prompts without attributes, as in the demo
    data/pasted/...           pasted scenes
    data/weighted/...         pasted scenes with more queries by appearance alone, side and ordinal
    packed/<size>-<set>       real samples: own, shuffled or oracle priors, with all colors or some held out
    packed/<extra>            extra training data
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Literal

from upath import UPath

from augmentation.queries.labeling import LabelConfig, LabelStage
from augmentation.relations.types import RelationType, TargetType
from generation.models.checkpoints import compute_fingerprint
from generation.priors.config import compute_encoder_fingerprint
from generation.priors.store import PriorSink
from pipeline import Job, MapStage, PlanRow, Sink, Stage, compute_rows_sha256, open_plan, run_job, write_atomic
from shards.reader import SampleReader
from shards.schema import Sample
from shards.writer import SampleSink
from workflows import augment, crop_features
from workflows.cli.console import UserError
from workflows.cli.paths import get_dataset_paths
from workflows.miniature.world import cutouts
from workflows.miniature.world.dataset import Combination
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path, load_prior_config
from workflows.priors.join import JoinStage
from workflows.priors.query_parsing import Queries, parse_queries
from workflows.study.oracle import OracleStage, find_query_combinations, format_oracle_id
from workflows.study.sample_stages import ReadStage, SampleQueriesStage, select_queries
from workflows.study.scenes import (
    AddAttributesStage,
    BalanceStage,
    ComposeAgainStage,
    PseudoQStage,
    ReadSceneStage,
    read_requests,
)
from workflows.study.trials import Trial
from workflows.study.variants import WORD_LIMITS, ExtraData, WordLimits, find_limited_words
from workflows.study.world import EVALUATED_SPLITS, StudyData, make_world, render_priors

PROMPT_ATTRIBUTES = ((), ("color",), ("pattern", "color"))
"""Attributes in the prompts of the main variants' scenes; prompts without attributes became the default later."""

WEIGHTS_BY_TYPE: Mapping[RelationType | TargetType, float] = {"attribute": 8, "side": 8, "ordinal": 4}
"""Weights of the quotas of ``weighted`` scenes. Appearance and side decide 37 and 39 % of RefCOCO's queries; networks
are worst at ordinals."""

VARIED_STYLE, VARIED_FACTOR = "refcoco-measured", 2
"""Style of the varied phrases, and the factor of the number that people write, from which they are drawn."""


def prepare_data(data: StudyData, trials: Collection[Trial]) -> None:
    """Make the missing data of the trials."""
    make_world(data)
    reader = SampleReader(data.paths.samples)
    taken = set[int]()
    for training_set in dict.fromkeys(trial.variant.training_set for trial in trials):
        ids, store = _find_prior_ids(data, reader, training_set.priors)
        for size in dict.fromkeys(trial.size for trial in trials if trial.variant.training_set == training_set):
            texts = (
                (entry.key, [query["text"] for query in reader.record(number)["queries"]])
                for number, entry in enumerate(reader.index)
                if entry.split not in EVALUATED_SPLITS
            )
            kept = select_queries_by_words(texts, size, training_set.word_limits)
            numbers = [
                i for i, entry in enumerate(reader.index) if entry.split in EVALUATED_SPLITS or entry.key in kept
            ]
            taken.update(numbers)
            further = [] if training_set.word_limits == "all words" else [KeepQueriesStage(kept)]
            _pack(
                data, data.paths.samples, _iterate_rows(reader, numbers, ids), store, f"{size}-{training_set}", further
            )
    extras = dict.fromkeys(trial.variant.extra for trial in trials if trial.variant.extra)
    if extras:
        _make_extras(data, reader, extras, taken)
    if any(trial.variant.exemplars != "none" for trial in trials):
        crop_features.main(crop_features.CropFeaturesConfig(data=data.root / "data", executor=data.executor))


def select_queries_by_words(
    texts_by_image: Iterable[tuple[str, Sequence[str]]], size: int, limits: WordLimits
) -> dict[str, list[int]]:
    """Select the first queries that keep the limits of words, at least ``size`` in total; images are taken whole.

    Returns:
        Indices of the queries of each image, by its key.

    Raises:
        UserError: there are too few queries.
    """
    kept, count, seen = dict[str, list[int]](), 0, Counter[str]()
    for key, texts in texts_by_image:
        for i, text in enumerate(texts):
            words = find_limited_words(text, limits)
            if all(seen[word] < WORD_LIMITS[limits][word] for word in words):
                seen.update(words)
                kept.setdefault(key, []).append(i)
                count += 1
        if count >= size:
            return kept
    raise UserError(f"the study's world has only {count:,} training queries, {size:,} are needed; use smaller --sizes")


class KeepQueriesStage(MapStage[Sample, Sample]):
    """Stage that keeps some queries of each training image, with their priors."""

    def __init__(self, kept: Mapping[str, Sequence[int]]) -> None:
        self._kept = dict(kept)

    def process_item(self, item: Sample) -> Sample:
        return select_queries(item, self._kept.get(item.key, range(len(item.queries))))


def _find_prior_ids(data: StudyData, reader: SampleReader, priors: str) -> tuple[dict[str, str], UPath]:
    """Return the prior id of each query, and the store of these priors."""
    if priors == "oracle":
        targets = find_query_combinations(reader, data.world)
        return {query: format_oracle_id(target) for query, target in targets.items()}, _make_oracle_store(data, targets)
    prior = load_prior_config(data.paths.prior_config)
    rows = parse_queries(Queries(dataset="miniature", data=data.root / "data"), prior, data.executor)
    ids = {row.key: row.prior_id for row in rows}
    store = find_prior_store_path("miniature", data.root / "data")
    return (_shuffle_within_splits(reader, ids), store) if priors == "shuffled" else (ids, store)


def _shuffle_within_splits(reader: SampleReader, ids: Mapping[str, str]) -> dict[str, str]:
    """Give each query the prior of another one of its split; every prior is used as often as before."""
    of_split: dict[str, list[str]] = {}
    for sample in reader:
        for query in sample.queries:
            of_split.setdefault(query.split, []).append(query.query_id)
    return {query: prior for queries in of_split.values() for query, prior in shuffle_priors(queries, ids).items()}


def shuffle_priors(queries: Sequence[str], ids: Mapping[str, str]) -> dict[str, str]:
    """Give each query the prior of another one at random, never its own unless more than half of all share it."""
    random, given = Random(f"exchanged/{len(queries)}"), [ids[query] for query in queries]
    random.shuffle(given)
    for i, query in enumerate(queries):
        own = ids[query]
        if given[i] == own:
            j = random.choice([j for j, other in enumerate(queries) if own not in (given[j], ids[other])])
            given[i], given[j] = given[j], own
    return dict(zip(queries, given, strict=True))


def _make_oracle_store(data: StudyData, targets: Mapping[str, Combination]) -> UPath:
    store, prior = data.root / "oracle-priors", miniature.prior_config()
    rows = [
        PlanRow(key=format_oracle_id(one), payload={"combination": list(one)}) for one in sorted(set(targets.values()))
    ]
    encoder = compute_encoder_fingerprint(prior)
    sink = PriorSink({}, encoder)
    _run_study_job(data, "priors", rows, [OracleStage(prior.encoder)], store / "run", {"encoder": encoder}, sink)
    return store


def _iterate_rows(reader: SampleReader, numbers: Iterable[int], ids: Mapping[str, str]) -> Iterator[PlanRow]:
    for number in numbers:
        queries = [query["query_id"] for query in reader.record(number)["queries"]]
        entry = reader.index[number]
        payload = {"number": number, "prior_ids": {query: ids[query] for query in queries}}
        yield PlanRow(key=entry.key, payload=payload, group=entry.split)


def _pack(
    data: StudyData,
    samples: UPath,
    rows: Iterable[PlanRow],
    store: UPath,
    name: str,
    further: Sequence[Stage[Any, Any]] = (),
) -> None:
    """Write samples with their priors, after further stages."""
    stages = [JoinStage(samples, store), *further]
    sources = {
        "samples": open_plan(samples).plan_hash,
        "encoder": compute_encoder_fingerprint(miniature.prior_config()),
    }
    _run_study_job(data, "pack-samples", list(rows), stages, data.root / "packed" / name, sources)


def _make_extras(data: StudyData, reader: SampleReader, extras: Iterable[ExtraData], taken: Collection[int]) -> None:
    """Make the extra training data; the prompted scenes come first, since the others have as many queries."""
    config, plain = _make_scene_config(data, "miniature", PROMPT_ATTRIBUTES), _make_scene_config(data, "plain", ((),))
    augment.make_scenes(config)
    scenes = SampleReader(data.paths.scenes)
    num_queries = [entry.num_queries for entry in scenes.index]
    make: Mapping[ExtraData, Callable[[], object]] = {
        "prompted": lambda: _pack_scenes(data, scenes),
        "plain": lambda: _make_matching_scenes(data, plain, num_queries),
        "pasted": lambda: _make_matching_scenes(data, _make_pasted_config(data), num_queries),
        "weighted": lambda: _make_matching_scenes(data, _make_weighted_config(data), num_queries),
        "weighted-attributes": lambda: _compose_again(data, num_queries, "weighted-attributes"),
        "weighted-pseudo-q": lambda: _compose_again(data, num_queries, "weighted-pseudo-q"),
        "pseudo-q": lambda: _relabel_scenes(data, config, data.paths.scenes, "pseudo-q", PseudoQStage()),
        "plain-pseudo-q": lambda: _relabel_scenes(
            data, plain, _make_matching_scenes(data, plain, num_queries), "plain-pseudo-q", PseudoQStage()
        ),
        "varied": lambda: _vary_phrases(data, config, "varied"),
        "varied-balanced": lambda: _vary_phrases(data, config, "varied-balanced", BalanceStage),
        "real-images": lambda: _pack_real_images(data, reader, taken, len(scenes)),
    }
    for extra in extras:
        make[extra]()


def _pack_scenes(data: StudyData, scenes: SampleReader) -> None:
    render_priors(data, "scenes")
    prior = load_prior_config(data.paths.prior_config)
    queries = Queries(dataset="miniature", source="scenes", data=data.root / "data")
    ids = {row.key: row.prior_id for row in parse_queries(queries, prior, data.executor)}
    store = find_prior_store_path("miniature", data.root / "data")
    _pack(data, data.paths.scenes, _iterate_rows(scenes, range(len(scenes)), ids), store, "prompted")


def _vary_phrases(
    data: StudyData,
    config: augment.AugmentConfig,
    name: str,
    choose: type[SampleQueriesStage | BalanceStage] = SampleQueriesStage,
) -> None:
    """Label the prompted scenes again, in RefCOCO's measured style."""
    vocabulary, label = miniature.vocabulary(), LabelConfig(style=VARIED_STYLE, queries_per_relation_type=VARIED_FACTOR)
    stage = LabelStage(label, vocabulary.categories, vocabulary.nouns)
    labels = {"label": augment.build_label_fingerprint(label)}
    _relabel_scenes(data, config, data.paths.scenes, name, stage, choose, labels)


def _compose_again(
    data: StudyData, num_queries: Sequence[int], name: Literal["weighted-pseudo-q", "weighted-attributes"]
) -> None:
    """Label weighted scenes again, with the objects as pasted."""
    config, vocabulary = _make_weighted_config(data), miniature.vocabulary()
    run = _make_matching_scenes(data, config, num_queries)
    composer, _ = augment.make_pasted_stage(config, vocabulary)
    read = ComposeAgainStage(composer)
    if name == "weighted-pseudo-q":
        _relabel_scenes(data, config, run, name, PseudoQStage(), read=read)
        return
    label = LabelStage(
        config.label,
        vocabulary.categories,
        vocabulary.nouns,
        vocabulary.attributes,
        vocabulary.categories,
        keeps_scene=True,
    )
    query_ids = {query.query_id for sample in SampleReader(run) for query in sample.queries}
    choose = AddAttributesStage(query_ids, vocabulary.attributes)
    labels = {"label": augment.build_label_fingerprint(config.label)}
    _relabel_scenes(data, config, run, name, label, lambda max_queries: choose, labels, read)


def _relabel_scenes(
    data: StudyData,
    config: augment.AugmentConfig,
    run: UPath,
    name: str,
    label: PseudoQStage | LabelStage,
    choose: Callable[[Mapping[str, int]], Stage[Any, Any]] = SampleQueriesStage,
    labels: Mapping[str, Any] | None = None,
    read: ReadSceneStage | ComposeAgainStage | None = None,
) -> None:
    """Label the scenes of a run by another stage after detection by the same models, with as many queries each.

    ``read`` reads the images of the run, unless it composes them again.
    """
    scenes, requested = SampleReader(run), read_requests(get_dataset_paths(config.dataset, config.data).scene_rounds)
    rows = [
        PlanRow(key=entry.key, payload={"number": i, "spec": dict(item.payload), "seed": item.seed}, group="train")
        for i, entry in enumerate(scenes.index)
        for item in [requested[entry.key]]
    ]
    detection_stages = augment.build_detection_stages(config, miniature.vocabulary(), miniature.prior_config())
    max_queries = {entry.key: entry.num_queries for entry in scenes.index}
    stages = [read or ReadSceneStage(str(run)), *detection_stages, label, choose(max_queries)]
    models = {
        "detector": compute_fingerprint(config.detector.checkpoint),
        "encoder": compute_encoder_fingerprint(miniature.prior_config()),
    }
    sources = {"scenes": open_plan(run).plan_hash, "max_queries": max_queries, **models, **(labels or {})}
    _run_study_job(data, "scenes", rows, stages, data.root / "packed" / name, sources)


def _pack_real_images(data: StudyData, reader: SampleReader, taken: Collection[int], count: int) -> None:
    """Pack ``count`` images of the world that no other network trains on."""
    rest = (i for i, entry in enumerate(reader.index) if entry.split == "train" and i not in taken)
    numbers = list(islice(rest, count))
    if len(numbers) < count:
        raise UserError(f"the world has only {len(numbers)} further images for {count} scenes; raise EXPECTED_YIELD")
    ids, store = _find_prior_ids(data, reader, "own")
    _pack(data, data.paths.samples, _iterate_rows(reader, numbers, ids), store, "real-images")


def _make_scene_config(
    data: StudyData, dataset: str, attribute_sets: tuple[tuple[str, ...], ...]
) -> augment.AugmentConfig:
    """Return the configuration of prompted scenes as a separate dataset.

    Args:
        data: folders of the study.
        dataset: name of the dataset.
        attribute_sets: sets of attributes that a prompt may contain together.
    """
    vocabulary = data.root / f"vocabulary-{dataset}.json"
    write_atomic(vocabulary, json.dumps(asdict(replace(miniature.vocabulary(), attribute_sets=attribute_sets))))
    return augment.AugmentConfig(
        dataset=dataset,
        vocabulary=Path(str(vocabulary)),
        num_scenes=data.num_scenes,
        quotas=data.quotas,
        num_rejected_images=0,
        data=data.root / "data",
        executor=data.executor,
    )


def _make_pasted_config(data: StudyData) -> augment.AugmentConfig:
    root = Path(str(data.root))
    drawn = cutouts.MiniatureCutoutsConfig(cutouts=root / "cutouts", backgrounds=root / "backgrounds")
    cutouts.main(drawn)
    pasted = replace(miniature.pasted_config(), cutouts=drawn.cutouts, backgrounds=drawn.backgrounds)
    return replace(_make_scene_config(data, "pasted", PROMPT_ATTRIBUTES), composers=("pasted",), pasted=pasted)


def _make_weighted_config(data: StudyData) -> augment.AugmentConfig:
    quotas = replace(data.quotas, weights=WEIGHTS_BY_TYPE)
    return replace(_make_pasted_config(data), dataset="weighted", quotas=quotas)


def _make_matching_scenes(data: StudyData, config: augment.AugmentConfig, num_queries: Sequence[int]) -> UPath:
    """Make scenes and select as many of them as prompted scenes, with as many queries.

    Args:
        data: folders of the study.
        config: configuration of the scenes.
        num_queries: number of queries of each prompted scene.

    Returns:
        Folder of the selected scenes.
    """
    augment.make_scenes(config)
    made = SampleReader(get_dataset_paths(config.dataset, config.data).scenes)
    # Those with most queries give as many as the prompted ones with most, and so on.
    chosen = sorted(range(min(len(num_queries), len(made))), key=lambda i: made.index[i].num_queries)
    counts = sorted(num_queries)[-len(chosen) :]
    max_queries = {made.index[i].key: count for i, count in zip(chosen, counts, strict=True)}
    rows = [PlanRow(key=made.index[i].key, payload={"number": i}, group="train") for i in sorted(chosen)]
    stages: list[Stage[Any, Any]] = [ReadStage(str(made.run)), SampleQueriesStage(max_queries)]
    sources = {"scenes": open_plan(made.run).plan_hash, "max_queries": max_queries}
    packed = data.root / "packed" / config.dataset
    _run_study_job(data, "scenes", rows, stages, packed, sources)
    return packed


def _run_study_job(
    data: StudyData,
    name: str,
    rows: Sequence[PlanRow],
    stages: Sequence[Stage[Any, Any]],
    output: UPath,
    sources: Mapping[str, Any],
    sink: Sink[Any] | None = None,
) -> None:
    """Run a job over rows; ``sources`` are fingerprints of all else that decides its output, mostly samples."""
    fingerprint = {"rows": compute_rows_sha256(rows), **sources}
    job = Job(name=name, fingerprint=fingerprint, inputs=lambda: rows, stages=stages, sink=sink or SampleSink())
    run_job(job, output, data.executor)
