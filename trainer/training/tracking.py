"""Values for the trackers beside losses: memory, and images of predictions."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from PIL import Image, ImageDraw, ImageOps

from trainer.data.dataset import Samples, decode_image
from trainer.evaluation.metrics import PredictionRecord

NUM_IMAGES = 8
IMAGE_PX = 256
TRUTH, PREDICTED = (40, 200, 80), (230, 50, 50)


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
    images = np.stack([draw_prediction(decode_image(samples.read(number[record.key])), record) for record in chosen])
    for tracker in accelerator.trackers:
        options: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"predictions": images}, step=step, **options)


def draw_prediction(image: Image.Image, record: PredictionRecord) -> npt.NDArray[np.uint8]:
    """Draw the image on a square (height, width, 3), with both boxes and the query."""
    factor = IMAGE_PX / max(image.size)
    canvas = ImageOps.pad(image, (IMAGE_PX, IMAGE_PX), centering=(0, 0))
    draw = ImageDraw.Draw(canvas)
    for box, color in ((record.target_xyxy, TRUTH), (record.box_xyxy, PREDICTED)):
        draw.rectangle([value * factor for value in box], outline=color, width=2)
    draw.text((4, IMAGE_PX - 14), record.text, fill="white", stroke_width=1, stroke_fill="black")
    return np.asarray(canvas)
