"""Generated scenes with several things of one category, queries that are proved to mean one of them, and their priors.

    make augment                                    # scenes of the miniature world
    make augment ARGS="--dataset refcoco --vocabulary vocabulary.json --num-scenes 20000 \\
        --detector.checkpoint PekingU/rtdetr_r50vd --render.checkpoint stable-diffusion-v1-5/stable-diffusion-v1-5 \\
        --render.image-size-px 512"

A detector decides what is in each picture and a CLIP what it looks like; every query is built from what was found,
never from what was asked.
The priors of the queries are made as those of the data set were.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from upath import UPath

from augmentation.compose import PromptedComposer
from augmentation.detect import DetectorConfig, DetectStage
from augmentation.label import LabelConfig, LabelStage
from augmentation.verify import VerifyConfig, VerifyStage
from augmentation.vocabulary import VocabularyConfig, scene_specs
from generation.checkpoints import fingerprint
from generation.prior import encoder_fingerprint
from generation.render import RenderConfig
from pipeline.executor import ExecutorConfig
from pipeline.run import Job, Limits, PlanRow, run_job
from shards.writer import SampleSink
from workflows import generate_priors
from workflows.console import Executor, lies_in, run
from workflows.layout import DATA, folders
from workflows.presets import miniature
from workflows.prior_config import load_prior_config


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How many scenes of what, and the models that make and check them."""

    dataset: str = "miniature"
    """Data set that the scenes are for; they go to ``<data>/<dataset>/scenes``."""

    num_scenes: int = 900
    """Scenes to ask for; those of which nothing can be proved are rejected with their reason."""

    vocabulary: Path | None = None
    """JSON file of categories, plurals, quantifiers and attributes; without it the miniature world's."""

    render: RenderConfig = field(default_factory=miniature.render_config)
    negative_prompt: str = ""
    detector: DetectorConfig = field(default_factory=miniature.detector_config)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    """When the CLIP that encodes the data set's priors is believed about colours and patterns."""

    label: LabelConfig = field(default_factory=LabelConfig)
    seed: int = 0
    data: UPath = DATA
    scenes_per_shard: int = 128
    num_gpus: float = 0.0
    """GPUs of each worker that draws or detects."""

    executor: Executor = field(default_factory=ExecutorConfig)


def main(config: AugmentConfig) -> None:
    """Make the scenes, then the priors of their queries."""
    vocabulary = VocabularyConfig.from_file(config.vocabulary) if config.vocabulary else miniature.vocabulary()
    place = folders(config.dataset, config.data)
    prior = load_prior_config(place.prior_config)
    specs = scene_specs(vocabulary, config.num_scenes, config.seed)
    job = Job(
        name="scenes",
        fingerprint={
            "vocabulary": vocabulary.to_json(),
            "num_scenes": config.num_scenes,
            "render": {**asdict(config.render), "checkpoint": fingerprint(config.render.checkpoint)},
            "negative_prompt": config.negative_prompt,
            "detector": {**asdict(config.detector), "checkpoint": fingerprint(config.detector.checkpoint)},
            "verify": {**asdict(config.verify), "encoder": encoder_fingerprint(prior)},
            "label": asdict(config.label),
        },
        inputs=lambda: (PlanRow(key=spec.key, payload=spec.to_payload(), group=config.label.split) for spec in specs),
        items_per_shard=config.scenes_per_shard,
        seed=config.seed,
        stages=[
            PromptedComposer(config.render, negative_prompt=config.negative_prompt, num_gpus=config.num_gpus),
            DetectStage(config.detector, sorted(vocabulary.categories), num_gpus=config.num_gpus),
            VerifyStage(config.verify, prior.encoder, vocabulary, num_gpus=config.num_gpus),
            LabelStage(config.label),
        ],
        sink=SampleSink(),
    )
    run_job(job, place.scenes, config.executor, Limits())
    lies_in("the scenes", place.scenes)
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(
            dataset=config.dataset,
            of="scenes",
            prior=prior,
            data=config.data,
            num_gpus=config.num_gpus,
            executor=config.executor,
        )
    )


if __name__ == "__main__":
    run(main, AugmentConfig, __doc__)
