"""Study of queries without a target: which training queries teach a network to say that nothing answers to a query?

    python -m workflows.study.targets                # about an hour on two cores; to resume, run the same command
    python -m workflows.study.targets --report       # results of the finished networks
    python -m workflows.study.targets --smoke        # a smoke test in minutes; the results are meaningless

All variants train on the same images for the same number of steps; their queries differ:

- ``one target``: queries with one target; the highest verification score tells whether it is there;
- ``random negatives``: a presence head, and queries of other images, of a category that the image lacks;
- ``proved negatives``: in the generated scenes, queries that are proved absent take the place of these, one for one,
  and there are queries for several objects;
- ``proved negatives, three tokens``: the same queries, and a network that predicts up to three boxes.

All networks start from one that was trained on queries with one target, the shipped one.

The tests have such queries by rules of the world itself (``workflows.miniature.world.target_expressions``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Annotated, Any

import tyro
from upath import UPath

from augmentation.planning.quotas import QuotaConfig
from augmentation.queries.labeling import LabelConfig
from pipeline import (
    ExecutorConfig,
    Item,
    Job,
    LimitedConfig,
    MapStage,
    PlanRow,
    PositiveInt,
    compute_rows_sha256,
    open_plan,
    resolve_location,
    run_job,
)
from shards.reader import SampleReader
from shards.schema import Query, Sample
from shards.writer import SampleSink
from trainer.evaluate import read_predictions, read_set_predictions
from workflows import augment
from workflows.cli.console import Executor, UserError, console, run, save_results
from workflows.miniature.world import cutouts
from workflows.miniature.world.dataset import GREFS_FILE, WorldConfig
from workflows.presets import miniature
from workflows.study.sample_stages import select_queries
from workflows.study.target_figures import Answers, compute_figures, format_figures
from workflows.study.training import TrialRunner, choose_parallelism, train_all
from workflows.study.trials import TRIAL_FILE, Trial
from workflows.study.variants import Variant
from workflows.study.world import EVALUATED_SPLITS, SCENES_PER_QUOTA_QUERY, StudyFolders, ingest_world

NEGATIVES_PER_IMAGE = 2
"""Queries of other images that each real training image gets."""

MAX_SCENE_FRACTION = 0.5
"""Maximum fraction of scenes among the images of an epoch."""

_VALIDATE = ("--validate-split", "val", "--validate-every-epochs", "1000000")
"""Options for one validation at the end, which calibrates the confidences."""

_PRESENCE = (*_VALIDATE, "--network.presence")

VARIANTS = tuple(
    Variant(name=name, max_extra_fraction=MAX_SCENE_FRACTION, trainer_args=options)
    for name, options in {
        "one target": _VALIDATE,
        "random negatives": _PRESENCE,
        "proved negatives": _PRESENCE,
        "proved negatives, three tokens": (*_PRESENCE, "--network.num-target-tokens", "3"),
    }.items()
)
"""Variants; the name before a comma is that of the training queries."""


def get_queries(variant: Variant) -> str:
    """Return the name of a variant's training queries."""
    return variant.name.partition(",")[0]


