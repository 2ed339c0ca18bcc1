"""The study's data: one world cut to several sizes, further training data of several kinds, priors of several kinds.

Everything is a run of its own that is finished or goes on, below ``<root>``:

    data/miniature/...        the world, its priors, and scenes of which two prompts in three say looks
    data/plain/...            scenes whose prompts say none, as the demo's
    data/pasted/...           pasted scenes
    packed/<size>-<packing>   real samples of a size: own, shuffled or oracle priors, with or without all words
    packed/<extra>            further training data
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from upath import UPath

from augmentation.planning.quotas import QuotaConfig
from generation.models.checkpoints import compute_fingerprint
from generation.priors.config import compute_encoder_fingerprint
from generation.priors.store import PriorSink
from pipeline import ExecutorConfig, Job, PlanRow, Rejected, Stage, open_plan, run_job, write_atomic
from shards.reader import SampleReader
from shards.schema import Sample
from shards.writer import SampleSink
from workflows import augment, generate_priors, ingest
from workflows.cli.console import UserError
from workflows.cli.paths import DatasetPaths, get_dataset_paths
from workflows.miniature.world import cutouts
from workflows.miniature.world.dataset import Combination, WorldConfig, write_dataset
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path, load_prior_config
from workflows.priors.join import JoinStage
from workflows.priors.query_parsing import Queries, parse_queries
from workflows.study.arms import ExtraData, Variant, has_held_out_color
from workflows.study.oracle import OracleStage, find_query_combinations, format_oracle_id
from workflows.study.sample_stages import ReadStage, SampleQueriesStage, select_queries
from workflows.study.scenes import PseudoQStage, ReadSceneStage, read_requests
from workflows.study.trials import Trial

QUERIES_PER_IMAGE = 3.5
"""Of the world's training split; a little less than it has, so that images enough are drawn."""

EXPECTED_YIELD = 0.5
"""Of the scenes that are asked for, at most so many are trained on."""

SCENES_PER_QUOTA_QUERY = 120

PROMPT_ATTRIBUTES = ((), ("color",), ("pattern", "color"))
"""Kinds of looks that prompts of the main arms' scenes say. The arm of plain prompts, which are the default since, came
after those."""

