"""Generate scenes with several objects of one category, verified queries for them, and the priors of the queries.

    make augment                                    # miniature world, rendered by its Stable Diffusion
    python -m workflows.miniature.world.cutouts && make augment ARGS="--composers prompted pasted"
    make augment ARGS="--dataset refcoco --num-scenes 20000"    # SD 1.5 and RT-DETR
    make augment ARGS="--dataset refcoco --num-scenes 20000 --composers pasted \\
        --pasted.cutouts cutouts --pasted.backgrounds train2014 --pasted.instances instances_train2014.json"
    make augment ARGS="--dataset refcoco --composers photographs --num-scenes 100000 --quotas.queries-per-quota 1000 \\
        --photographs.images train2014 --photographs.instances instances_train2014.json"

A detector reports the objects of each image, and a CLIP classifies their attributes. Queries are built from detections,
never from requests. Annotated photographs need neither model. Scenes are generated in rounds. The first round is spread
evenly. The next rounds request the missing queries of each quota (relation type, count, category), until the quotas are
reached or the budget is spent.
``<data>/<dataset>/scenes-rounds`` holds the yield, the times, and the reasons of rejected scenes.
The priors of the queries use the configuration of the dataset's priors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import tyro

from augmentation.composers.gligen_config import GligenConfig
from augmentation.composers.held_out import HeldOut
from augmentation.composers.pasted import PastedComposer, PastedConfig, check_pasted, compute_pasted_fingerprint
from augmentation.composers.photographs import LoadPhotographStage, PhotographsConfig, find_photographs
from augmentation.composers.prompted import PromptedComposer
from augmentation.detection.attribute_classifier import AttributeClassifierConfig, AttributeClassifierStage
from augmentation.detection.box_fitting import FitBoxesStage
from augmentation.detection.config import DetectorConfig
from augmentation.detection.ground_truth import GroundTruthStage
from augmentation.paraphrasing.config import ParaphraseConfig
from augmentation.paraphrasing.stage import ParaphraseStage
from augmentation.planning.quotas import QuotaConfig, Quotas, list_quota_keys
from augmentation.planning.scene_spec import Composer
from augmentation.planning.selection import SelectionConfig
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.queries.labeling import LabelConfig, LabelStage
from augmentation.queries.measured_style import MeasuredStyle
from augmentation.queries.photograph_labeling import LabelPhotographStage
from augmentation.queries.realizer import get_style
from augmentation.queries.templates import Style
from generation.models.checkpoints import compute_fingerprint
from generation.models.config import RenderConfig
from generation.priors.config import PriorConfig, compute_encoder_fingerprint
from pipeline import ExecutorConfig, NotNegativeInt, PositiveInt, Stage, compute_rows_sha256, write_atomic
from shards.sidecar import describe_images
from workflows import generate_priors
from workflows.cli.console import Executor, UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig, DatasetPaths
from workflows.presets import coco, full_size, miniature
from workflows.priors.config import load_prior_config
from workflows.reports.query_statistics import compare_with_validation, print_words
from workflows.scenes.held_out import find_held_out_images
from workflows.scenes.rejected import draw_rejected
from workflows.scenes.rounds import ComposerPipeline, RoundsConfig, make_rounds, write_selection
from workflows.scenes.yield_plots import plot_yield
from workflows.scenes.yield_report import build_yield_record, print_yield

STYLES: dict[str, Style] = {"refcoco+": "refcoco+", "refcocog": "refcocog"}
"""Style of phrases by dataset; other datasets have that of RefCOCO."""

DETECTOR = "PekingU/rtdetr_r50vd"
"""Hub id of the default detector; it knows COCO's categories."""

