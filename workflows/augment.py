"""Generated scenes with several things of one category, queries that are proved to mean one of them, and their priors.

    make augment                                    # scenes of the miniature world, drawn by its Stable Diffusion
    python -m workflows.miniature.world.cutouts && make augment ARGS="--composers prompted pasted"
    make augment ARGS="--dataset refcoco --num-scenes 20000"    # SD 1.5 and RT-DETR
    make augment ARGS="--dataset refcoco --num-scenes 20000 --composers pasted \\
        --pasted.cutouts cutouts --pasted.backgrounds train2014 --pasted.instances instances_train2014.json"

A detector decides what is in each picture and a CLIP what it looks like; every query is built from what was found,
never from what was asked. Scenes are asked for in rounds: the first is spread evenly, the next ones ask for what is
missing of the quotas of relation families, numbers of things and categories, until these are reached or the budget is
spent. What it all cost and brought, and why scenes were rejected, is in ``<data>/<dataset>/scenes-rounds``.
The priors of the queries are made as those of the data set were.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from upath import UPath

from augmentation.composers.gligen import GligenConfig, LayoutComposer
from augmentation.composers.held_out import HeldOut
from augmentation.composers.pasted import PastedComposer, PastedConfig, check_pasted, pasted_fingerprint
from augmentation.composers.prompted import PromptedComposer
from augmentation.detection.attribute_classifier import VerifyConfig, VerifyStage
from augmentation.detection.detector import Detector, DetectorConfig, DetectStage
from augmentation.detection.ground_truth import ExactStage
from augmentation.planning.quotas import QuotaConfig, Quotas, cells_of
from augmentation.planning.selection import SelectionConfig
from augmentation.planning.vocabulary import Composer, VocabularyConfig
from augmentation.queries.labeling import LabelConfig, LabelStage
from augmentation.queries.realizer import families_of
from augmentation.queries.templates import Style
from generation.models.checkpoints import fingerprint
from generation.models.text_to_image import RenderConfig
from generation.priors.config import PriorConfig, encoder_fingerprint
from pipeline.executor import ExecutorConfig
from pipeline.stage import Stage
from workflows import generate_priors
from workflows.cli.console import Executor, UserError, console, lies_in, run
from workflows.cli.paths import DATA, DatasetFolders, folders, write_whole
from workflows.presets import coco, full_size, miniature
from workflows.priors.config import load_prior_config
from workflows.reports.query_statistics import beside_validation, print_words
from workflows.scenes.held_out import held_out_photographs
from workflows.scenes.rejected import draw_rejected
from workflows.scenes.rounds import Recipe, RoundsConfig, make_rounds, write_selection
from workflows.scenes.yield_plots import draw_yield
from workflows.scenes.yield_report import print_yield, yield_record

STYLES: dict[str, Style] = {"refcoco+": "refcoco+", "refcocog": "refcocog"}
"""Of the data sets whose phrases are not as RefCOCO's."""

DETECTOR = "PekingU/rtdetr_r50vd"
"""On the hub; knows COCO's categories."""

