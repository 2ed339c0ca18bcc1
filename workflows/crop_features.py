"""Encode crops of all instances in the training images, exemplars that networks learn to compare with priors.

    make crop-features
    make crop-features ARGS="--dataset refcoco --num-gpus 1"

This writes ``crop_features`` beside the samples, and ``crop_features_scenes`` if there are scenes: features of several
views of each instance, by the image encoder of the dataset's priors. Images of validation and test are left out. If
samples or encoder change, run the same command again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from generation.priors.config import compute_encoder_fingerprint
from generation.priors.instance_crops import CropStage
from pipeline import ExecutorConfig, Job, NotNegativeFloat, PlanRow, PositiveInt, Report
from shards.crop_features import CropFeatureSink
from shards.reader import SampleReader
from shards.sidecar import describe_samples
from workflows.cli.console import Executor, UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig
from workflows.priors.config import load_prior_config
from workflows.priors.query_parsing import QuerySource
from workflows.reports.run_report import run_and_plot_job


@dataclass(frozen=True, kw_only=True)
class CropFeaturesConfig(DatasetConfig):
    """Dataset, and the views of its instances."""

    num_views: PositiveInt = 5
    """Number of crops of each instance; the first is centered, the others vary in scale and position."""

    seed: int = 0
    """Seed of these variations, combined with sample, instance and view."""

    samples_per_shard: PositiveInt = 500
    """Number of samples of a shard, the unit of work."""

    num_gpus: NotNegativeFloat = 0.0
    """Number of GPUs of each worker."""

    executor: Executor = field(default_factory=ExecutorConfig)


def main(config: CropFeaturesConfig) -> None:
    """Encode the instances of the samples, and of the scenes if there are any."""
    paths = config.paths
    config.check_exists(paths.samples, "ingest")
    if config.dataset != "miniature":
        config.check_exists(paths.prior_config, "generate-priors")
    encode_instances(config, "samples")
    if paths.scenes.is_dir():
        encode_instances(config, "scenes")


def encode_instances(config: CropFeaturesConfig, source: QuerySource) -> None:
    """Encode the instances of one run of samples. A run of other samples or another encoder is replaced.

    Raises:
        UserError: no image is of split train.
    """
    samples, output = getattr(config.paths, source), config.paths.get_crop_features_run(source)
    prior = load_prior_config(config.paths.prior_config)
    reader = SampleReader(samples)
    if "train" not in reader.splits:
        raise UserError(
            f"{samples} has no split train, only {', '.join(reader.splits)}; crop features are of training images alone"
        )
    job = Job(
        name="crop-features",
        fingerprint={
            **describe_samples(samples),
            "encoder": compute_encoder_fingerprint(prior),
            "views": config.num_views,
        },
        inputs=lambda: (
            PlanRow(key=entry.key, payload={"number": number}, group=entry.split)
            for number, entry in enumerate(reader.index)
            if entry.split == "train"
        ),
        items_per_shard=config.samples_per_shard,
        seed=config.seed,
        stages=[CropStage(samples, prior.encoder, config.num_views, config.num_gpus)],
        sink=CropFeatureSink(),
    )
    report = run_and_plot_job(job, output, replace(config.executor, replace=True))
    console.print(describe_instances(report), soft_wrap=True)
    print_path(f"the crop features of the {source}", output)


def describe_instances(report: Report) -> str:
    """Describe in one line how many instances there are, and whether they are more than the targets."""
    instances, targets = report.summary["instances"], report.summary["targets"]
    line = f"{instances:,} instances of {report.accepted:,} training images"
    if not instances:
        return f"{line}: the dataset gives none, so networks have no exemplars to learn from"
    if targets == instances:
        return f"{line}, all of them targets: the dataset gives no other instances, so exemplars are targets alone"
    return line


if __name__ == "__main__":
    run(main, CropFeaturesConfig, __doc__)
