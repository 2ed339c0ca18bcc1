"""Detector and image encoder of ``augment``: images per second by batch size."""

from __future__ import annotations

from statistics import median

import numpy as np

from augmentation.detection.detector import Detector, DetectorConfig
from benchmarks.gpu.record import Record, measure_seconds, watch_gpu
from generation.models.image_encoder import EncoderConfig, ImageEncoder
from workflows.presets import miniature, random_weights


def measure_detection(record: Record) -> None:
    """Measure RT-DETR-R50 and CLIP ViT-B/32 on images of 512 px, with the host's preprocessing."""
    side_px = 64 if record.smoke else 512
    images = list(np.random.default_rng(0).integers(0, 256, (64, side_px, side_px, 3), dtype=np.uint8))
    if record.smoke:
        config, encoder = (
            miniature.detector_config(),
            EncoderConfig(checkpoint=miniature.prior_config().encoder.checkpoint),
        )
    else:
        config = DetectorConfig(checkpoint=str(random_weights.save_rtdetr(record.folder / "rtdetr", record.device)))
        clip = record.folder / "clip"
        if not clip.exists():
            random_weights.save_clip(clip, record.device)
        encoder = EncoderConfig(checkpoint=str(clip))
    detector, clip_encoder = Detector(config), ImageEncoder(encoder)
    for name, run in (("detector", detector.detect), ("CLIP", clip_encoder.encode_images)):
        for batch_size in (8,) if record.smoke else (8, 16, 32, 64):
            batch = images[:batch_size]
            run(batch)  # type: ignore[operator]
            with watch_gpu() as gpu:
                seconds = median(measure_seconds(lambda: run(batch)) for _ in range(min(record.rounds, 6)))  # type: ignore[operator]  # noqa: B023
            record.add(
                "detection", f"{name}, batch {batch_size}", {"images_per_s": round(batch_size / seconds, 1), **gpu}
            )