GLIGEN = "masterful/gligen-1-4-generation-text-box"
"""On the hub; there is no miniature one."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How many scenes of what, and what makes and checks them."""

    dataset: str = "miniature"
    """Data set that the scenes are for; they go to ``<data>/<dataset>/scenes``."""

    composers: tuple[Composer, ...] = ("prompted",)
    """``prompted``: a text-to-image model draws so many of a thing. ``layout``: GLIGEN draws things in boxes.
    ``pasted``: cut-outs are put onto photographs. Several share the scenes."""

    num_scenes: int = 900
    """Scenes to ask for, at most; those of which nothing can be proved are rejected with their reason. The same
    command with more goes on."""

    vocabulary: Path | None = None
    """JSON file of categories, plurals, quantifiers and attributes; where not given the miniature world's, or for other
    data sets COCO's 80 categories."""

    quotas: QuotaConfig = field(default_factory=QuotaConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    render: RenderConfig = field(default_factory=miniature.render_config)
    negative_prompt: str = ""
    """Of ``prompted`` and ``layout``."""

    layout: GligenConfig = field(default_factory=lambda: GligenConfig(checkpoint=GLIGEN))
    pasted: PastedConfig = field(default_factory=miniature.pasted_config)
    exact: bool = False
    """Take what was pasted as found, without detector and CLIP: for ``pasted`` alone, where no detector knows the
    categories."""

    detector: DetectorConfig = field(default_factory=miniature.detector_config)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    """When the CLIP that encodes the data set's priors is believed about colours and patterns."""

    label: LabelConfig = field(default_factory=LabelConfig)
    """Its style is by default that of the data set: of RefCOCO+ and RefCOCOg their own, else RefCOCO's."""

    rejected_pictures: int = 12
    """Scenes on the sheet of each composer and reason for which scenes were rejected; 0: no sheets."""

    seed: int = 0
    data: UPath = DATA
    scenes_per_shard: int = 128
    num_gpus: float = 0.0
    """GPUs of each worker that draws or detects."""

    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        if self.num_scenes < 1:
            raise ValueError(f"num_scenes must be at least 1, got {self.num_scenes}; it is the budget of scenes")
        if not self.composers or len(set(self.composers)) < len(self.composers):
            raise ValueError(f"name at least one composer, and each once, got {' '.join(self.composers) or 'none'}")
        if self.exact and self.composers != ("pasted",):
            raise ValueError(
                f"only what was pasted is known without a detector, got the composers {' '.join(self.composers)}; "
                "use --composers pasted, or leave --exact out"
            )
        if self.rejected_pictures < 0:
            raise ValueError(f"rejected_pictures must be at least 0, got {self.rejected_pictures}")


def for_dataset(arguments: list[str]) -> AugmentConfig:
    """The defaults, with the style of the data set that a command line names, and for others than the miniature world
    full-size models and what ``pasted`` does to blend things in."""
    # Without abbreviations: --data is another option.
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--dataset", default="miniature")
    try:
        name = parser.parse_known_args(arguments)[0].dataset
    except argparse.ArgumentError:
        name = "miniature"  # the parser of all options says what is wrong
    config = AugmentConfig(dataset=name, label=LabelConfig(style=STYLES.get(name, "refcoco")))
    if name == "miniature":
        return config
    folder = Path("data") / name
    return replace(
        config,
        render=full_size.sd15().render,
        detector=DetectorConfig(checkpoint=DETECTOR),
        pasted=PastedConfig(cutouts=folder / "cutouts", backgrounds=folder / "backgrounds"),
    )


def main(config: AugmentConfig) -> None:
    """Make the scenes, then the priors of their queries."""
    make_scenes(config)
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(
            dataset=config.dataset,
            of="scenes",
            prior=load_prior_config(folders(config.dataset, config.data).prior_config),
            data=config.data,
            num_gpus=config.num_gpus,
            executor=config.executor,
        )
    )


def make_scenes(config: AugmentConfig) -> None:
    """Ask for scenes until the quotas are reached or the budget is spent, say what they brought, and choose.

    Raises:
        UserError: nothing of them can be used.
    """
    place = folders(config.dataset, config.data)
    rounds = make_rounds(_rounds_config(config, place, load_prior_config(place.prior_config)))
    record = yield_record(rounds)
    write_whole(place.scene_rounds / "yield.json", json.dumps(record, indent=1))
    if record["selection"]["kept_scenes"]:
        write_selection(rounds, place.scenes)
    draw_rejected(rounds, place.scene_rounds / "rejected", config.rejected_pictures)
    draw_yield(record, place.scene_rounds)
    print_yield(record)
    lies_in("what the scenes brought and what is missing, as JSON and plots", place.scene_rounds / "yield.json")
    if not record["selection"]["kept_scenes"]:
        raise UserError(
            f"none of the {record['scenes_asked_for']:,} scenes that were asked for can be used; the table and the "
            f"pictures in {place.scene_rounds / 'rejected'} say why"
        )
    _compare_words(place)
    lies_in("the scenes", place.scenes)


def _compare_words(place: DatasetFolders) -> None:
    words = beside_validation(place)
    write_whole(place.scene_rounds / "words.json", json.dumps(words, indent=1))
    print_words(words)


