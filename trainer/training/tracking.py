"""Values for the trackers beside losses: memory, and images of predictions."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from shards.tiles import PREDICTED, TRUTH, make_tile
from trainer.data.dataset import Samples, decode_image
from trainer.evaluation.metrics import PredictionRecord

NUM_IMAGES = 8
IMAGE_PX = 256


def get_peak_memory_bytes(device: torch.device) -> int:
    """Return the peak memory of this process so far: on the GPU, or in main memory without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def log_predictions(accelerator: Accelerator, samples: Samples, records: Sequence[PredictionRecord], step: int) -> None:
    """Log evenly spread predictions as images to all trackers: target green, prediction red."""
    if not accelerator.is_main_process or not accelerator.trackers:
        return
    chosen = records[:: max(1, len(records) // NUM_IMAGES)][:NUM_IMAGES]
    number = {samples.get_key(i): i for i in range(len(samples))}
    images = []
    for record in chosen:
        boxes = ((record.target_xyxy, TRUTH), (record.box_xyxy, PREDICTED))
        tile = make_tile(decode_image(samples.read(number[record.key])), record.text, boxes, side_px=IMAGE_PX)
        images.append(np.asarray(tile))  # (height, width, 3)
    for tracker in accelerator.trackers:
        options: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"predictions": np.stack(images)}, step=step, **options)