@dataclass(frozen=True, kw_only=True)
class TargetStudyConfig(StudyFolders, LimitedConfig):
    """Sizes, seeds and folders of the study."""

    num_train: PositiveInt = 1200
    """Number of real training images, with about 3.5 queries each."""

    num_val: PositiveInt = 250
    """Number of images of val, which chooses the thresholds."""

    num_test: PositiveInt = 400
    """Number of images of each of testA and testB."""

    num_scenes: PositiveInt = 1500
    """Number of scenes to request."""

    steps: PositiveInt = 600
    """Steps of a training."""

    num_seeds: PositiveInt = 3
    """Trainings of each variant."""

    variants: tuple[str, ...] = tuple(variant.name for variant in VARIANTS)
    """Names of the variants to train."""

    num_parallel: PositiveInt | None = None
    """Networks to train at once; by default one per core, or one on an accelerator."""

    start: str = "miniature"
    """Network that all variants start from; see ``trainer.train``."""

    output: Path = Path("runs/study-targets")
    """Folder of the data, the networks and the results."""

    report: bool = False
    """Whether to report the finished networks only."""

    smoke: bool = False
    """Whether to run everything in its smallest size."""

    trainer_args: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train`` for all variants."""

    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [variant.name for variant in VARIANTS]
        if unknown := set(self.variants) - set(names):
            raise UserError(f"unknown variants {sorted(unknown)}; choose from {', '.join(names)}")

    @property
    def world(self) -> WorldConfig:
        return WorldConfig(
            output=Path(str(self.root)) / "refer",
            num_train=self.num_train,
            num_val=self.num_val,
            num_test=self.num_test,
            several_targets=True,
        )

    @property
    def trials(self) -> list[Trial]:
        """Return the trials seed by seed, so that an interrupted study has equally many seeds of all variants."""
        chosen = [variant for variant in VARIANTS if variant.name in self.variants]
        return [
            Trial(size=self.num_train, variant=variant, seed=seed)
            for seed in range(self.num_seeds)
            for variant in chosen
        ]

    def find_packed(self, source: str, variant: Variant) -> UPath:
        """Return the run of the real samples or scenes of a variant."""
        return self.root / "packed" / f"{source}-{get_queries(variant).replace(' ', '-')}"


def smoke(config: TargetStudyConfig) -> TargetStudyConfig:
    """Return the smallest study with all of its parts."""
    return replace(
        config,
        smoke=False,
        num_train=20,
        num_val=20,
        num_test=6,
        num_scenes=24,
        steps=2,
        num_seeds=1,
        output=config.output / "smoke",
    )


def main(config: TargetStudyConfig) -> None:
    """Make the data, train the missing networks, and report."""
    if config.smoke:
        config = smoke(config)
    num_parallel, num_threads = choose_parallelism(config.num_parallel)
    runner = TrialRunner(
        samples=lambda trial: config.find_packed("real", trial.variant),
        extra=lambda variant: config.find_packed("scenes", variant),
        crop_features=lambda variant: (),
        pretrained_visual=None,
        evaluated_splits=EVALUATED_SPLITS,
        output=config.output,
        steps=config.steps,
        trainer_args=("--start", config.start, *config.trainer_args),
        num_threads=num_threads,
    )
    if not config.report:
        prepare_data(config)
        train_all(runner, config.trials, num_parallel)
    finished = [trial for trial in config.trials if (trial.folder(config.output) / TRIAL_FILE).is_file()]
    if not finished:
        raise UserError(f"no network of the study in {config.output} is finished yet; run the command without --report")
    answers = dict[tuple[str, int], Answers]()
    for trial in finished:
        folder = trial.folder(config.output)
        if sets := read_set_predictions(folder):
            answers[trial.variant.name, trial.seed] = Answers(records=read_predictions(folder), sets=sets)
        else:
            console.print(f"left out: {trial}, whose scores do not tell that there is no target")
    settings = {name: getattr(config, name) for name in ("num_train", "num_val", "num_test", "num_scenes", "steps")}
    record = {
        "study": {**settings, "variants": [asdict(one) for one in VARIANTS if one.name in config.variants]},
        "networks": {"finished": len(finished), "all": len(config.trials)},
        "training_queries": count_training_queries(config),
        **compute_figures(answers, read_kinds(config.world)),
    }
    save_results(config.output, "results", record, format_figures(record))


def prepare_data(config: TargetStudyConfig) -> None:
    """Make the missing samples: the world, the scenes, and the queries of each variant.

    Raises:
        UserError: the folder has another world, or no scene can be used.
    """
    ingest_world(config.world, config.root, config.executor)
    folder = config.world.output
    drawn = cutouts.MiniatureCutoutsConfig(cutouts=folder / "cutouts", backgrounds=folder / "backgrounds")
    cutouts.main(drawn)
    augment.make_scenes(
        augment.AugmentConfig(
            composers=("pasted",),
            pasted=replace(miniature.pasted_config(), cutouts=drawn.cutouts, backgrounds=drawn.backgrounds),
            num_scenes=config.num_scenes,
            quotas=QuotaConfig(queries_per_quota=max(1, config.num_scenes // SCENES_PER_QUOTA_QUERY)),
            label=LabelConfig(targets=("one", "several", "none")),
            num_rejected_images=0,
            data=config.root / "data",
            executor=config.executor,
        )
    )
    for variant in {get_queries(one): one for one in reversed(VARIANTS)}.values():
        _pack(config, config.paths.samples, variant, is_scene=False)
        _pack(config, config.paths.scenes, variant, is_scene=True)


def _pack(config: TargetStudyConfig, run: UPath, variant: Variant, *, is_scene: bool) -> None:
    """Write the samples of a run with the queries of a variant."""
    reader = SampleReader(run)
    records = [reader.record(number) for number in range(len(reader))]
    rows = list(list_rows(records, get_queries(variant), is_scene=is_scene))
    job = Job(
        name="pack-samples",
        fingerprint={"rows": compute_rows_sha256(rows), "samples": open_plan(run).plan_hash},
        inputs=lambda: rows,
        stages=[ChooseQueriesStage(str(run))],
        sink=SampleSink(),
    )
    run_job(job, config.find_packed("scenes" if is_scene else "real", variant), config.executor)


def list_rows(records: Sequence[Mapping[str, Any]], variant: str, *, is_scene: bool) -> Iterator[PlanRow]:
    """Yield the plan of each sample with a query for one target; samples of val and the tests keep all their queries.

    Args:
        records: samples as JSON, of all splits.
        variant: name of the training queries.
        is_scene: whether they are generated scenes, with proved negatives and queries for several objects.
    """
    is_proved = is_scene and variant == "proved negatives"
    pool = [
        (record["instances"][query["instances"][0]]["category"], query["text"])
        for record in records
        for query in record["queries"]
        if query["split"] == "train" and len(query["instances"]) == 1
    ]
    for number, record in enumerate(records):
        queries, negatives = record["queries"], list[str]()
        kept = [i for i, query in enumerate(queries) if is_proved or len(query["boxes_xyxy"]) == 1]
        if all(len(queries[i]["boxes_xyxy"]) != 1 for i in kept):
            continue
        if (split := queries[0]["split"]) != "train":
            kept = list(range(len(queries)))
        elif variant != "one target" and not is_proved:
            num_proved = sum(not query["boxes_xyxy"] for query in queries)
            negatives = _draw_negatives(record, pool, num_proved if is_scene else NEGATIVES_PER_IMAGE)
        payload = {"number": number, "kept": kept, "negatives": negatives}
        yield PlanRow(key=record["key"], payload=payload, group=split)


def _draw_negatives(record: Mapping[str, Any], pool: Sequence[tuple[str, str]], count: int) -> list[str]:
    """Draw queries of other images, of categories that the image lacks."""
    random, categories = Random(f"negatives/{record['key']}"), {one["category"] for one in record["instances"]}
    drawn = list[str]()
    while len(drawn) < count:
        category, text = random.choice(pool)
        if category not in categories and text not in drawn:
            drawn.append(text)
    return drawn


class ChooseQueriesStage(MapStage[Item, Sample]):
    """Stage that reads samples by ``number``, with their queries ``kept``, and adds the texts of ``negatives``."""

    def __init__(self, samples: str) -> None:
        self._samples = samples

    def setup(self) -> None:
        self._reader = SampleReader(resolve_location(self._samples))

    def process_item(self, item: Item) -> Sample:
        sample = select_queries(self._reader.read(item.payload["number"]), item.payload["kept"])
        first = sample.queries[0]
        negatives = tuple(
            Query(
                query_id=f"{item.key}-negative-{i}",
                text=text,
                boxes_xyxy=(),
                split=first.split,
                source=first.source,
                instances=(),
            )
            for i, text in enumerate(item.payload["negatives"])
        )
        return replace(sample, queries=(*sample.queries, *negatives))


def read_kinds(world: WorldConfig) -> dict[str, str]:
    """Return the kind of each query of the world: ``one``, ``several``, or the word that is wrong."""
    refs = json.loads((world.output / "miniature" / GREFS_FILE).read_text())
    return {f"miniature-{number}": ref["kind"] for ref in refs for number in ref["sent_ids"]}


def count_training_queries(config: TargetStudyConfig) -> dict[str, dict[str, int]]:
    """Count the training images and queries of each variant, by their number of targets."""
    counts: dict[str, dict[str, int]] = {}
    for variant in VARIANTS:
        if variant.name not in config.variants:
            continue
        of_variant = counts[variant.name] = {"images": 0, "one": 0, "several": 0, "none": 0}
        for source in ("real", "scenes"):
            reader = SampleReader(config.find_packed(source, variant), "train")
            of_variant["images"] += len(reader)
            for number in range(len(reader)):
                for query in reader.record(number)["queries"]:
                    of_variant[("none", "one", "several")[min(len(query["boxes_xyxy"]), 2)]] += 1
    return counts


if __name__ == "__main__":
    run(main, TargetStudyConfig, __doc__)
