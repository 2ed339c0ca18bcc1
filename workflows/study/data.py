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
from generation.models.checkpoints import fingerprint
from generation.priors.config import encoder_fingerprint
from generation.priors.store import PriorSink
from pipeline.executor import ExecutorConfig
from pipeline.plan import open_plan
from pipeline.run import Job, PlanRow, run_job
from pipeline.stage import Rejected, Stage
from shards.reader import SampleReader
from shards.schema import Sample
from shards.writer import SampleSink
from workflows import augment, generate_priors, ingest
from workflows.cli.console import UserError
from workflows.cli.paths import DatasetFolders, folders, write_whole
from workflows.miniature.world import cutouts
from workflows.miniature.world.dataset import Combination, WorldConfig, write_dataset
from workflows.presets import miniature
from workflows.priors.config import load_prior_config, prior_store_of
from workflows.priors.join import JoinStage
from workflows.priors.query_parsing import Queries, parse
from workflows.study.arms import Arm, Extra, names_withheld
from workflows.study.oracle import OracleStage, combinations_of_queries, prior_name
from workflows.study.sample_stages import FewerStage, ReadStage, with_queries
from workflows.study.scenes import PseudoQStage, ReadSceneStage, asked_of_rounds
from workflows.study.trials import Cell

QUERIES_PER_PICTURE = 3.5
"""Of the world's training split; a little less than it has, so that pictures enough are drawn."""

EXPECTED_SHARE = 0.5
"""Of the scenes that are asked for, at most so many are trained on."""

SCENES_PER_QUERY_OF_CELL = 120

LOOKS_SAID = ((), ("colour",), ("pattern", "colour"))
"""Kinds of looks that prompts of the main arms' scenes say. The arm of plain prompts, which are the default since, came
after those."""

