"""Parts of a training run, built from its configuration: network, streams, accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration

from shards.crop_features import CropFeatures
from shards.errors import SchemaError
from shards.reader import SampleReader
from trainer.config import DEFAULT_TEXT_ENCODER, TrainConfig
from trainer.config_file import convert_to_record, flatten_record
from trainer.data.batch import BatchBuilder
from trainer.data.dataset import Samples
from trainer.data.exemplars import ExemplarSampler, TrainingCrops, find_training_words
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.sampler import limit_mixing_ratios
from trainer.data.stream import EvaluationStream, TrainStream
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import build_evaluation_stream
from trainer.files import check_checkpoint, find_checkpoint
from trainer.model.network import GroundingNetwork, read_network_config
from trainer.model.pretrained import (
    LoadReport,
    choose_backbone,
    choose_text_encoder,
    load_backbone,
    load_network,
    load_text,
    load_visual,
)

COMPILED_LENGTH_MULTIPLE = 16
"""Number of tokens whose multiples are the lengths of queries of a compiled training: 16, 32 and 40 as published."""


def build_network(config: TrainConfig) -> tuple[GroundingNetwork, LoadReport | None]:
    """Build the network at its starting point, and the report of the started network's or the detector's weights.

    Raises:
        TrainerError: there are no such weights, or they do not fit the network.
    """
    if (start := find_start(config)) is not None:
        started = read_network_config(start)
        network = GroundingNetwork(
            replace(
                config.network,
                text=started.text,
                vision=started.vision,
                vision_stride_px=started.vision_stride_px,
            )
        )
        if start == config.output / "last":
            return network, None
        _check_processor(config, Processor.from_pretrained(start))
        return network, load_network(network, start)
    sizes = choose_text_encoder(config.network, config.text_encoder)
    backbone = config.transformers_backbone
    network = GroundingNetwork(choose_backbone(sizes, backbone) if backbone else sizes)
    if backbone:
        load_backbone(network, backbone)
    if not config.text_from_scratch:
        load_text(network, config.text_encoder)
    loaded = load_visual(network, config.pretrained_visual) if config.pretrained_visual else None
    return network, loaded


def find_start(config: TrainConfig) -> Path | None:
    """Find the folder of the started network: the run's last checkpoint if it is resumed; None without ``start``.

    Raises:
        TrainerError: the folder holds no trained network.
    """
    if config.start is None:
        return None
    if (last := config.output / "last").exists():
        return last
    folder = find_checkpoint(config.start)
    check_checkpoint(folder)
    return folder


def _check_processor(config: TrainConfig, started: Processor) -> None:
    """Check that the started network's processor prepares images and queries as the configuration says."""
    for name in ("image_mean", "image_std"):
        there, here = getattr(started.config, name), getattr(config.processor, name)
        if there != here:
            raise TrainerError(
                f"the network {config.start} takes images of {name} {there}, the processor of the training has "
                f"{here}; pass --processor.{name.replace('_', '-')} {' '.join(map(str, there))}"
            )
    if config.text_encoder == DEFAULT_TEXT_ENCODER:
        return
    there, here = started.tokenizer.get_vocab(), load_tokenizer(config.text_encoder).get_vocab()
    if there != here:
        raise TrainerError(
            f"the network {config.start} has another vocabulary than the text encoder {config.text_encoder} "
            f"({len(there)} tokens, {len(here)} here, {len(there.items() & here.items())} of them the same); leave out "
            "--text-encoder to use the network's, or start from another network"
        )


def build_processor(config: TrainConfig, samples: Samples) -> Processor:
    """Build the processor of the network, which records the words of the training samples, and those of the start.

    It reads these words alone if exemplars say so.
    """
    settings, start = config.processor, find_start(config)
    started = None if start is None else Processor.from_pretrained(start)
    before = () if started is None else (*started.config.known_words, *started.config.training_words)
    own = find_training_words(samples, with_exemplars=config.exemplars is not None)
    words = tuple(sorted({*before, *own}))
    if config.exemplars is not None and config.exemplars.limit_words:
        settings = replace(settings, known_words=words)
    else:
        settings = replace(settings, training_words=words)
    return Processor(settings, load_tokenizer(config.text_encoder) if started is None else started.tokenizer)


def open_train_samples(config: TrainConfig) -> Samples:
    """Open the training samples.

    Raises:
        TrainerError: they have no queries, or lack the priors of the network.
    """
    splits = [config.train_split] + [None] * (len(config.train) - 1)
    samples = Samples(
        [SampleReader(run, split) for run, split in zip(config.train, splits, strict=True)],
        keep_without_target=config.network.presence,
    )
    if config.network.use_prior:
        samples.check_priors(config.network.prior_dim)
    return samples


