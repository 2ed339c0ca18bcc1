"""Sizes of the grounding network, and two presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

import tyro

from trainer.errors import TrainerError


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Sizes of the backbone; the defaults are ResNet-50."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    """Kind of block: two 3x3 convolutions, or 1x1, 3x3 and 1x1."""

    stem_width: int = 64
    """Channels of the first convolution."""

    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Output channels of each stage; the last stage gives the image features."""

    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Number of blocks of each stage."""

    num_frozen_stages: int = 2
    """Number of leading parts that never train, counted from the stem; 2 are the stem and stage 1, as in DETR."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError(f"widths {self.widths} and depths {self.depths} must have one value for each stage")
        if not 0 <= self.num_frozen_stages <= len(self.widths) + 1:
            raise ValueError(
                f"num_frozen_stages must lie in 0..{len(self.widths) + 1} (stem and stages), "
                f"got {self.num_frozen_stages}"
            )

    @property
    def stride_px(self) -> int:
        """Stride in pixels from one image feature to the next: 4 by the stem, doubled by every stage but the first."""
        return int(4 * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True, kw_only=True)
class ExemplarScoringConfig:
    """Settings of ``ExemplarScoring``; the defaults were chosen on the miniature world."""

    margin: float = 0.15
    """Difference in cosine from the best image feature, positive: features within it count nearly alike."""

    place_margin: float = 0.4
    """The same for queries that say where their target is, positive. A wide margin leaves more to the words."""

    initial_temperature: float = 0.07
    """Width in cosine of the step beyond the margin, positive; training changes it."""

    def __post_init__(self) -> None:
        for name in ("margin", "place_margin", "initial_temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a positive number, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes and options of the network; the defaults are the published ones."""

    image_size_px: int = 640
    """Side of the square canvas for images; a multiple of the backbone's stride."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """Sizes of the backbone, unless ``vision`` is another one."""

    vision: Annotated[Mapping[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Configuration of a backbone of ``transformers`` as JSON, with its ``model_type``, by ``choose_backbone``. Default
    empty: the ResNet of ``backbone``, as published."""

    vision_stride_px: Annotated[int, tyro.conf.Suppress] = 0
    """Stride in pixels of the backbone ``vision``; 0 without one."""

    width: int = 256
    """Width of all tokens after the backbone and the text encoder, d in the paper; a multiple of 4 and of the heads."""

    num_heads: int = 8
    """Number of attention heads."""

    feedforward_width: int = 2048
    """Hidden width of the feed-forward networks."""

    num_encoder_layers: int = 6
    """Number of layers of the visual encoder."""

    num_stages: int = 6
    """Number of decoder stages; each predicts a box, and the last one's is the prediction."""

    add_position_to_features: bool = False
    """Flag to add positions to the image features, once, before the encoder. The published network adds them only to
    queries and keys, since DETR's pretrained encoder passes them on. An encoder from random weights learns many times
    faster with this flag."""

    mask_padding: bool = False
    """Flag to hide the padding around images from attention and positions, as DETR does. The loaders of the published
    networks mark no padding: borders of the mean color take part everywhere, positions run over the whole canvas."""

    num_text_layers: int = 4
    """Number of last layers of the text encoder; their outputs are averaged."""

    text: Annotated[Mapping[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Configuration of the text encoder as JSON, with its ``model_type``; empty until ``choose_text_encoder``."""

    use_prior: bool = True
    """Flag for the prior branch; without it the network is VLTVG (Yang et al., CVPR 2022)."""

    prior_dim: int = 512
    """Number of features of a prior."""

    prior_scale: float = 1.0
    """Positive factor of the priors, which are vectors of length 1, or means of such. With 1, the first target is about
    as long as the learned embeddings. With sqrt(``prior_dim``), the elements are of order 1, and it is several times as
    long."""

    exemplar_scoring: Annotated[ExemplarScoringConfig | None, tyro.conf.AvoidSubcommands] = None
    """Use of the prior as an exemplar: image features that do not look like it count less. Default None, as published:
    the prior starts the target token, and is not compared with the image."""

    presence: bool = False
    """Flag of the presence head, a linear layer on the last target token that tells whether the image has a target.
    Training then also takes queries without one. Default False, as published."""

    num_target_tokens: int = 1
    """Number of target tokens, at least 1; default 1, as published. Several tokens start from learned embeddings, added
    to the prior's, and each predicts a box and its presence. A query can then have as many targets. They need
    ``presence``."""

    dropout: float = 0.1
    """Dropout in 0..1 of the encoder, the verification and the decoder; the text encoder has its own."""

    def __post_init__(self) -> None:
        if self.image_size_px % self.stride_px:
            raise ValueError(
                f"image_size_px must be a multiple of the backbone's stride {self.stride_px}, got {self.image_size_px}"
            )
        if self.width % self.num_heads or self.width % 4:
            raise ValueError(
                f"width must be a multiple of num_heads ({self.num_heads}) and of 4 (sine and cosine of two axes), "
                f"got {self.width}"
            )
        if not 0 < self.prior_scale < float("inf"):
            raise ValueError(f"prior_scale must be a positive number, got {self.prior_scale}")
        if self.exemplar_scoring is not None and not self.use_prior:
            raise ValueError("exemplar_scoring needs use_prior, since the prior is the exemplar at test time")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in 0..1, got {self.dropout}")
        if self.num_target_tokens > 1 and not self.presence:
            raise ValueError(
                f"num_target_tokens {self.num_target_tokens} needs presence, which tells the tokens with a target from "
                "those without; set presence, or num_target_tokens 1"
            )
        sizes = ("num_encoder_layers", "num_stages", "num_text_layers", "prior_dim", "feedforward_width")
        for name in (*sizes, "num_target_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def starts_from_prior(self) -> bool:
        """Whether the prior starts the target token; with exemplar scoring, it is compared with the image instead."""
        return self.use_prior and self.exemplar_scoring is None

    @property
    def stride_px(self) -> int:
        """Stride in pixels from one image feature to the next."""
        return self.vision_stride_px or self.backbone.stride_px

    @property
    def grid(self) -> int:
        """Number of image features along each side."""
        return self.image_size_px // self.stride_px

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``config.json``, for ``from_json``; without options that are not used."""
        record = {"model_type": "resvg", **asdict(self), "text": dict(self.text), "vision": dict(self.vision)}
        left_out = () if self.vision else ("vision", "vision_stride_px")
        unused = [name for name in ("presence", "num_target_tokens") if record[name] == getattr(_PUBLISHED, name)]
        return {k: v for k, v in record.items() if k not in (*left_out, *unused)}

    @staticmethod
    def from_json(record: Mapping[str, Any], origin: str) -> NetworkConfig:
        """Build a configuration from a record of ``to_json``.

        Raises:
            TrainerError: the record is of another kind of model, or malformed; names ``origin``.
        """
        values = dict(record)
        kind = values.pop("model_type", None)
        if values.get("use_prior_verification") is False:  # earlier versions wrote it
            del values["use_prior_verification"]
        unknown = values.keys() - {f.name for f in fields(NetworkConfig)}
        if kind != "resvg" or unknown:
            raise TrainerError(
                f"{origin} is not the configuration of a grounding network: model_type {kind!r} (must be 'resvg'), "
                f"unknown fields {sorted(unknown)}; give a folder that training has saved"
            )
        if "mask_padding" not in values:
            raise TrainerError(
                f"{origin} does not say whether padding is masked (mask_padding); an earlier version wrote it. Add "
                '"mask_padding": true if this project trained the network, or import a published checkpoint again'
            )
        try:
            backbone = dict(values.pop("backbone"))
            for name in ("widths", "depths"):
                backbone[name] = tuple(backbone[name])
            scoring = values.pop("exemplar_scoring", None)
            if scoring is not None:  # earlier versions had one margin
                scoring = {"place_margin": scoring["margin"], **scoring}
            return NetworkConfig(
                backbone=BackboneConfig(**backbone),
                exemplar_scoring=None if scoring is None else ExemplarScoringConfig(**scoring),
                **values,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TrainerError(f"{origin} is malformed: {error}") from error


_PUBLISHED = NetworkConfig()


def make_published_config() -> NetworkConfig:
    """Return the sizes of the ACM MM 2024 paper: 640 px, ResNet-50, six encoder layers, six stages, BERT-base."""
    return NetworkConfig()


def make_miniature_config() -> NetworkConfig:
    """Return sizes that train on two CPU cores in minutes; the backbone is that of the miniature detector."""
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
        mask_padding=True,
        num_text_layers=2,
        prior_dim=128,
        dropout=0.0,
    )
