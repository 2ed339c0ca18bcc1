"""Sizes of the grounding network: every number that decides a parameter's shape, and two presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

import tyro

from trainer.errors import TrainerError


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A residual network without its classifier (He et al., CVPR 2016)."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    stem_width: int = 64
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Output channels of each stage; the last one's are the image features."""

    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Blocks of each stage."""

    num_frozen_stages: int = 2
    """Leading parts that never train, the stem being the first: 2 are the stem and stage 1, as in DETR."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError(f"widths {self.widths} and depths {self.depths} must be as many, one pair a stage")
        if not 0 <= self.num_frozen_stages <= len(self.widths) + 1:
            raise ValueError(
                f"num_frozen_stages must lie in 0..{len(self.widths) + 1} (stem and stages), "
                f"got {self.num_frozen_stages}"
            )

    @property
    def stride_px(self) -> int:
        """Pixels from one image feature to the next: 4 by the stem, doubled by every stage but the first."""
        return int(4 * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that decides the network's shape; the defaults are the published sizes."""

    image_size_px: int = 640
    """Side of the square canvas on which images are placed; a multiple of the backbone's stride."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    width: int = 256
    """Features of every token after the backbone and the text encoder; called d in the paper."""

    num_heads: int = 8
    feedforward_width: int = 2048
    num_encoder_layers: int = 6
    num_stages: int = 6
    """Decoder stages; each gives a box, the last one's counts."""

    add_position_to_features: bool = False
    """Add positions to the image features themselves, once, before the encoder. The published network adds them to
    queries and keys only and relies on an encoder that DETR's training taught to pass them on; one that starts from
    random weights learns many times faster with it."""

    num_text_layers: int = 4
    """Last layers of the text encoder whose outputs are averaged."""

    text: Annotated[Mapping[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Configuration of the text encoder as JSON, with its ``model_type``; empty until an encoder is chosen."""

    use_prior: bool = True
    """Without it the network has no prior branch: VLTVG (Yang et al., CVPR 2022)."""

    prior_dim: int = 512
    """Features of a prior."""

    prior_scale: float = 1.0
    """Multiplies priors, which are vectors of length 1. With 1 the first target is about as long as the learned
    embeddings that are added to it; with sqrt(``prior_dim``), which makes the elements of order 1, several times."""

    use_prior_verification: bool = False
    """Score the image features against the prior as well as against the words. In the published network the prior only
    starts the target token, which chooses among words: what looks at the image never meets the prior itself."""

    dropout: float = 0.1
    """In the encoder, the verification and the decoder; the text encoder has its own."""

    def __post_init__(self) -> None:
        if self.image_size_px % self.backbone.stride_px:
            raise ValueError(
                f"image_size_px must be a multiple of the backbone's stride {self.backbone.stride_px}, "
                f"got {self.image_size_px}"
            )
        if self.width % self.num_heads or self.width % 4:
            raise ValueError(
                f"width must be a multiple of num_heads ({self.num_heads}) and of 4 (sine and cosine of two axes), "
                f"got {self.width}"
            )
        if not 0 < self.prior_scale < float("inf"):
            raise ValueError(f"prior_scale must be a positive number, got {self.prior_scale}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in 0..1, got {self.dropout}")
        for name in ("num_encoder_layers", "num_stages", "num_text_layers", "prior_dim", "feedforward_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def grid(self) -> int:
        """Image features along each side."""
        return self.image_size_px // self.backbone.stride_px

    def to_json(self) -> dict[str, Any]:
        """As the ``config.json`` that ``from_json`` reads."""
        return {"model_type": "resvg", **asdict(self), "text": dict(self.text)}

    @staticmethod
    def from_json(record: Mapping[str, Any], origin: str) -> NetworkConfig:
        """The inverse of ``to_json``.

        Raises:
            TrainerError: the record is of another kind of model, or malformed; names ``origin``.
        """
        values = dict(record)
        kind = values.pop("model_type", None)
        unknown = values.keys() - {f.name for f in fields(NetworkConfig)}
        if kind != "resvg" or unknown:
            raise TrainerError(
                f"{origin} is not a grounding network's: model_type {kind!r} (must be 'resvg'), "
                f"unknown fields {sorted(unknown)}; give a folder that training has saved"
            )
        try:
            backbone = dict(values.pop("backbone"))
            for name in ("widths", "depths"):
                backbone[name] = tuple(backbone[name])
            return NetworkConfig(backbone=BackboneConfig(**backbone), **values)
        except (KeyError, TypeError, ValueError) as error:
            raise TrainerError(f"{origin} is malformed: {error}") from error


def make_published_config() -> NetworkConfig:
    """The sizes of the ACM MM 2024 paper: 640 px, ResNet-50, six encoder layers, six stages; for BERT-base."""
    return NetworkConfig()


def make_miniature_config() -> NetworkConfig:
    """Small enough to train on two CPU cores in minutes; its backbone is that of the miniature detector."""
    return NetworkConfig(
        image_size_px=128,
        backbone=BackboneConfig(
            block="basic", stem_width=32, widths=(32, 64, 96), depths=(1, 1, 1), num_frozen_stages=2
        ),
        width=128,
        num_heads=4,
        feedforward_width=256,
        num_encoder_layers=2,
        num_stages=3,
        add_position_to_features=True,
        num_text_layers=2,
        prior_dim=128,
        dropout=0.0,
    )
