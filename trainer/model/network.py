"""The grounding network: images and referring expressions in, one box per expression and decoder stage out.

ResVG (ACM MM 2024) is VLTVG (CVPR 2022) with a target token that starts from a semantic prior. Each image is encoded
once for all of its queries.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.backbone import ResNet
from trainer.model.config import NetworkConfig
from trainer.model.decoder import Decoder
from trainer.model.exemplar_scoring import ExemplarScoring
from trainer.model.inputs import NetworkInputs, QueryInputs
from trainer.model.position_encoding import compute_grid_padding, compute_grid_positions
from trainer.model.state_dict import load_strictly, read_safetensors, write_safetensors
from trainer.model.text_encoder import TextEncoder
from trainer.model.transformers_backbone import TransformersBackbone
from trainer.model.verification import Verification
from trainer.model.visual_encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """Encoded images, shared by all of their queries."""

    tokens: Tensor
    """Features (images, features, width)."""

    positions: Tensor
    """Position encodings (images, features, width)."""

    padding: Tensor
    """Mask (images, features) bool, True = padding."""

    appearance: Tensor | None = None
    """Appearance (images, features, prior_dim) float32, length 1; None without exemplar scoring."""


class AppearanceOutput(NamedTuple):
    """Output of the network that only training with exemplars takes."""

    text_scores: Tensor
    """Verification scores (queries, features) by the words alone."""

    features: Tensor
    """Appearance (images, features, prior_dim) float32, length 1."""

    padding: Tensor
    """Mask (images, features) bool, True = padding."""


class TokenOutput(NamedTuple):
    """Output of several target tokens."""

    boxes: Tensor
    """Boxes (stages, queries, tokens, 4) float32, cxcywh as fractions of the canvas."""

    presence: Tensor
    """Log odds (queries, tokens) float32 that the last stage's boxes are targets."""


class GroundingOutput(NamedTuple):
    """Output of the grounding network."""

    boxes: Tensor
    """Boxes (stages, queries, 4) float32, cxcywh as fractions of the canvas; the last stage's are the prediction. Of
    several target tokens, those of the most probable one."""

    scores: Tensor
    """Verification scores (queries, features): the match of each image feature with the query."""

    padding: Tensor
    """Mask (queries, features) bool, True = padding."""

    appearance: AppearanceOutput | None = None
    """Further output of exemplar scoring; None without it."""

    presence: Tensor | None = None
    """Log odds (queries,) float32 that the image has a target; None without a presence head."""

    tokens: TokenOutput | None = None
    """Output of each target token; None of a single one."""

    def trim(self, num_images: int, num_queries: int) -> GroundingOutput:
        """Return the output of the first images and queries; see ``NetworkInputs.pad``."""
        appearance, tokens = self.appearance, self.tokens
        if appearance is not None:
            appearance = AppearanceOutput(
                appearance.text_scores[:num_queries], appearance.features[:num_images], appearance.padding[:num_images]
            )
        return GroundingOutput(
            boxes=self.boxes[:, :num_queries],
            scores=self.scores[:num_queries],
            padding=self.padding[:num_queries],
            appearance=appearance,
            presence=None if self.presence is None else self.presence[:num_queries],
            tokens=None
            if tokens is None
            else TokenOutput(tokens.boxes[:, :num_queries], tokens.presence[:num_queries]),
        )