GLIGEN = "masterful/gligen-1-4-generation-text-box"
"""Hub id of the default GLIGEN; there is no miniature one."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(DatasetConfig):
    """Number and content of scenes, and the models that make and check them."""

    composers: tuple[Composer, ...] = ("prompted",)
    """Composers, which share the scenes evenly. ``prompted``: a text-to-image model renders a prompt with category and
    count. ``layout``: GLIGEN renders objects in boxes. ``pasted``: cut-outs are pasted onto images. ``photographs``:
    existing images become scenes, each once."""

    num_scenes: PositiveInt = 900
    """Maximum number of requested scenes and used photographs, at least 1. To add scenes, run the same command with a
    larger number."""

    vocabulary: Path | None = None
    """JSON file of categories, plurals, quantifiers and attributes. By default the miniature world's vocabulary, or
    COCO's 80 categories for other datasets."""

    quotas: QuotaConfig = field(default_factory=QuotaConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    render: RenderConfig = field(default_factory=miniature.render_config)
    negative_prompt: str = ""
    """Negative prompt of ``prompted`` and ``layout``."""

    layout: GligenConfig = field(default_factory=lambda: GligenConfig(checkpoint=GLIGEN))
    pasted: PastedConfig = field(default_factory=miniature.pasted_config)
    photographs: PhotographsConfig = field(default_factory=PhotographsConfig)
    skip_detector: bool = False
    """Flag to take pasted objects as detections, without detector and CLIP. For ``pasted`` alone, if no detector knows
    the categories."""

    detector: DetectorConfig = field(default_factory=miniature.detector_config)
    plain_background: bool = True
    """Flag that rendered images have one or two background colors: each box is then fitted to its object's outline, and
    scenes with unclear outlines are rejected. True for the miniature world, False for other datasets."""

    attributes: AttributeClassifierConfig = field(default_factory=AttributeClassifierConfig)
    """Thresholds of the attributes that the CLIP of the dataset's priors classifies."""

    label: LabelConfig = field(default_factory=LabelConfig)
    """Limits of usable scenes, and style of their queries; by default the dataset's style."""

    paraphrase: ParaphraseConfig = field(default_factory=ParaphraseConfig)
    """Language model that paraphrases the queries; by default none."""

    priors: bool = True
    """Flag to render the priors of the scenes' queries; ``generate-priors --source scenes`` also does."""

    num_rejected_images: NotNegativeInt = 12
    """Maximum number of rejected scenes on the sheet of each composer and reason; 0 writes no sheets."""

    seed: int = 0
    """Seed of all random choices."""

    scenes_per_shard: int = 128
    """Number of requested scenes of a shard, the unit of work."""

    num_gpus: float = 0.0
    """GPUs of each worker that renders or detects."""

    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.composers or len(set(self.composers)) < len(self.composers):
            raise ValueError(
                f"composers must name at least one, and each once, got {' '.join(self.composers) or 'none'}"
            )
        if "photographs" in self.composers and self.label.targets != ("one",):
            raise ValueError(
                "label.targets must be one with the composer photographs: their small objects are no instances, so "
                f"nothing is proved absent, got {' '.join(self.label.targets)}"
            )
        if self.skip_detector and set(self.composers) - {"photographs"} != {"pasted"}:
            raise ValueError(
                "skip_detector needs the composer pasted, and none that needs a detector, "
                f"got {' '.join(self.composers)}; use --composers pasted, or leave --skip-detector out"
            )


def make_default_config(arguments: list[str]) -> AugmentConfig:
    """Return the defaults for the dataset on the command line.

    The style is the dataset's. Datasets other than the miniature world get full-size models.
    """
    name = tyro.cli(DatasetConfig, args=arguments, return_unknown_args=True, add_help=False)[0].dataset
    config = AugmentConfig(dataset=name, label=LabelConfig(style=STYLES.get(name, "refcoco")))
    if name == "miniature":
        return config
    folder = Path("data") / name
    return replace(
        config,
        render=full_size.sd15().render,
        detector=DetectorConfig(checkpoint=DETECTOR),
        plain_background=False,
        pasted=PastedConfig(cutouts=folder / "cutouts", backgrounds=folder / "backgrounds"),
    )


def main(config: AugmentConfig) -> None:
    """Make the scenes, then the priors of their queries."""
    make_scenes(config)
    if not config.priors:
        return
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(
            dataset=config.dataset,
            source="scenes",
            prior=load_prior_config(config.paths.prior_config),
            data=config.data,
            num_gpus=config.num_gpus,
            executor=config.executor,
        )
    )


def make_scenes(config: AugmentConfig) -> None:
    """Make scenes until the quotas are reached or the budget is spent, report their yield, and select the dataset.

    Raises:
        UserError: no scene can be used.
    """
    paths = config.paths
    if not paths.samples.exists():
        console.print(
            f"the dataset {config.dataset} was not ingested: its own images cannot be excluded as test images, and the "
            "scenes' queries are not compared with its own"
        )
    rounds = make_rounds(_build_rounds_config(config, paths, load_prior_config(paths.prior_config)))
    record = build_yield_record(rounds)
    write_atomic(paths.scene_rounds / "yield.json", json.dumps(record, indent=1))
    if record["selection"]["kept_scenes"]:
        write_selection(rounds, paths.scenes)
    draw_rejected(rounds, paths.scene_rounds / "rejected", config.num_rejected_images)
    plot_yield(record, paths.scene_rounds)
    print_yield(record)
    print_path("yield and missing queries, as JSON and plots", paths.scene_rounds / "yield.json")
    if not record["selection"]["kept_scenes"]:
        raise UserError(
            f"none of the {record['scenes_requested']:,} requested scenes can be used; the table and the images in "
            f"{paths.scene_rounds / 'rejected'} show the reasons"
        )
    words = compare_with_validation(paths)
    write_atomic(paths.scene_rounds / "words.json", json.dumps(words, indent=1))
    print_words(words)
    print_path("the scenes", paths.scenes)


