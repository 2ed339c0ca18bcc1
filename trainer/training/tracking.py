"""What a training run tells its trackers beside losses: memory, and pictures of predictions."""

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

from trainer.data.dataset import Samples, decoded
from trainer.evaluation.metrics import Judgement

NUM_PICTURES = 8
PICTURE_PX = 256
TRUTH, PREDICTED = (40, 200, 80), (230, 50, 50)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that this process has used so far: of the GPU's memory, or of the machine's where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def log_pictures(accelerator: Accelerator, samples: Samples, judgements: Sequence[Judgement], step: int) -> None:
    """Some of the judged queries, evenly spread, to all trackers: truth green, prediction red."""
    if not accelerator.is_main_process or not accelerator.trackers:
        return
    chosen = judgements[:: max(1, len(judgements) // NUM_PICTURES)][:NUM_PICTURES]
    number = {samples.key(i): i for i in range(len(samples))}
    pictures = np.stack([drawn(decoded(samples.read(number[one.key])), one) for one in chosen])
    for tracker in accelerator.trackers:
        options: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"predictions": pictures}, step=step, **options)


def drawn(picture: Image.Image, judgement: Judgement) -> npt.NDArray[np.uint8]:
    """(height, width, 3): the picture on a square, with both boxes and the phrase."""
    factor = PICTURE_PX / max(picture.size)
    canvas = ImageOps.pad(picture, (PICTURE_PX, PICTURE_PX), centering=(0, 0))
    draw = ImageDraw.Draw(canvas)
    for box, colour in ((judgement.target_xyxy, TRUTH), (judgement.box_xyxy, PREDICTED)):
        draw.rectangle([value * factor for value in box], outline=colour, width=2)
    draw.text((4, PICTURE_PX - 14), judgement.text, fill="white", stroke_width=1, stroke_fill="black")
    return np.asarray(canvas)