EVALUATED_SPLITS = ("val", "testA", "testB")


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """Where everything lies, and how much of it there is."""

    root: UPath
    sizes: tuple[int, ...]
    """Training queries."""

    num_scenes: int
    """Scenes to ask for."""

    num_val: int
    num_test: int
    pretrained_visual: Path
    """Backbone that all networks start from."""

    executor: ExecutorConfig

    @property
    def paths(self) -> DatasetPaths:
        return get_dataset_paths("miniature", self.root / "data")

    @property
    def quotas(self) -> QuotaConfig:
        """In proportion to the scenes, as a data set of the default size has them."""
        return QuotaConfig(queries_per_quota=max(1, self.num_scenes // SCENES_PER_QUOTA_QUERY))

    @property
    def world(self) -> WorldConfig:
        """With images for the largest size, and further ones for as many as scenes can be expected."""
        num_train = round(max(self.sizes) / QUERIES_PER_IMAGE) + round(EXPECTED_YIELD * self.num_scenes)
        refer = Path(str(self.root)) / "refer"
        return WorldConfig(output=refer, num_train=num_train, num_val=self.num_val, num_test=self.num_test)

    @property
    def evaluated_splits(self) -> Sequence[str]:
        return EVALUATED_SPLITS

    def samples(self, trial: Trial) -> UPath:
        return self.root / "packed" / f"{trial.size}-{trial.variant.training_set}"

    def extra(self, variant: Variant) -> UPath | None:
        return None if variant.extra is None else self.root / "packed" / variant.extra

    def further(self, variants: Iterable[Variant]) -> dict[str, dict[str, int]]:
        """Images and queries of the further training data of these arms, by kind."""
        readers = {
            variant.extra: SampleReader(paths)
            for variant in variants
            if variant.extra and (paths := self.extra(variant))
        }
        return {kind: {"images": len(one), "queries": one.num_queries} for kind, one in readers.items()}

    def sum_stage_seconds(self) -> dict[str, float]:
        """What the stages of the priors and of the scenes took, all their processes together."""
        data = self.root / "data"
        places = {
            "priors": data / "priors",
            "prompted scenes": self.paths.scene_rounds,
            "scenes of plain prompts": get_dataset_paths("plain", data).scene_rounds,
            "pasted scenes": get_dataset_paths("pasted", data).scene_rounds,
        }
        return {
            name: round(sum(map(_read_stage_seconds, paths.rglob("report.json"))), 1) for name, paths in places.items()
        }


def _read_stage_seconds(report: UPath) -> float:
    return float(sum(json.loads(report.read_text())["stage_seconds"].values()))


def prepare_data(data: StudyData, trials: Collection[Trial]) -> None:
    """Make what the networks need, or find it made."""
    _make_world(data)
    reader = SampleReader(data.paths.samples)
    taken = set[int]()
    for training_set in dict.fromkeys(trial.variant.training_set for trial in trials):
        ids, store = _find_prior_ids(data, reader, training_set.priors)
        for size in dict.fromkeys(trial.size for trial in trials if trial.variant.training_set == training_set):
            numbers = _select_images(reader, size, training_set.holds_out_colors)
            taken.update(numbers)
            further = [HoldOutColorsStage()] if training_set.holds_out_colors else []
            _pack(
                data, data.paths.samples, _iterate_rows(reader, numbers, ids), store, f"{size}-{training_set}", further
            )
    extras = dict.fromkeys(trial.variant.extra for trial in trials if trial.variant.extra)
    if extras:
        _make_extras(data, reader, extras, taken)


def _make_world(data: StudyData) -> None:
    """Images, samples and priors.

    Raises:
        UserError: the world that is there is another one.
    """
    drawn, wanted = data.root / "world.json", _get_world_settings(asdict(data.world))
    if not drawn.is_file():
        write_dataset(data.world)
        write_atomic(drawn, json.dumps(wanted, indent=1))
    elif (there := _get_world_settings(json.loads(drawn.read_text()))) != wanted:
        raise UserError(
            f"{data.root} holds the data of another study ({there}, wanted is {wanted}); sizes, scenes, val and test "
            "cannot change there: choose another --output"
        )
    config = ingest.IngestConfig(
        annotations=UPath(data.world.output / "miniature"),
        images=UPath(data.world.output / "images"),
        data=data.root / "data",
        executor=data.executor,
    )
    ingest.main(config)
    _generate_priors(data, "samples")


def _get_world_settings(world: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a world's images, as JSON values: not where they lie."""
    values: dict[str, Any] = json.loads(json.dumps({name: one for name, one in world.items() if name != "output"}))
    return values


def _generate_priors(data: StudyData, source: Any) -> None:
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(source=source, data=data.root / "data", executor=data.executor)
    )


def _select_images(reader: SampleReader, size: int, holds_out_colors: bool) -> list[int]:
    """Numbers of the first training images that have ``size`` queries together, and of all that are evaluated.

    Raises:
        UserError: there are not so many.
    """
    numbers, left = list[int](), size
    for number, entry in enumerate(reader.index):
        if entry.split in EVALUATED_SPLITS:
            numbers.append(number)
        elif left > 0:
            texts = [query["text"] for query in reader.record(number)["queries"]]
            if num_kept := len(texts) - sum(holds_out_colors and has_held_out_color(text) for text in texts):
                numbers.append(number)
                left -= num_kept
    if left > 0:
        raise UserError(
            f"the study's world has {size - left:,} training queries, {size:,} are wanted; use smaller --sizes"
        )
    return numbers


class HoldOutColorsStage(Stage[Sample, Sample]):
    """Takes the training queries out that say one of the withheld words, with their priors."""

    def process(self, items: list[Sample]) -> list[Sample | Rejected]:
        return [self._drop_held_out(item) for item in items]

    def _drop_held_out(self, sample: Sample) -> Sample:
        queries = enumerate(sample.queries)
        return select_queries(
            sample, [i for i, one in queries if one.split != "train" or not has_held_out_color(one.text)]
        )


def _find_prior_ids(data: StudyData, reader: SampleReader, priors: str) -> tuple[dict[str, str], UPath]:
    """Query id to the id of its prior, and the store that it lies in."""
    if priors == "oracle":
        targets = find_query_combinations(reader, data.world)
        return {query: format_oracle_id(target) for query, target in targets.items()}, _make_oracle_store(data, targets)
    prior = load_prior_config(data.paths.prior_config)
    rows = parse_queries(Queries(dataset="miniature", data=data.root / "data"), prior, data.executor)
    ids = {row.key: row.prior_id for row in rows}
    store = find_prior_store_path("miniature", data.root / "data")
    return (_shuffle_within_splits(reader, ids), store) if priors == "shuffled" else (ids, store)


def _shuffle_within_splits(reader: SampleReader, ids: Mapping[str, str]) -> dict[str, str]:
    """Each query with another prior of its split than its own; every prior as often as before."""
    of_split: dict[str, list[str]] = {}
    for sample in reader:
        for query in sample.queries:
            of_split.setdefault(query.split, []).append(query.query_id)
    return {query: prior for queries in of_split.values() for query, prior in shuffle_priors(queries, ids).items()}


def shuffle_priors(queries: Sequence[str], ids: Mapping[str, str]) -> dict[str, str]:
    """Each query with the prior of another one, drawn at random; never its own, if none has more than half of them."""
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
    _run_study_job(
        data, "priors", rows, [OracleStage(prior.encoder)], PriorSink({}, encoder), store / "run", {"encoder": encoder}
    )
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
    """Samples joined with their priors, through further stages."""
    stages = [JoinStage(samples, store), *further]
    sources = {
        "samples": open_plan(samples).plan_hash,
        "encoder": compute_encoder_fingerprint(miniature.prior_config()),
    }
    _run_study_job(data, "pack-samples", list(rows), stages, SampleSink(), data.root / "packed" / name, sources)


def _make_extras(data: StudyData, reader: SampleReader, extras: Iterable[ExtraData], taken: Collection[int]) -> None:
    """Further training data; the prompted scenes first, since the others are to be as many."""
    config, plain = _make_scene_config(data, "miniature", PROMPT_ATTRIBUTES), _make_scene_config(data, "plain", ((),))
    augment.make_scenes(config)
    scenes = SampleReader(data.paths.scenes)
    num_queries = [entry.num_queries for entry in scenes.index]
    make: Mapping[ExtraData, Callable[[], object]] = {
        "prompted": lambda: _pack_scenes(data, scenes),
        "plain": lambda: _make_matching_scenes(data, plain, num_queries),
        "pasted": lambda: _make_matching_scenes(data, _make_pasted_config(data), num_queries),
        "pseudo-q": lambda: _pack_pseudo_q_scenes(data, config, data.paths.scenes, "pseudo-q"),
        "plain-pseudo-q": lambda: _pack_pseudo_q_scenes(
            data, plain, _make_matching_scenes(data, plain, num_queries), "plain-pseudo-q"
        ),
        "real-images": lambda: _pack_real_images(data, reader, taken, len(scenes)),
    }
    for extra in extras:
        make[extra]()


def _pack_scenes(data: StudyData, scenes: SampleReader) -> None:
    _generate_priors(data, "scenes")
    prior = load_prior_config(data.paths.prior_config)
    queries = Queries(dataset="miniature", source="scenes", data=data.root / "data")
    ids = {row.key: row.prior_id for row in parse_queries(queries, prior, data.executor)}
    store = find_prior_store_path("miniature", data.root / "data")
    _pack(data, data.paths.scenes, _iterate_rows(scenes, range(len(scenes)), ids), store, "prompted")


def _pack_pseudo_q_scenes(data: StudyData, config: augment.AugmentConfig, run: UPath, name: str) -> None:
    """The scenes of a run, looked at by the same models, with Pseudo-Q's queries, as many of each."""
    scenes, requested = SampleReader(run), read_requests(get_dataset_paths(config.dataset, config.data).scene_rounds)
    rows = [
        PlanRow(key=entry.key, payload={"number": i, "spec": dict(requested[entry.key])}, group="train")
        for i, entry in enumerate(scenes.index)
    ]
    detection_stages = augment.build_detection_stages(config, miniature.vocabulary(), miniature.prior_config())
    max_queries = {entry.key: entry.num_queries for entry in scenes.index}
    stages = [ReadSceneStage(str(run)), *detection_stages, PseudoQStage(), SampleQueriesStage(max_queries)]
    models = {
        "detector": compute_fingerprint(config.detector.checkpoint),
        "encoder": compute_encoder_fingerprint(miniature.prior_config()),
    }
    sources = {"scenes": open_plan(run).plan_hash, "max_queries": max_queries, **models}
    _run_study_job(data, "scenes", rows, stages, SampleSink(), data.root / "packed" / name, sources)


def _pack_real_images(data: StudyData, reader: SampleReader, taken: Collection[int], count: int) -> None:
    """So many images of the world that no network is trained on otherwise."""
    rest = (i for i, entry in enumerate(reader.index) if entry.split == "train" and i not in taken)
    numbers = list(islice(rest, count))
    if len(numbers) < count:
        raise UserError(f"the world has {len(numbers)} further images for {count} scenes; ask for more")
    ids, store = _find_prior_ids(data, reader, "own")
    _pack(data, data.paths.samples, _iterate_rows(reader, numbers, ids), store, "real-images")


def _make_scene_config(
    data: StudyData, dataset: str, attribute_sets: tuple[tuple[str, ...], ...]
) -> augment.AugmentConfig:
    """Of prompted scenes, as a data set of their own.

    Args:
        looks: kinds of them that a prompt may say together.
    """
    vocabulary = data.root / f"vocabulary-{dataset}.json"
    write_atomic(vocabulary, json.dumps(replace(miniature.vocabulary(), attribute_sets=attribute_sets).to_json()))
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


def _make_matching_scenes(data: StudyData, config: augment.AugmentConfig, num_queries: Sequence[int]) -> UPath:
    """Scenes, then as many of them as there are prompted ones, and as many queries.

    Args:
        num_queries: of each prompted scene.

    Returns:
        Where they lie.
    """
    augment.make_scenes(config)
    made = SampleReader(get_dataset_paths(config.dataset, config.data).scenes)
    # Those with most queries give as many as the prompted ones with most, and so on.
    chosen = sorted(range(min(len(num_queries), len(made))), key=lambda i: made.index[i].num_queries)
    wanted = sorted(num_queries)[-len(chosen) :]
    max_queries = {made.index[i].key: count for i, count in zip(chosen, wanted, strict=True)}
    rows = [PlanRow(key=made.index[i].key, payload={"number": i}, group="train") for i in sorted(chosen)]
    stages: list[Stage[Any, Any]] = [ReadStage(str(made.run)), SampleQueriesStage(max_queries)]
    sources = {"scenes": open_plan(made.run).plan_hash, "max_queries": max_queries}
    get_packed_run = data.root / "packed" / config.dataset
    _run_study_job(data, "scenes", rows, stages, SampleSink(), get_packed_run, sources)
    return get_packed_run


def _run_study_job(
    data: StudyData,
    name: str,
    rows: Sequence[PlanRow],
    stages: Sequence[Stage[Any, Any]],
    sink: Any,
    output: UPath,
    sources: Mapping[str, Any],
) -> None:
    """One run.

    Args:
        made_of: what decides it beside the rows: its sources and models.
    """
    digest = hashlib.sha256(json.dumps([[row.key, row.payload] for row in rows], sort_keys=True).encode()).hexdigest()
    job = Job(
        name=name,
        fingerprint={"rows": digest, **sources},
        inputs=lambda: iter(rows),
        items_per_shard=500,
        seed=0,
        stages=list(stages),
        sink=sink,
    )
    run_job(job, output, data.executor)
