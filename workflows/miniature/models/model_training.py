"""Training of all miniature models, one after the other, and their export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    RTDetrForObjectDetection,
)

from shards.images import decode_rgb_image
from workflows.miniature.models import clip as clips
from workflows.miniature.models import detector as detection
from workflows.miniature.models import diffusion
from workflows.miniature.models import evaluation as measure
from workflows.miniature.models.attribute_classifier import AttributeClassifier, count_objects, train_classifier
from workflows.miniature.models.autoencoder import train_autoencoder
from workflows.miniature.models.captioned_images import ImageBank, build_bert_vocabulary, load_clip_tokenizer
from workflows.miniature.models.model_card import write_card
from workflows.miniature.models.training_loop import console
from workflows.miniature.world.dataset import sample_captioned_image

if TYPE_CHECKING:
    from workflows.miniature.train_all import MiniatureModelsConfig


def train_models(config: MiniatureModelsConfig) -> None:
    """Train the missing models, evaluate them and save everything."""
    torch.set_num_threads(config.threads)
    config.work.mkdir(parents=True, exist_ok=True)
    bank = ImageBank(config.work, config.num_images)
    tokenizer = load_clip_tokenizer(config.work)
    autoencoder = train_autoencoder(bank, config.work, config.autoencoder_steps)
    clip = clips.train_clip(bank, tokenizer, config.work, config.clip_steps)
    classifier = train_classifier(autoencoder, config.work, config.classifier_steps)
    first = train_on_world(config, autoencoder)
    unet = diffusion.train_unet(bank, autoencoder, clip, tokenizer, config.work, config.unet_steps)
    pipeline = diffusion.assemble(autoencoder, unet, clip, tokenizer)
    detector = train_on_generated(config, first, pipeline)
    clip = clips.sharpen_vision(clip, autoencoder, bank, tokenizer, config.work, config.clip_sharpening_steps)
    export(config.output, pipeline, clip, tokenizer, detector, classifier)
    figures = measure_all(config)
    write_card(config.output, figures)
    console.print(f"weights, measurements and model card saved to {config.output}")


def train_on_world(config: MiniatureModelsConfig, autoencoder: AutoencoderKL) -> RTDetrForObjectDetection:
    """Train the detector on world scenes, half of them decoded by the autoencoder."""
    passed = detection.pass_through_autoencoder(autoencoder, config.num_autoencoded)

    def sample_at(random: Random) -> detection.LabeledImage:
        return random.choice(passed) if random.random() < 0.4 else detection.sample_world_scene(random)

    return detection.train_detector(config.work, "detector", config.detector_steps, sample_at)


def train_on_generated(
    config: MiniatureModelsConfig, first: RTDetrForObjectDetection, pipeline: StableDiffusionPipeline
) -> RTDetrForObjectDetection:
    """Continue the detector's training with images that Stable Diffusion rendered.

    Nobody labeled these images. An image is used if the detector, the category of its caption and a count without a
    learned model agree. Its boxes are the detector's.
    """
    teacher = config.work / "detector-of-the-world"
    first.save_pretrained(teacher)
    detection.new_processor().save_pretrained(teacher)
    random = Random("drawn")
    captions = [sample_captioned_image(random)[1] for _ in range(config.num_generated)]
    folder = config.work / f"drawn-{config.num_generated}"
    if not (folder / "done").exists():
        folder.mkdir(exist_ok=True)
        for i, image in enumerate(diffusion.draw(pipeline, captions, seed=50_000)):
            image.save(folder / f"{i:05d}.png")
        (folder / "done").touch()
    images = [decode_rgb_image((folder / f"{i:05d}.png").read_bytes()) for i in range(config.num_generated)]
    agreed = []
    for image, caption, detections in zip(images, captions, detection.detect_objects(teacher, images), strict=True):
        if detections and all(f.is_confident for f in detections) and len(detections) == count_objects(image):
            names = tuple(f.category for f in detections)
            if all(name[:3] in caption for name in names):
                boxes = tuple(f.box_xyxy for f in detections)
                agreed.append(detection.LabeledImage(image=image, boxes_xyxy=boxes, categories=names))
    console.print(
        f"{len(agreed)} of {len(images)} rendered images have labels on which detector, caption and count agree"
    )

    def sample_at(random: Random) -> detection.LabeledImage:
        return random.choice(agreed) if agreed and random.random() < 0.4 else detection.sample_world_scene(random)

    return detection.train_detector(
        config.work, "detector-drawn", config.detector_generated_steps, sample_at, first, learning_rate=4e-4
    )


def export(
    folder: Path,
    pipeline: StableDiffusionPipeline,
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    detector: RTDetrForObjectDetection,
    classifier: AttributeClassifier,
) -> None:
    """Save all models in half precision, in the folder layouts of diffusers and transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("stable-diffusion", "clip", "detector"):
        shutil.rmtree(folder / name, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(folder / "stable-diffusion")
    clip.half().save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    size = {"height": 64, "width": 64}
    CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=size).save_pretrained(folder / "clip")
    detector.half().save_pretrained(folder / "detector")
    detection.new_processor().save_pretrained(folder / "detector")
    classifier.save(folder)
    export_bert(folder / "bert")


def export_bert(folder: Path) -> None:
    """Save configuration and vocabulary without weights; the trainer initializes its text encoder at random."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "tokenizer.json").exists():
        vocabulary = {token: i for i, token in enumerate(build_bert_vocabulary())}
        BertTokenizer(vocab=vocabulary, model_max_length=40).save_pretrained(folder)
    size = len(BertTokenizer.from_pretrained(folder))
    BertConfig(
        vocab_size=size,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
    ).save_pretrained(folder)


def measure_all(config: MiniatureModelsConfig) -> dict[str, object]:
    """Evaluate the saved models."""
    folder = config.output
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "stable-diffusion", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "clip")
    detector = folder / "detector"
    classifier = AttributeClassifier.load(folder)
    figures: dict[str, object] = {
        "sampler": f"{diffusion.STEPS} DDIM steps at guidance {diffusion.GUIDANCE}",
        "autoencoder_psnr_db": measure.measure_autoencoder(pipeline, config.work),
        "clip_caption_retrieval": measure.measure_clip(clip, tokenizer, config.work),
        "classifier_on_world": measure.measure_classifier(classifier),
        "detector_ap50_world": measure.measure_detector(detector),
        **measure.measure_diffusion(
            pipeline, classifier, detector, config.work, config.num_measured, images_per_prompt=4
        ),
        "steps": {
            "autoencoder": config.autoencoder_steps,
            "clip": config.clip_steps + config.clip_sharpening_steps,
            "unet": config.unet_steps,
            "attribute_classifier": config.classifier_steps,
            "detector": config.detector_steps + config.detector_generated_steps,
        },
        "num_parameters": {
            "autoencoder": diffusion.count_parameters(pipeline.vae),
            "unet": diffusion.count_parameters(pipeline.unet),
            "clip": diffusion.count_parameters(clip),
            "detector": diffusion.count_parameters(RTDetrForObjectDetection.from_pretrained(detector)),
            "attribute_classifier": diffusion.count_parameters(classifier),
        },
        "size_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }
    (folder / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")
    console.print(figures)
    return figures
