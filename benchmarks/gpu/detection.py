"""Detector and image encoder of ``augment``: images per second by batch size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np

from augmentation.detection.config import DetectorConfig
from augmentation.detection.detector import Detector
from benchmarks.gpu.record import Record, measure_seconds, watch_gpu
from generation.models.config import EncoderConfig, RgbImage
from generation.models.image_encoder import ImageEncoder
from workflows.presets import miniature, random_weights


def measure_detection(record: Record) -> None:
    """Measure RT-DETR-R50 and CLIP ViT-B/32 on images of 512 px, with the host's preprocessing."""
    side_px = 64 if record.smoke else 512
    images = list(np.random.default_rng(0).integers(0, 256, (64, side_px, side_px, 3), dtype=np.uint8))
    if record.smoke:
        config, encoder = miniature.detector_config(), miniature.prior_config().encoder
    else:
        config = DetectorConfig(checkpoint=str(random_weights.save_rtdetr(record.folder / "rtdetr", record.device)))
        clip = record.folder / "clip"
        if not clip.exists():
            random_weights.save_clip(clip, record.device)
        encoder = EncoderConfig(checkpoint=str(clip))
    parts: dict[str, Callable[[list[RgbImage]], object]] = {
        "detector": Detector(config).detect,
        "CLIP": ImageEncoder(encoder).encode_images,
    }
    for name, run in parts.items():
        for batch_size in (8,) if record.smoke else (8, 16, 32, 64):
            work = partial(run, images[:batch_size])
            work()
            with watch_gpu() as gpu:
                seconds = median(measure_seconds(work) for _ in range(min(record.rounds, 6)))
            rate = round(batch_size / seconds, 1)
            record.add("detection", f"{name}, batch {batch_size}", {"images_per_s": rate, **gpu})
