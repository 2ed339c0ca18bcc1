"""The grounding network: images and referring expressions in, one box per expression and stage out.

ResVG (ACM MM 2024) is VLTVG (CVPR 2022) whose target token starts from a semantic prior. Images are encoded once,
however many queries ask about them.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.backbone import ResNet
from trainer.model.config import NetworkConfig
from trainer.model.decoder import Decoder
from trainer.model.position_encoding import compute_grid_padding, compute_grid_positions
from trainer.model.prior_verification import AppearanceEmbeddings, PriorVerification
from trainer.model.state_dict import load_strictly, read_safetensors, write_safetensors
from trainer.model.text_encoder import TextEncoder
from trainer.model.verification import Verification
from trainer.model.visual_encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """What the network knows of images before it hears a query."""

    tokens: Tensor
    """(images, features, width)"""

    positions: Tensor
    """(images, features, width)"""

    padding: Tensor
    """(images, features) bool, True = padding."""


class GroundingOutput(NamedTuple):
    """What the network says of queries."""

    boxes: Tensor
    """(stages, queries, 4) float32 cxcywh as shares of the canvas; the last stage's count."""

    scores: Tensor
    """(queries, features), how much the query speaks of each image feature: the verification score."""

    padding: Tensor
    """(queries, features) bool, True = no part of the image."""

    appearance: AppearanceEmbeddings | None = None
    """What the prior was compared with, where it verifies."""


class BoxHead(nn.Module):
    """A three-layer perceptron; boxes are cxcywh as shares of the canvas."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        result: Tensor = self.layers[-1](x).float().sigmoid()
        return result


class GroundingNetwork(nn.Module):
    """See the module."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.frozen = False
        """Compute no gradients in backbone, input projection, visual encoder and text encoder (early epochs)."""

        self.gradient_checkpointing = False
        """Keep no activations within parts; they are computed anew for the gradients."""

        self.backbone = ResNet(config.backbone)
        self.input_projection = nn.Conv2d(config.backbone.widths[-1], config.width, 1)
        self.encoder = Encoder(config)
        self.text = TextEncoder(config)
        self.verification = Verification(config)
        self.prior_verification: PriorVerification | None = None
        if config.use_prior and config.use_prior_verification:
            self.prior_verification = PriorVerification(config)
        self.decoder = Decoder(config)
        self.box_head = BoxHead(config.width)
        for part in (self.encoder, self.verification, self.prior_verification, self.decoder):  # DETR's initialization
            for parameter in part.parameters() if part else ():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def channels_last(self) -> GroundingNetwork:
        """The same with the backbone's weights laid out as convolutions like them: a third faster, rounded otherwise.

        Not the default, since on the way back through a saturated softmax that rounding is amplified (``Attention``).
        """
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def compile_parts(self) -> None:
        """Compile each part by itself; names of parameters stay. The number of queries and words may change."""
        for image_part in (self.backbone, self.encoder):
            image_part.compile()
        for query_part in (self.text, self.verification, self.decoder):
            query_part.compile(dynamic=True)

    def encode_images(self, images: Tensor, padding_mask: Tensor) -> ImageFeatures:
        """
        Args:
            images: (images, 3, size, size) float, normalized, zero where padded.
            padding_mask: (images, size, size) bool, True = padding; the rest is one rectangle.
        """
        size = self.config.image_size_px
        if images.shape[-2:] != (size, size):
            raise ValueError(f"images must be {size} x {size} (image_size_px), got {tuple(images.shape[-2:])}")
        with torch.no_grad() if self.frozen else nullcontext():
            features = self.input_projection(
                self.backbone(images, self.gradient_checkpointing)
            )  # (images, width, grid, grid)
            padding = compute_grid_padding(padding_mask, *features.shape[-2:])
            positions = compute_grid_positions(padding, self.config.width).to(features.dtype)
            padding = padding.flatten(1)
            tokens = features.flatten(2).transpose(1, 2)
            tokens = tokens + positions if self.config.add_position_to_features else tokens
            tokens = self.encoder(tokens, positions, padding, self.gradient_checkpointing)
        return ImageFeatures(tokens=tokens, positions=positions, padding=padding)

    def decode_boxes(
        self,
        image: ImageFeatures,
        text: Tensor,
        token_mask: Tensor,
        query_image: Tensor,
        prior: Tensor | None = None,
        prior_mask: Tensor | None = None,
    ) -> GroundingOutput:
        """The boxes of all stages from encoded images and words; shapes as in ``forward``."""
        text_padding = ~token_mask
        prior = None if prior is None else prior * self.config.prior_scale
        verification_inputs = (image.tokens, image.padding, text, text_padding, query_image)
        features, scores = run_checkpointed(
            self.verification, *verification_inputs, gradient_checkpointing=self.gradient_checkpointing
        )
        appearance: AppearanceEmbeddings | None = None
        if self.prior_verification is not None and prior is not None:
            score, appearance = self.prior_verification(image.tokens, prior, prior_mask, query_image)
            features, scores = features * score[..., None], scores * score
        padding = image.padding[query_image]
        image_inputs = (features + image.positions[query_image], image.tokens[query_image], padding)
        target = self.decoder.compute_initial_target(text, prior, prior_mask)
        boxes = self.box_head(self.decoder(target, (text, text_padding), image_inputs, self.gradient_checkpointing))
        return GroundingOutput(boxes=boxes, scores=scores, padding=padding, appearance=appearance)

    def forward(
        self,
        images: Tensor,
        padding_mask: Tensor,
        token_ids: Tensor,
        token_mask: Tensor,
        query_image: Tensor,
        prior: Tensor | None = None,
        prior_mask: Tensor | None = None,
    ) -> GroundingOutput:
        """
        Args:
            images: (images, 3, size, size) float, normalized, zero where padded.
            padding_mask: (images, size, size) bool, True = padding.
            token_ids: (queries, length) int64, padded to the longest.
            token_mask: (queries, length) bool, True = a real token.
            query_image: (queries,) int64, the image of each query.
            prior: (queries, prior_dim) or None for none at all.
            prior_mask: (queries,) bool, False where a query has no prior.
        """
        image = self.encode_images(images, padding_mask)
        text = run_checkpointed(
            self.text, token_ids, token_mask, self.frozen, gradient_checkpointing=self.gradient_checkpointing
        )
        return self.decode_boxes(image, text, token_mask, query_image, prior, prior_mask)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config.to_json(), indent=1))
        write_safetensors(self.state_dict(), folder / "model.safetensors")

    @staticmethod
    def from_pretrained(folder: Path) -> GroundingNetwork:
        """The network that ``save_pretrained`` wrote, in evaluation mode.

        Raises:
            TrainerError: the folder is missing or damaged, or its weights do not fit its configuration.
        """
        path = folder / "config.json"
        try:
            config = NetworkConfig.from_json(json.loads(path.read_text()), str(path))
        except FileNotFoundError as error:
            raise TrainerError(f"{path} does not exist; give a folder that training has saved") from error
        except ValueError as error:
            raise TrainerError(f"{path} is damaged: {error}") from error
        network = GroundingNetwork(config)
        load_strictly(network, read_safetensors(folder / "model.safetensors"), str(folder / "model.safetensors"))
        return network.channels_last().eval()