def _build_rounds_config(config: AugmentConfig, paths: DatasetPaths, prior: PriorConfig) -> RoundsConfig:
    """Build the configuration of all rounds; this checks everything before the first scene."""
    if config.vocabulary:
        vocabulary = VocabularyConfig.from_file(config.vocabulary)
    else:
        vocabulary = miniature.vocabulary() if config.dataset == "miniature" else coco.vocabulary()
    if config.paraphrase.model is not None:
        from augmentation.paraphrasing.language_model import check_language_model

        check_language_model(config.paraphrase)
    if _needs_detector(config):
        from augmentation.detection.detector import Detector

        Detector(replace(config.detector, device="cpu"), sorted(vocabulary.categories))  # the GPU is the workers'
    return RoundsConfig(
        root=paths.scene_rounds,
        pipelines=tuple(_build_pipelines(config, vocabulary, prior)),
        vocabulary=vocabulary,
        quotas=Quotas(
            replace(config.quotas, weights={**config.label.type_weights, **config.quotas.weights}),
            list_quota_keys(
                vocabulary,
                # Only the composer of pasted scenes knows what is on or in another object.
                [one for one in config.label.quota_types if one != "contact" or "pasted" in config.composers],
                has_single="photographs" in config.composers,
            ),
        ),
        selection=config.selection,
        num_scenes=config.num_scenes,
        seed=config.seed,
        split=config.label.split,
        scenes_per_shard=config.scenes_per_shard,
        executor=config.executor,
    )


def _needs_detector(config: AugmentConfig) -> bool:
    """Return whether a detector finds the objects of any scene; those of annotated photographs are known."""
    others = set(config.composers) - {"photographs"}
    return bool(others and not config.skip_detector) or (
        "photographs" in config.composers and config.photographs.needs_detector
    )


def _build_pipelines(
    config: AugmentConfig, vocabulary: VocabularyConfig, prior: PriorConfig
) -> Iterator[ComposerPipeline]:
    is_detected = config.composers != ("photographs",)
    detection_stages = build_detection_stages(config, vocabulary, prior) if is_detected else []
    label = LabelStage(
        config.label,
        vocabulary.categories,
        vocabulary.nouns,
        vocabulary.attributes,
        () if config.skip_detector else vocabulary.categories,
        keeps_scene=config.paraphrase.model is not None,
    )
    for composer in config.composers:
        if composer == "photographs":
            yield _build_photograph_pipeline(config, vocabulary)
            continue
        compose, compose_fingerprint = _make_compose_stage(config, composer, vocabulary)
        yield ComposerPipeline(
            composer=composer,
            stages=(compose, *detection_stages, label, *_make_paraphrase_stages(config, vocabulary)),
            fingerprint={
                **compose_fingerprint,
                **_build_detection_fingerprint(config, prior),
                "label": build_label_fingerprint(config.label),
                **_build_paraphrase_fingerprint(config.paraphrase),
            },
        )


def build_label_fingerprint(label: LabelConfig) -> dict[str, Any]:
    """Build the fingerprint of the labels; that of a measured style holds its numbers, since a file may change."""
    style = get_style(label.style)
    return {**asdict(label), **({"measured": asdict(style)} if isinstance(style, MeasuredStyle) else {})}


def _make_paraphrase_stages(config: AugmentConfig, vocabulary: VocabularyConfig) -> list[Stage[Any, Any]]:
    if config.paraphrase.model is None:
        return []
    realizer = config.label.make_realizer(vocabulary.categories, vocabulary.nouns)
    return [ParaphraseStage(config.paraphrase, realizer, num_gpus=config.num_gpus)]


def _build_paraphrase_fingerprint(paraphrase: ParaphraseConfig) -> dict[str, Any]:
    """Build the fingerprint of the paraphrases; empty without a language model."""
    if paraphrase.model is None:
        return {}
    checkpoint = compute_fingerprint(paraphrase.model, paraphrase.revision)
    return {"paraphrase": {**asdict(paraphrase), "model": checkpoint}}