EVALUATED = ("val", "testA", "testB")


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
    visual_start: Path
    """Backbone that all networks start from."""

    executor: ExecutorConfig

    @property
    def place(self) -> DatasetFolders:
        return folders("miniature", self.root / "data")

    @property
    def quotas(self) -> QuotaConfig:
        """In proportion to the scenes, as a data set of the default size has them."""
        return QuotaConfig(queries_per_cell=max(1, self.num_scenes // SCENES_PER_QUERY_OF_CELL))

    @property
    def world(self) -> WorldConfig:
        """With pictures for the largest size, and further ones for as many as scenes can be expected."""
        num_train = round(max(self.sizes) / QUERIES_PER_PICTURE) + round(EXPECTED_SHARE * self.num_scenes)
        refer = Path(str(self.root)) / "refer"
        return WorldConfig(output=refer, num_train=num_train, num_val=self.num_val, num_test=self.num_test)

    @property
    def evaluated(self) -> Sequence[str]:
        return EVALUATED

    def samples(self, cell: Cell) -> UPath:
        return self.root / "packed" / f"{cell.size}-{cell.arm.packing}"

    def extra(self, arm: Arm) -> UPath | None:
        return None if arm.extra is None else self.root / "packed" / arm.extra

    def further(self, arms: Iterable[Arm]) -> dict[str, dict[str, int]]:
        """Pictures and queries of the further training data of these arms, by kind."""
        readers = {arm.extra: SampleReader(place) for arm in arms if arm.extra and (place := self.extra(arm))}
        return {kind: {"pictures": len(one), "queries": one.num_queries} for kind, one in readers.items()}

    def seconds(self) -> dict[str, float]:
        """What the stages of the priors and of the scenes took, all their processes together."""
        data = self.root / "data"
        places = {
            "priors": data / "priors",
            "prompted scenes": self.place.scene_rounds,
            "scenes of plain prompts": folders("plain", data).scene_rounds,
            "pasted scenes": folders("pasted", data).scene_rounds,
        }
        return {name: round(sum(map(_stage_seconds, place.rglob("report.json"))), 1) for name, place in places.items()}


def _stage_seconds(report: UPath) -> float:
    return float(sum(json.loads(report.read_text())["stage_seconds"].values()))


def prepare(data: StudyData, cells: Collection[Cell]) -> None:
    """Make what the networks need, or find it made."""
    _make_world(data)
    reader = SampleReader(data.place.samples)
    taken = set[int]()
    for packing in dict.fromkeys(cell.arm.packing for cell in cells):
        ids, store = _prior_ids(data, reader, packing.priors)
        for size in dict.fromkeys(cell.size for cell in cells if cell.arm.packing == packing):
            numbers = _first_pictures(reader, size, packing.withholds)
            taken.update(numbers)
            further = [WithholdStage()] if packing.withholds else []
            _pack(data, data.place.samples, _rows(reader, numbers, ids), store, f"{size}-{packing}", further)
    extras = dict.fromkeys(cell.arm.extra for cell in cells if cell.arm.extra)
    if extras:
        _make_extras(data, reader, extras, taken)


def _make_world(data: StudyData) -> None:
    """Pictures, samples and priors.

    Raises:
        UserError: the world that is there is another one.
    """
    drawn, wanted = data.root / "world.json", _decided(asdict(data.world))
    if not drawn.is_file():
        write_dataset(data.world)
        write_whole(drawn, json.dumps(wanted, indent=1))
    elif (there := _decided(json.loads(drawn.read_text()))) != wanted:
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


def _decided(world: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a world's pictures, as JSON values: not where they lie."""
    values: dict[str, Any] = json.loads(json.dumps({name: one for name, one in world.items() if name != "output"}))
    return values


def _generate_priors(data: StudyData, of: Any) -> None:
    generate_priors.main(generate_priors.GeneratePriorsConfig(of=of, data=data.root / "data", executor=data.executor))


def _first_pictures(reader: SampleReader, size: int, withholds: bool) -> list[int]:
    """Numbers of the first training pictures that have ``size`` queries together, and of all that are evaluated.

    Raises:
        UserError: there are not so many.
    """
    numbers, left = list[int](), size
    for number, entry in enumerate(reader.index):
        if entry.split in EVALUATED:
            numbers.append(number)
        elif left > 0:
            texts = [query["text"] for query in reader.record(number)["queries"]]
            if said := len(texts) - sum(withholds and names_withheld(text) for text in texts):
                numbers.append(number)
                left -= said
    if left > 0:
        raise UserError(
            f"the study's world has {size - left:,} training queries, {size:,} are wanted; use smaller --sizes"
        )
    return numbers


class WithholdStage(Stage[Sample, Sample]):
    """Takes the training queries out that say one of the withheld words, with their priors."""

    def process(self, items: list[Sample]) -> list[Sample | Rejected]:
        return [self._without(item) for item in items]

    def _without(self, sample: Sample) -> Sample:
        queries = enumerate(sample.queries)
        return with_queries(sample, [i for i, one in queries if one.split != "train" or not names_withheld(one.text)])


def _prior_ids(data: StudyData, reader: SampleReader, priors: str) -> tuple[dict[str, str], UPath]:
    """Query id to the id of its prior, and the store that it lies in."""
    if priors == "oracle":
        targets = combinations_of_queries(reader, data.world)
        return {query: prior_name(target) for query, target in targets.items()}, _oracle_store(data, targets)
    prior = load_prior_config(data.place.prior_config)
    rows = parse(Queries(dataset="miniature", data=data.root / "data"), prior, data.executor)
    ids = {row.key: row.prior_id for row in rows}
    store = prior_store_of("miniature", data.root / "data")
    return (_shuffled(reader, ids), store) if priors == "shuffled" else (ids, store)


def _shuffled(reader: SampleReader, ids: Mapping[str, str]) -> dict[str, str]:
    """Each query with another prior of its split than its own; every prior as often as before."""
    of_split: dict[str, list[str]] = {}
    for sample in reader:
        for query in sample.queries:
            of_split.setdefault(query.split, []).append(query.query_id)
    return {query: prior for queries in of_split.values() for query, prior in exchanged(queries, ids).items()}


def exchanged(queries: Sequence[str], ids: Mapping[str, str]) -> dict[str, str]:
    """Each query with the prior of another one, drawn at random; never its own, if none has more than half of them."""
    random, given = Random(f"exchanged/{len(queries)}"), [ids[query] for query in queries]
    random.shuffle(given)
    for i, query in enumerate(queries):
        own = ids[query]
        if given[i] == own:
            j = random.choice([j for j, other in enumerate(queries) if own not in (given[j], ids[other])])
            given[i], given[j] = given[j], own
    return dict(zip(queries, given, strict=True))


def _oracle_store(data: StudyData, targets: Mapping[str, Combination]) -> UPath:
    store, prior = data.root / "oracle-priors", miniature.prior_config()
    rows = [PlanRow(key=prior_name(one), payload={"combination": list(one)}) for one in sorted(set(targets.values()))]
    encoder = encoder_fingerprint(prior)
    _run(
        data, "priors", rows, [OracleStage(prior.encoder)], PriorSink({}, encoder), store / "run", {"encoder": encoder}
    )
    return store


def _rows(reader: SampleReader, numbers: Iterable[int], ids: Mapping[str, str]) -> Iterator[PlanRow]:
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
    made_of = {"samples": open_plan(samples).plan_hash, "encoder": encoder_fingerprint(miniature.prior_config())}
    _run(data, "pack-samples", list(rows), stages, SampleSink(), data.root / "packed" / name, made_of)


def _make_extras(data: StudyData, reader: SampleReader, extras: Iterable[Extra], taken: Collection[int]) -> None:
    """Further training data; the prompted scenes first, since the others are to be as many."""
    config, plain = _scene_config(data, "miniature", LOOKS_SAID), _scene_config(data, "plain", ((),))
    augment.make_scenes(config)
    scenes = SampleReader(data.place.scenes)
    num_queries = [entry.num_queries for entry in scenes.index]
    make: Mapping[Extra, Callable[[], object]] = {
        "prompted": lambda: _pack_scenes(data, scenes),
        "plain": lambda: _make_as_many(data, plain, num_queries),
        "pasted": lambda: _make_as_many(data, _pasted_config(data), num_queries),
        "pseudo-q": lambda: _ask_by_rules(data, config, data.place.scenes, "pseudo-q"),
        "plain-pseudo-q": lambda: _ask_by_rules(data, plain, _make_as_many(data, plain, num_queries), "plain-pseudo-q"),
        "photographs": lambda: _pack_photographs(data, reader, taken, len(scenes)),
    }
    for extra in extras:
        make[extra]()


def _pack_scenes(data: StudyData, scenes: SampleReader) -> None:
    _generate_priors(data, "scenes")
    prior = load_prior_config(data.place.prior_config)
    of = Queries(dataset="miniature", of="scenes", data=data.root / "data")
    ids = {row.key: row.prior_id for row in parse(of, prior, data.executor)}
    store = prior_store_of("miniature", data.root / "data")
    _pack(data, data.place.scenes, _rows(scenes, range(len(scenes)), ids), store, "prompted")


def _ask_by_rules(data: StudyData, config: augment.AugmentConfig, run: UPath, name: str) -> None:
    """The scenes of a run, looked at by the same models, with Pseudo-Q's queries, as many of each."""
    scenes, asked = SampleReader(run), asked_of_rounds(folders(config.dataset, config.data).scene_rounds)
    rows = [
        PlanRow(key=entry.key, payload={"number": i, "spec": dict(asked[entry.key])}, group="train")
        for i, entry in enumerate(scenes.index)
    ]
    looking = augment.looking_stages(config, miniature.vocabulary(), miniature.prior_config())
    most = {entry.key: entry.num_queries for entry in scenes.index}
    stages = [ReadSceneStage(str(run)), *looking, PseudoQStage(), FewerStage(most)]
    models = {
        "detector": fingerprint(config.detector.checkpoint),
        "encoder": encoder_fingerprint(miniature.prior_config()),
    }
    made_of = {"scenes": open_plan(run).plan_hash, "most": most, **models}
    _run(data, "scenes", rows, stages, SampleSink(), data.root / "packed" / name, made_of)


def _pack_photographs(data: StudyData, reader: SampleReader, taken: Collection[int], count: int) -> None:
    """So many pictures of the world that no network is trained on otherwise."""
    rest = (i for i, entry in enumerate(reader.index) if entry.split == "train" and i not in taken)
    numbers = list(islice(rest, count))
    if len(numbers) < count:
        raise UserError(f"the world has {len(numbers)} further pictures for {count} scenes; ask for more")
    ids, store = _prior_ids(data, reader, "own")
    _pack(data, data.place.samples, _rows(reader, numbers, ids), store, "photographs")


def _scene_config(data: StudyData, dataset: str, looks: tuple[tuple[str, ...], ...]) -> augment.AugmentConfig:
    """Of prompted scenes, as a data set of their own.

    Args:
        looks: kinds of them that a prompt may say together.
    """
    vocabulary = data.root / f"vocabulary-{dataset}.json"
    write_whole(vocabulary, json.dumps(replace(miniature.vocabulary(), attribute_sets=looks).to_json()))
    return augment.AugmentConfig(
        dataset=dataset,
        vocabulary=Path(str(vocabulary)),
        num_scenes=data.num_scenes,
        quotas=data.quotas,
        rejected_pictures=0,
        data=data.root / "data",
        executor=data.executor,
    )


def _pasted_config(data: StudyData) -> augment.AugmentConfig:
    root = Path(str(data.root))
    drawn = cutouts.MiniatureCutoutsConfig(cutouts=root / "cutouts", backgrounds=root / "backgrounds")
    cutouts.main(drawn)
    pasted = replace(miniature.pasted_config(), cutouts=drawn.cutouts, backgrounds=drawn.backgrounds)
    return replace(_scene_config(data, "pasted", LOOKS_SAID), composers=("pasted",), pasted=pasted)


def _make_as_many(data: StudyData, config: augment.AugmentConfig, num_queries: Sequence[int]) -> UPath:
    """Scenes, then as many of them as there are prompted ones, and as many queries.

    Args:
        num_queries: of each prompted scene.

    Returns:
        Where they lie.
    """
    augment.make_scenes(config)
    made = SampleReader(folders(config.dataset, config.data).scenes)
    # Those with most queries give as many as the prompted ones with most, and so on.
    chosen = sorted(range(min(len(num_queries), len(made))), key=lambda i: made.index[i].num_queries)
    wanted = sorted(num_queries)[-len(chosen) :]
    most = {made.index[i].key: count for i, count in zip(chosen, wanted, strict=True)}
    rows = [PlanRow(key=made.index[i].key, payload={"number": i}, group="train") for i in sorted(chosen)]
    stages: list[Stage[Any, Any]] = [ReadStage(str(made.run)), FewerStage(most)]
    made_of = {"scenes": open_plan(made.run).plan_hash, "most": most}
    packed = data.root / "packed" / config.dataset
    _run(data, "scenes", rows, stages, SampleSink(), packed, made_of)
    return packed


def _run(
    data: StudyData,
    name: str,
    rows: Sequence[PlanRow],
    stages: Sequence[Stage[Any, Any]],
    sink: Any,
    output: UPath,
    made_of: Mapping[str, Any],
) -> None:
    """One run.

    Args:
        made_of: what decides it beside the rows: its sources and models.
    """
    digest = hashlib.sha256(json.dumps([[row.key, row.payload] for row in rows], sort_keys=True).encode()).hexdigest()
    job = Job(
        name=name,
        fingerprint={"rows": digest, **made_of},
        inputs=lambda: iter(rows),
        items_per_shard=500,
        seed=0,
        stages=list(stages),
        sink=sink,
    )
    run_job(job, output, data.executor)
