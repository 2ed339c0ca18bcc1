"""Miniature detector: a small RT-DETR over a ResNet, trained on world scenes and rendered images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from transformers import ResNetConfig, RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor

from augmentation.detection.config import DetectorConfig
from augmentation.detection.detected import Detection
from augmentation.detection.detector import Detector
from shards.boxes import Box, iou
from workflows.miniature.models.captioned_images import to_images, to_tensor
from workflows.miniature.models.training_loop import LoopConfig, train_model
from workflows.miniature.world.dataset import sample_captioned_image, sample_scene
from workflows.miniature.world.drawing import CATEGORIES, WorldScene

INPUT_PX = 128
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class LabeledImage:
    """Image with labeled boxes."""

    image: Image.Image
    boxes_xyxy: tuple[Box, ...]
    categories: tuple[str, ...]


def new_detector() -> RTDetrForObjectDetection:
    backbone = ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    names = dict(enumerate(CATEGORIES))
    config = RTDetrConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_hidden_dim=96,
        encoder_in_channels=[64, 96, 128],
        encoder_ffn_dim=192,
        encoder_attention_heads=3,
        d_model=96,
        decoder_in_channels=[96, 96, 96],
        decoder_ffn_dim=192,
        decoder_attention_heads=3,
        decoder_layers=2,
        decoder_n_points=4,
        num_queries=30,
        num_denoising=20,
        hidden_expansion=0.5,
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    return RTDetrForObjectDetection(config)


def new_processor() -> RTDetrImageProcessor:
    return RTDetrImageProcessor(size={"height": INPUT_PX, "width": INPUT_PX}, do_normalize=False)


def label_scene(scene: WorldScene, image: Image.Image | None = None) -> LabeledImage:
    """Return a scene with its true boxes, or another image of it."""
    return LabeledImage(
        image=image or scene.draw(),
        boxes_xyxy=tuple(obj.box_xyxy for obj in scene.objects),
        categories=tuple(obj.category for obj in scene.objects),
    )


def sample_world_scene(random: Random) -> LabeledImage:
    """Sample a scene of the dataset's kind or of the captioned images' kind, with all combinations possible."""
    if random.random() < 0.5:
        return label_scene(sample_captioned_image(random)[0])
    return label_scene(sample_scene(random.choice(("val", "testA", "testB")), random))


@torch.no_grad()
def pass_through_autoencoder(autoencoder: AutoencoderKL, count: int) -> list[LabeledImage]:
    """Decode captioned images from slightly noisy latents, with their true boxes.

    They look like images of Stable Diffusion, and their boxes are known exactly.
    """
    scenes = [sample_captioned_image(Random(f"autoencoded/{i}"))[0] for i in range(count)]
    noise = torch.Generator().manual_seed(0)
    samples: list[LabeledImage] = []
    for start in range(0, count, 128):
        chosen = scenes[start : start + 128]
        latents = autoencoder.encode(to_tensor(np.stack([np.asarray(s.draw()) for s in chosen]))).latent_dist.mean
        latents = latents + 0.15 * latents.std() * torch.randn(latents.shape, generator=noise)
        samples += map(label_scene, chosen, to_images(autoencoder.decode(latents).sample))
    return samples


def prepare_batch(
    samples: Sequence[LabeledImage], categories: Sequence[str] = CATEGORIES
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Return (n, 3, 128, 128) images in 0..1 and the targets of the library's loss (normalized cxcywh)."""
    pixels, labels = [], []
    for sample in samples:
        width, height = sample.image.size
        resized = sample.image.convert("RGB").resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR)
        pixels.append(torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255)
        boxes = torch.tensor(sample.boxes_xyxy, dtype=torch.float32).reshape(-1, 4)
        x1, y1, x2, y2 = (boxes / torch.tensor([width, height, width, height])).unbind(1)
        labels.append(
            {
                "class_labels": torch.tensor([categories.index(name) for name in sample.categories]),
                "boxes": torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1),
            }
        )
    return torch.stack(pixels), labels


def train_detector(
    folder: Path,
    name: str,
    steps: int,
    sample_at: Callable[[Random], LabeledImage],
    start: RTDetrForObjectDetection | None = None,
    learning_rate: float = 8e-4,
    categories: Sequence[str] = CATEGORIES,
) -> RTDetrForObjectDetection:
    """Train on samples of ``categories`` that ``sample_at`` draws, from scratch or from ``start``."""
    model = start or new_detector()

    def compute_loss(step: int) -> Tensor:
        random = Random(f"{name}/{step}")
        pixels, labels = prepare_batch([sample_at(random) for _ in range(BATCH)], categories)
        pixels = (pixels * random.uniform(0.9, 1.1) + 0.02 * torch.randn_like(pixels)).clamp(0, 1)
        loss: Tensor = model(pixel_values=pixels, labels=labels).loss
        return loss

    config = LoopConfig(
        name=name, steps=steps, learning_rate=learning_rate, weight_decay=1e-4, ema_decay=0.998, max_grad_norm=0.5
    )
    train_model(config, model, compute_loss, folder)
    return model


def detect_objects(folder: Path, images: Sequence[Image.Image], **changes: Any) -> list[tuple[Detection, ...]]:
    """Detect objects in each image exactly as augmentation does.

    Args:
        folder: checkpoint of the detector.
        images: images of any size.
        changes: changes to the default ``DetectorConfig``.
    """
    detector = Detector(DetectorConfig(checkpoint=str(folder), device="cpu", **changes))
    arrays = [np.asarray(image.convert("RGB")) for image in images]
    return [
        detections for start in range(0, len(arrays), 64) for detections in detector.detect(arrays[start : start + 64])
    ]


def compute_ap50(detections: Sequence[Sequence[Detection]], truth: Sequence[LabeledImage]) -> float:
    """Compute AP at IoU 0.5 over all categories: the area under the interpolated precision-recall curve.

    Source: PASCAL VOC 2010.
    """
    rows = sorted(((f.score, i, f) for i, frame in enumerate(detections) for f in frame), key=lambda row: -row[0])
    taken: set[tuple[int, int]] = set()
    hits = []
    for _, i, f in rows:
        overlaps = [
            (iou(f.box_xyxy, box), j)
            for j, (box, name) in enumerate(zip(truth[i].boxes_xyxy, truth[i].categories, strict=True))
            if name == f.category and (i, j) not in taken
        ]
        best = max(overlaps, default=(0.0, -1))
        hits.append(best[0] >= 0.5)
        if hits[-1]:
            taken.add((i, best[1]))
    total = sum(len(sample.boxes_xyxy) for sample in truth)
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0], true])) / total
    return float((envelope * steps).sum())