def build_exemplar_sampler(config: TrainConfig, samples: Samples, processor: Processor) -> ExemplarSampler | None:
    """Build the sampler of exemplar queries; None without exemplars.

    Raises:
        SchemaError: there are no crop features, or they are of other samples or of another encoder than the priors.
        TrainerError: the crop features have another length than the network's priors.
    """
    if config.exemplars is None:
        return None
    runs = [CropFeatures(run) for run in config.crop_features]
    for run, packed in zip(runs, config.train, strict=True):
        run.check_matches(packed)
    crops = TrainingCrops(samples, runs)
    if crops.dim != config.network.prior_dim:
        raise TrainerError(
            f"the crop features have {crops.dim} numbers, the priors of the network {config.network.prior_dim}; make "
            "both with the same image encoder"
        )
    return ExemplarSampler(crops=crops, config=config.exemplars, unknown_word=processor.unknown_word)


def build_train_stream(
    config: TrainConfig,
    samples: Samples,
    processor: Processor,
    exemplars: ExemplarSampler | None,
    accelerator: Accelerator,
) -> TrainStream:
    """Build this process's stream of training steps; compiled parts get batches of few sizes."""
    parts = accelerator.num_processes * config.gradient_accumulation_steps
    num_images = config.batch_images // parts if config.compile else 0
    num_exemplars = 0 if config.exemplars is None else config.exemplars.max_queries
    mixing_ratios = config.mixing_ratios
    if config.max_synthetic_fraction is not None:
        mixing_ratios = limit_mixing_ratios(samples.runs, config.max_queries, config.max_synthetic_fraction)
    return TrainStream(
        samples=samples,
        batch_builder=BatchBuilder(
            processor=processor,
            canvas_px=config.network.image_size_px,
            prior_dim=config.network.prior_dim if config.network.use_prior else None,
            seed=config.seed,
            augmentation=config.augmentation,
            prior_dropout=config.prior_dropout,
            min_images=num_images,
            min_queries=num_images * (config.max_queries + num_exemplars),
            length_multiple=COMPILED_LENGTH_MULTIPLE if config.compile else 1,
            sets=config.network.num_target_tokens > 1,
            exemplars=exemplars,
        ),
        batch_images=config.batch_images,
        max_queries=config.max_queries,
        mixing_ratios=mixing_ratios,
        num_microbatches=config.gradient_accumulation_steps,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        num_workers=config.num_workers,
    )


def build_validation_stream(
    config: TrainConfig, network: GroundingNetwork, processor: Processor, accelerator: Accelerator
) -> EvaluationStream | None:
    """Build this process's stream of validation batches; None without validation.

    Raises:
        TrainerError: the run has no such split.
    """
    if config.validate_split is None:
        return None
    try:
        reader = SampleReader(config.validate or config.train[0], config.validate_split)
    except SchemaError as error:
        raise TrainerError(f"{error}; name another with --validate-split, or None for no validation") from error
    return build_evaluation_stream(
        Samples([reader], keep_without_target=network.config.presence),
        network,
        processor,
        accelerator,
        batch_images=config.validate_batch_images,
        num_workers=config.num_workers,
    )


def build_accelerator(config: TrainConfig) -> Accelerator:
    """Build the accelerator of a training process, with its tracker's folder; see ``create_accelerator``."""
    return create_accelerator(
        config.mixed_precision,
        log_with=None if config.tracker == "none" else config.tracker,
        project_config=ProjectConfiguration(project_dir=str(config.output), logging_dir=str(config.output)),
        kwargs_handlers=[DistributedDataParallelKwargs()],
    )


def create_accelerator(mixed_precision: str | None, **arguments: Any) -> Accelerator:
    """Create the accelerator of this process.

    Args:
        mixed_precision: precision; None: that of `accelerate config`, or else float32.
        arguments: further arguments of ``Accelerator``.

    Raises:
        TrainerError: the device does not have the precision, or `accelerate config` asks for what is not supported.
    """
    fault = ""
    try:
        # Without cpu, several processes without a GPU would not find each other.
        accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(), mixed_precision=mixed_precision, **arguments
        )
        if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
            fault = "fp16 needs a GPU"  # accelerate would compute in float32
    except ValueError as error:
        fault = str(error)
    if fault:
        chosen = "of your accelerate config" if mixed_precision is None else mixed_precision
        raise TrainerError(
            f"the precision {chosen} cannot be used: {fault}; pass another --mixed-precision, such as no"
        )
    if accelerator.distributed_type.value.split("_")[0] not in ("NO", "MULTI"):
        raise TrainerError(
            f"your accelerate config asks for {accelerator.distributed_type.value}, which is not supported; pass "
            "--num-processes, or choose data parallelism by `accelerate config`"
        )
    return accelerator


def start_tracker(accelerator: Accelerator, config: TrainConfig) -> None:
    """Start the tracker and give it the configuration.

    Raises:
        TrainerError: the tracker is not installed.
    """
    values = dict(flatten_record(convert_to_record(config)))
    plain = {name: value for name, value in values.items() if isinstance(value, int | float | str | bool)}
    accelerator.init_trackers("log", config=plain)
    if config.tracker != "none" and accelerator.is_main_process and not accelerator.trackers:
        raise TrainerError(f"{config.tracker} is not installed; pip install {config.tracker}, or use --tracker none")