class BoxHead(nn.Module):
    """Perceptron of three layers; its boxes are cxcywh as fractions of the canvas."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        result: Tensor = self.layers[-1](x).float().sigmoid()
        return result


class GroundingNetwork(nn.Module):
    """Grounding network: ``encode_images`` once, then ``predict`` for any queries; ``forward`` does both."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.frozen = False
        """Flag of the first epochs: no gradients in backbone, input projection, visual encoder and text encoder."""

        self.gradient_checkpointing = False
        """Flag to recompute the activations of each part in the backward pass instead of keeping them."""

        self.backbone = TransformersBackbone(config.vision) if config.vision else ResNet(config.backbone)
        self.input_projection = nn.Conv2d(self.backbone.width, config.width, 1)
        self.encoder = Encoder(config)
        self.text = TextEncoder(config)
        self.verification = Verification(config)
        self.decoder = Decoder(config)
        self.box_head = BoxHead(config.width)
        self.presence_head = nn.Linear(config.width, 1) if config.presence else None
        self.exemplar_scoring: ExemplarScoring | None = None
        if config.exemplar_scoring is not None:
            self.exemplar_scoring = ExemplarScoring(config.exemplar_scoring, config.width, config.prior_dim)
        for part in (self.encoder, self.verification, self.decoder):  # DETR's initialization
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def use_channels_last(self) -> GroundingNetwork:
        """Lay out the backbone's weights channels-last, and return the network.

        The backbone becomes a third faster and rounds differently. This is not the default, because a saturated softmax
        amplifies that rounding in the gradients (see ``Attention``).
        """
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def compile_parts(self, backend: str = "inductor", **options: Any) -> None:
        """Compile what repeats: blocks and layers of one kind share their code, so each kind is compiled once.

        Parameter names stay. The first other number of images, queries or words compiles again, for any number; with
        ``dynamic=False``, each other number compiles again, for this number.

        Args:
            backend: backend of ``torch.compile``.
            options: further arguments of ``torch.compile``.
        """
        # A kind of block or layer has variants: eight shapes of blocks, each for training and evaluation.
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
        compile_code = partial(torch.compile, backend=backend, **options)
        if isinstance(self.backbone, ResNet):
            self.backbone.compute_stem = compile_code(self.backbone.compute_stem)  # type: ignore[method-assign]
        stages = chain(*self.backbone.stages) if isinstance(self.backbone, ResNet) else [self.backbone]
        layers = [*stages, *self.encoder.layers, *self.text.find_layers(), *self.decoder.layers]
        for part in (*layers, self.verification, self.exemplar_scoring, self.box_head):
            if part is not None:
                part.forward = compile_code(part.forward)

    def encode_images(self, images: Tensor, padding_mask: Tensor) -> ImageFeatures:
        """Encode images, independently of any query.

        Args:
            images: (images, 3, size, size) float, normalized, zero on padding.
            padding_mask: (images, size, size) bool, True = padding; the rest is one rectangle. Without
                ``mask_padding``, the network takes the padding for a part of the image.

        Raises:
            ValueError: the images are not of the configured size.
        """
        size = self.config.image_size_px
        if images.shape[-2:] != (size, size):
            raise ValueError(f"images must be {size} x {size} (image_size_px), got {tuple(images.shape[-2:])}")
        if not self.config.mask_padding:
            padding_mask = torch.zeros_like(padding_mask)
        with torch.no_grad() if self.frozen else nullcontext():
            features = self.backbone(images, self.gradient_checkpointing)
            features = self.input_projection(features)  # (images, width, grid, grid)
            padding = compute_grid_padding(padding_mask, *features.shape[-2:])
            positions = compute_grid_positions(padding, self.config.width).to(features.dtype)
            padding = padding.flatten(1)
            tokens = features.flatten(2).transpose(1, 2)
            tokens = tokens + positions if self.config.add_position_to_features else tokens
            tokens = self.encoder(tokens, positions, padding, self.gradient_checkpointing)
        scoring = self.exemplar_scoring
        appearance = None if scoring is None else scoring.compute_appearance(tokens)
        return ImageFeatures(tokens=tokens, positions=positions, padding=padding, appearance=appearance)

    def predict(self, image: ImageFeatures, queries: QueryInputs) -> GroundingOutput:
        """Predict the boxes of queries about encoded images, for every decoder stage."""
        token_ids, token_mask, query_image, prior, prior_mask, has_place = queries
        checkpointing = self.gradient_checkpointing
        text = run_checkpointed(
            self.text, token_ids, token_mask, self.frozen, gradient_checkpointing=checkpointing
        )  # (queries, length, width)
        text_padding = ~token_mask
        verification_inputs = (image.tokens, image.padding, text, text_padding, query_image)
        features, scores = run_checkpointed(
            self.verification, *verification_inputs, gradient_checkpointing=checkpointing
        )  # (queries, features, width), (queries, features)
        appearance: AppearanceOutput | None = None
        if self.exemplar_scoring is not None and image.appearance is not None:
            appearance = AppearanceOutput(text_scores=scores, features=image.appearance, padding=image.padding)
            if prior is not None:
                score = self.exemplar_scoring(
                    image.appearance, image.padding, prior, prior_mask, has_place, query_image
                )
                features, scores = features * score[..., None].to(features.dtype), scores * score.to(scores.dtype)
        padding = image.padding[query_image]
        image_inputs = (features + image.positions[query_image], image.tokens[query_image], padding)
        target = self.decoder.compute_initial_target(text, prior, prior_mask)
        tokens = self.decoder(target, (text, text_padding), image_inputs, checkpointing)  # (stages, queries, width)
        boxes, several = self.box_head(tokens), None
        presence = None if self.presence_head is None else self.presence_head(tokens[-1]).float().squeeze(-1)
        if presence is not None and (num_tokens := self.config.num_target_tokens) > 1:
            several = TokenOutput(boxes.unflatten(1, (-1, num_tokens)), presence.unflatten(0, (-1, num_tokens)))
            presence, best = several.presence.max(1)
            rows = best[None, :, None, None].expand(boxes.shape[0], -1, 1, 4)
            boxes = several.boxes.gather(2, rows).squeeze(2)
        return GroundingOutput(
            boxes=boxes, scores=scores, padding=padding, appearance=appearance, presence=presence, tokens=several
        )

    def forward(self, inputs: NetworkInputs) -> GroundingOutput:
        """Encode the images and predict the boxes of their queries."""
        return self.predict(self.encode_images(inputs.images, inputs.padding), inputs.queries)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config.to_json(), indent=1))
        write_safetensors(self.state_dict(), folder / "model.safetensors")

    @staticmethod
    def from_pretrained(folder: Path) -> GroundingNetwork:
        """Load a network that ``save_pretrained`` wrote, in evaluation mode.

        Raises:
            TrainerError: the folder is missing or damaged, or its weights do not fit its configuration.
        """
        network = GroundingNetwork(read_network_config(folder))
        load_strictly(network, read_safetensors(folder / "model.safetensors"), str(folder / "model.safetensors"))
        return network.use_channels_last().eval()


def read_network_config(folder: Path) -> NetworkConfig:
    """Read the configuration of a network that ``save_pretrained`` wrote.

    Raises:
        TrainerError: the folder is missing, damaged or of another kind of model.
    """
    path = folder / "config.json"
    try:
        return NetworkConfig.from_json(json.loads(path.read_text()), str(path))
    except FileNotFoundError as error:
        raise TrainerError(f"{path} does not exist; give a folder that training has saved") from error
    except ValueError as error:
        raise TrainerError(f"{path} is damaged: {error}") from error