def _build_photograph_pipeline(config: AugmentConfig, vocabulary: VocabularyConfig) -> ComposerPipeline:
    """Build the pipeline of photographs; it uses no image of a validation or test split."""
    photographs, held_out = config.photographs, find_held_out_images(config.data)
    samples = config.paths.samples
    if photographs.images is None:
        config.check_exists(samples, "ingest")
    pool = find_photographs(photographs, samples, held_out)
    excluded = ", ".join(f"{count:,} {reason}" for reason, count in sorted(pool.excluded.items())) or "none"
    console.print(f"{len(pool.rows):,} photographs; excluded: {excluded}")
    stages: list[Stage[Any, Any]] = [LoadPhotographStage(photographs.images, samples, held_out)]
    fingerprint: dict[str, Any] = {
        "photographs": compute_rows_sha256(pool.rows),
        "label": build_label_fingerprint(config.label),
        **_build_paraphrase_fingerprint(config.paraphrase),
    }
    limits = {name: value for name, value in asdict(photographs).items() if name not in ("images", "instances")}
    fingerprint["limits"] = limits
    if photographs.needs_detector:
        from augmentation.detection.photographs import DetectPhotographStage

        stages.append(DetectPhotographStage(config.detector, sorted(vocabulary.categories), num_gpus=config.num_gpus))
        checkpoint = compute_fingerprint(config.detector.checkpoint)
        fingerprint["detector"] = {**asdict(config.detector), "checkpoint": checkpoint}
    stages += [
        LabelPhotographStage(
            photographs,
            config.label,
            vocabulary.categories,
            config.seed,
            vocabulary.nouns,
            keeps_scene=config.paraphrase.model is not None,
        ),
        *_make_paraphrase_stages(config, vocabulary),
    ]
    rows = Random(config.seed).sample(pool.rows, len(pool.rows))
    return ComposerPipeline(
        composer="photographs",
        stages=tuple(stages),
        fingerprint=fingerprint,
        photographs=tuple(rows),
        images={} if photographs.images else describe_images(samples),
    )


def _make_compose_stage(
    config: AugmentConfig, composer: Composer, vocabulary: VocabularyConfig
) -> tuple[Stage[Any, Any], dict[str, Any]]:
    """Make a composer's stage and the fingerprint of what decides its images."""
    if composer == "pasted":
        return make_pasted_stage(config, vocabulary)
    model_config = config.layout if composer == "layout" else config.render
    settings = {**asdict(model_config), "checkpoint": compute_fingerprint(model_config.checkpoint)}
    options: dict[str, Any] = {"negative_prompt": config.negative_prompt, "num_gpus": config.num_gpus}
    fingerprint = {"rendered_by": settings, "negative_prompt": config.negative_prompt}
    if composer == "prompted":
        return PromptedComposer(config.render, **options), fingerprint
    from augmentation.composers.gligen import LayoutComposer

    return LayoutComposer(config.layout, **options), fingerprint


def make_pasted_stage(config: AugmentConfig, vocabulary: VocabularyConfig) -> tuple[PastedComposer, dict[str, Any]]:
    """Make the pasted composer's stage and fingerprint; it uses no image of a validation or test split."""
    held_out: HeldOut = find_held_out_images(config.data)
    inputs = check_pasted(config.pasted, vocabulary, held_out)
    excluded = ", ".join(f"{count:,} {reason}" for reason, count in sorted(inputs.excluded.items())) or "none"
    console.print(
        f"{sum(inputs.cutouts.values()):,} cut-outs of {len(inputs.cutouts):,} categories, "
        f"{inputs.backgrounds:,} backgrounds; excluded: {excluded}"
    )
    if names := inputs.unannotated:
        more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
        source = config.pasted.instances or "no instances file (--pasted.instances)"
        console.print(
            f"assumed absent from every background, by {source}: {', '.join(names[:10])}{more}; "
            "if a background holds such objects, queries are false"
        )
    return PastedComposer(config.pasted, held_out), {"pasted": compute_pasted_fingerprint(config.pasted, held_out)}


def build_detection_stages(
    config: AugmentConfig, vocabulary: VocabularyConfig, prior: PriorConfig
) -> list[Stage[Any, Any]]:
    """Build the stages that detect objects, fit their boxes and classify their attributes."""
    if config.skip_detector:
        return [GroundTruthStage(vocabulary, optional_attributes=config.attributes.optional_attributes)]
    from augmentation.detection.detector import DetectStage

    return [
        DetectStage(
            config.detector,
            vocabulary,
            optional_attributes=config.attributes.optional_attributes,
            min_requested_iou=config.label.scene_filter.min_requested_iou,
            num_gpus=config.num_gpus,
        ),
        FitBoxesStage(plain_background=config.plain_background),
        AttributeClassifierStage(config.attributes, prior.encoder, vocabulary, num_gpus=config.num_gpus),
    ]


def _build_detection_fingerprint(config: AugmentConfig, prior: PriorConfig) -> dict[str, Any]:
    if config.skip_detector:
        return {"skip_detector": list(config.attributes.optional_attributes)}
    return {
        "plain_background": config.plain_background,
        "detector": {**asdict(config.detector), "checkpoint": compute_fingerprint(config.detector.checkpoint)},
        "attributes": {**asdict(config.attributes), "encoder": compute_encoder_fingerprint(prior)},
    }


if __name__ == "__main__":
    run(main, AugmentConfig, __doc__, make_default_config)
