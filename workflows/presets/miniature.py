"""The embedded default: the small models that lie in the repository. Other models are other paths."""

from __future__ import annotations

from pathlib import Path

from augmentation.detect import DetectorConfig
from augmentation.vocabulary import VocabularyConfig
from generation.encode import EncoderConfig
from generation.prior import PriorConfig
from generation.prompt import PromptConfig
from generation.render import RenderConfig
from workflows.miniature.drawing import COLOURS, PATTERNS, PLURALS

WEIGHTS = Path(__file__).resolve().parents[1] / "miniature" / "weights"


def render_config() -> RenderConfig:
    return RenderConfig(
        checkpoint=str(WEIGHTS / "stable-diffusion"),
        steps=12,
        guidance=2.5,
        image_size_px=64,
        batch_size=32,
        dtype="float32",
    )


def prior_config() -> PriorConfig:
    """Clothes are things here ("red hat"), so a garment does not stand for its wearer."""
    return PriorConfig(
        render=render_config(),
        prompt=PromptConfig(garments_mean_wearers=False),
        encoder=EncoderConfig(checkpoint=str(WEIGHTS / "clip")),
    )


def vocabulary() -> VocabularyConfig:
    """Counts up to five, which is what the miniature Stable Diffusion has seen."""
    return VocabularyConfig(
        categories=dict(PLURALS),
        quantifiers=("two", "three", "four", "five"),
        attributes={"pattern": tuple(p for p in PATTERNS if p != "plain"), "colour": tuple(COLOURS)},
        attribute_sets=((), ("colour",), ("pattern", "colour")),
    )


def detector_config() -> DetectorConfig:
    return DetectorConfig(checkpoint=str(WEIGHTS / "detector"))