def _rounds_config(config: AugmentConfig, place: DatasetFolders, prior: PriorConfig) -> RoundsConfig:
    """Everything is checked here, before the first scene is made."""
    vocabulary = _vocabulary(config)
    if not config.exact:
        Detector(replace(config.detector, device="cpu"), sorted(vocabulary.categories))  # the GPU is the workers'
    return RoundsConfig(
        root=place.scene_rounds,
        recipes=tuple(_recipes(config, vocabulary, prior)),
        vocabulary=vocabulary,
        quotas=Quotas(config.quotas, cells_of(vocabulary, families_of(config.label.style))),
        selection=config.selection,
        num_scenes=config.num_scenes,
        seed=config.seed,
        split=config.label.split,
        scenes_per_shard=config.scenes_per_shard,
        executor=config.executor,
    )


def _vocabulary(config: AugmentConfig) -> VocabularyConfig:
    if config.vocabulary:
        return VocabularyConfig.from_file(config.vocabulary)
    return miniature.vocabulary() if config.dataset == "miniature" else coco.vocabulary()


def _recipes(config: AugmentConfig, vocabulary: VocabularyConfig, prior: PriorConfig) -> Iterator[Recipe]:
    looking = looking_stages(config, vocabulary, prior)
    label = LabelStage(config.label, plurals=vocabulary.categories)
    for composer in config.composers:
        compose, made_of = _composing(config, composer, vocabulary)
        yield Recipe(
            composer=composer,
            stages=(compose, *looking, label),
            fingerprint={**made_of, **_looking_fingerprint(config, prior), "label": asdict(config.label)},
        )


def _composing(
    config: AugmentConfig, composer: Composer, vocabulary: VocabularyConfig
) -> tuple[Stage[Any, Any], dict[str, Any]]:
    """A composer's stage, and what decides its pictures."""
    if composer == "pasted":
        return _pasted(config, vocabulary)
    drawn = config.layout if composer == "layout" else config.render
    settings = {**asdict(drawn), "checkpoint": fingerprint(drawn.checkpoint)}
    return _drawing(config, composer), {"drawn_by": settings, "negative_prompt": config.negative_prompt}


def _drawing(config: AugmentConfig, composer: Composer) -> Stage[Any, Any]:
    if composer == "layout":
        return LayoutComposer(config.layout, negative_prompt=config.negative_prompt, num_gpus=config.num_gpus)
    return PromptedComposer(config.render, negative_prompt=config.negative_prompt, num_gpus=config.num_gpus)


def _pasted(config: AugmentConfig, vocabulary: VocabularyConfig) -> tuple[Stage[Any, Any], dict[str, Any]]:
    """Of no photograph of a validation or test split."""
    held_out: HeldOut = held_out_photographs(config.data)
    inputs = check_pasted(config.pasted, vocabulary, held_out)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in sorted(inputs.left_out.items())) or "none"
    console.print(
        f"{sum(inputs.cutouts.values()):,} cut-outs of {len(inputs.cutouts):,} categories, "
        f"{inputs.backgrounds:,} backgrounds; left out: {left_out}"
    )
    if inputs.unannotated:
        of = config.pasted.instances or "no instances file (--pasted.instances)"
        console.print(
            f"taken for absent in every background, by {of}: {_few(inputs.unannotated)}; things that are there already "
            "make queries false"
        )
    return PastedComposer(config.pasted, held_out), {"pasted": pasted_fingerprint(config.pasted, held_out)}


def _few(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def looking_stages(config: AugmentConfig, vocabulary: VocabularyConfig, prior: PriorConfig) -> list[Stage[Any, Any]]:
    """The stages that say what is in a picture."""
    if config.exact:
        return [ExactStage(vocabulary, optional_kinds=config.verify.optional_kinds)]
    return [
        DetectStage(config.detector, sorted(vocabulary.categories), num_gpus=config.num_gpus),
        VerifyStage(config.verify, prior.encoder, vocabulary, num_gpus=config.num_gpus),
    ]


def _looking_fingerprint(config: AugmentConfig, prior: PriorConfig) -> dict[str, Any]:
    if config.exact:
        return {"exact": list(config.verify.optional_kinds)}
    return {
        "detector": {**asdict(config.detector), "checkpoint": fingerprint(config.detector.checkpoint)},
        "verify": {**asdict(config.verify), "encoder": encoder_fingerprint(prior)},
    }


if __name__ == "__main__":
    run(main, AugmentConfig, __doc__, for_dataset)
