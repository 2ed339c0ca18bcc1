"""Configurations of the preparation and the augmentation of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pipeline import LimitedConfig, NotNegativeFloat, NotNegativeInt, PositiveInt, Range, Share

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ProcessorConfig(LimitedConfig):
    """Settings for the preparation of images and queries."""

    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of each channel in 0..1, as in the backbone's training."""

    image_std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of each channel, positive."""

    max_tokens: Annotated[int, Range(3)] = 40
    """Largest number of tokens of a query, at least 3; longer queries are cut."""

    known_words: tuple[str, ...] = ()
    """Words of queries that the network reads, in lower case; it reads others as the tokenizer's unknown word. Default
    none: it reads all words."""

    training_words: tuple[str, ...] = ()
    """Words of the queries of the training, in lower case, if the network reads others, too. ``trainer.train`` records
    them, and predictions name other words. Default none: they are not recorded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.image_std) <= 0:
            raise ValueError(f"image_std must be positive, got {self.image_std}")


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(LimitedConfig):
    """Augmentation of training images. Lengths are fractions of the canvas; on 640 px they are the published ones."""

    long_sides: tuple[float, ...] = tuple(side / 640 for side in range(448, 641, 32))
    """Lengths of the long side, in 0..1; one is drawn for each image."""

    crop_probability: Share = 0.5
    """Probability of a crop, in 0..1."""

    short_sides: tuple[float, ...] = (400 / 640, 500 / 640, 600 / 640)
    """Lengths of the short side before a crop; one is drawn for each crop."""

    crop_sides: tuple[float, float] = (384 / 640, 600 / 640)
    """Smallest and largest side of a crop."""

    min_crop_iou: Share = 0.5
    """Smallest IoU in 0..1 of each target with its part inside a crop."""

    jitter: Share = 0.4
    """Largest change of brightness, contrast and saturation: a factor in 1 - jitter .. 1 + jitter."""

    jitter_probability: Share = 0.8
    """Probability of the color jitter, in 0..1."""

    flip_probability: Share = 0.5
    """Probability of mirroring the image, in 0..1."""

    random_placement: bool = True
    """Flag to place the image at random on the canvas; False: centered."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.long_sides or not 0 < min(self.long_sides) <= max(self.long_sides) <= 1:
            raise ValueError(f"long_sides must be fractions of the canvas in 0..1, got {self.long_sides}")
        if not 0 < self.crop_sides[0] <= self.crop_sides[1]:
            raise ValueError(f"crop_sides must be a smallest and a largest side, got {self.crop_sides}")


@dataclass(frozen=True, kw_only=True)
class ExemplarConfig(LimitedConfig):
    """Training with exemplars: queries about annotated instances, whose prior is a crop's feature, and their losses.

    The defaults were chosen on the miniature world.
    """

    max_queries: NotNegativeInt = 2
    """Largest number of exemplar queries about one image in a step; fewer if too few instances are unambiguous."""

    category_share: Share = 0.35
    """Share of exemplar queries about a category in general ("the cup"); their exemplar is a mean over instances."""

    category_instances: PositiveInt = 5
    """Number of instances in that mean."""

    borrowed_share: Share = 0.5
    """Share of the other exemplar queries whose exemplar is the crop of an alike instance of another image, if any of
    ``borrowed_candidates`` is alike."""

    borrowed_candidates: PositiveInt = 64
    """Number of instances of the category, drawn at random, among which alike ones are searched."""

    min_alike_cosine: float = 0.8
    """Cosine of two crops, less the mean feature, above which their instances count as alike."""

    use_places: bool = True
    """Flag to tell instances that look alike apart by their places ("left cup", "second [UNK] one from the right")."""

    masked_share: Share = 0.5
    """Share of the queries with a prior in which words that the prior shows are replaced by the unknown word."""

    appearance_mask_probability: Share = 0.7
    """Probability in 0..1 that a word of ``appearance_words`` is replaced in such a query."""

    category_mask_probability: Share = 0.2
    """Probability in 0..1 that the target's category is replaced in such a query."""

    appearance_words: tuple[str, ...] = ()
    """Words in lower case that a prior shows, such as colors; ``make train`` takes the parser's."""

    limit_words: bool = False
    """Flag to read words that no training query has as the unknown word, in training and after it; see ``known_words``
    of the processor. It helps a text encoder that starts from random weights."""

    query_weight: NotNegativeFloat = 0.5
    """Weight of an exemplar query's losses, relative to a query's."""

    appearance_loss_weight: NotNegativeFloat = 0.3
    """Weight of ``compute_appearance_losses``."""
