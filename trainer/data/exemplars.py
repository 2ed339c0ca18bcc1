"""Exemplar queries: queries about annotated instances, whose prior is the feature of a crop that looks alike.

They train the network to find what looks like a CLIP feature, from all instances of the training images instead of the
queried ones alone. "[UNK] cup" with the feature of a pink cup is a query about the pink cup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import numpy.typing as npt

from shards.crop_features import CropFeatures
from shards.schema import Sample
from trainer.data.config import ExemplarConfig
from trainer.data.dataset import Samples
from trainer.data.places import PLACE_WORDS, list_place_wordings
from trainer.data.spatial_words import swap_left_right
from trainer.data.words import find_words, replace_words
from trainer.errors import TrainerError

Features = npt.NDArray[np.float32]

WORDINGS = ("{name}", "the {name}")
"""Wordings of a query about the only instance of its kind."""

NAMES_OF_CATEGORY = ("{unknown} {category}", "{unknown} {unknown} {category}")
"""Names of instances of a category that look alike."""

NAMES = ("{unknown} one", "{unknown} {unknown}", "{unknown} {unknown} one")
"""Names of instances that look alike, of any category."""


class TrainingCrops:
    """Crop features of the training images, and the instances of each category; crowds do not count.

    Args:
        samples: training samples of all runs.
        runs: crop features of each run. The instances of samples without crop features are not exemplars.

    Raises:
        TrainerError: the crop features are of other samples, or there are none.
    """

    def __init__(self, samples: Samples, runs: Sequence[CropFeatures]) -> None:
        self._samples, self._runs = samples, list(runs)
        self.dim = max(run.dim for run in runs)
        """Length of a feature."""

        self._of_category: dict[str, list[tuple[int, int]]] = {}
        totals, self.num_instances = [], 0
        for number in range(len(samples)):
            crops, instances = self.read(number), samples.read_record(number)["instances"]
            if len(crops) not in (0, len(instances)):
                raise TrainerError(
                    f"sample {samples.get_key(number)} has {len(instances)} instances, its crop features are of "
                    f"{len(crops)}; run `make crop-features` again"
                )
            kept = [i for i in range(len(crops)) if not instances[i]["is_crowd"]]
            for i in kept:
                self._of_category.setdefault(instances[i]["category"], []).append((number, i))
            totals.append(crops[kept].mean(1).sum(0, dtype=np.float64))
            self.num_instances += len(kept)
        if not self.num_instances:
            raise TrainerError("no training image has crop features of instances; run `make crop-features`")
        self.mean_feature: Features = np.asarray(np.sum(totals, 0) / self.num_instances, np.float32)
        """Mean over all instances and views (dim,)."""

    def read(self, number: int) -> Features:
        """Read the crop features (instances, views, dim) of a sample; without instances if it has none."""
        run, key = self._runs[self._samples.find_run(number)], self._samples.get_key(number)
        if key not in run:
            return np.zeros((0, 1, self.dim), np.float32)
        return run.read(key).astype(np.float32)

    def sample_instances(self, category: str, count: int, random: Random) -> list[tuple[int, int]]:
        """Sample at most ``count`` different instances (sample, instance) of a category."""
        instances = self._of_category.get(category, [])
        return random.sample(instances, min(count, len(instances)))

    def sample_view(self, number: int, instance: int, random: Random) -> Features:
        """Sample the feature (dim,) of one view of an instance."""
        views = self.read(number)[instance]  # (views, dim)
        return np.asarray(random.choice(views))

    def compute_cosines(self, first: Features, second: Features) -> Features:
        """Compute the cosines (n, m) of features (n, dim) and (m, dim), less the mean feature."""
        first, second = (features - self.mean_feature for features in (first, second))
        lengths = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
        return np.asarray(first @ second.T / np.maximum(lengths, 1e-6), np.float32)


@dataclass(frozen=True, kw_only=True)
class ExemplarQuery:
    """Query about an instance, and its exemplar."""

    instance: int
    """Index of the target in the sample's instances."""

    text: str
    """Text, with the tokenizer's unknown word for what the exemplar shows."""

    exemplar: Features
    """CLIP feature (dim,) that looks like the target."""

    is_whole: bool
    """Whether the words alone decide, and the exemplar may be left out as a prior."""


@dataclass(frozen=True, kw_only=True)
class ImageExemplars:
    """Exemplar queries about one image, and its instances with their crops."""

    queries: Sequence[ExemplarQuery] = ()
    """Exemplar queries."""

    instances: Sequence[int] = ()
    """Indices of the sample's instances that have a crop and are no crowd."""

    crops: Features = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """Features (instances, dim) of their centered crops."""


NO_EXEMPLARS = ImageExemplars()


@dataclass(frozen=True, kw_only=True)
class ExemplarSampler:
    """Sampler of exemplar queries, and of the words that queries with a prior leave to it."""

    crops: TrainingCrops
    """Crop features of training."""

    config: ExemplarConfig
    """Numbers, shares and probabilities."""

    unknown_word: str
    """Unknown word of the tokenizer, such as ``[UNK]``."""

    def sample(self, number: int, sample: Sample, random: Random) -> ImageExemplars:
        """Sample exemplar queries about one image, each with an unambiguous target, in random order.

        Args:
            number: number of the sample in the training samples.
            sample: the sample.
            random: source of all random choices.
        """
        crops = self.crops.read(number)
        instances = [i for i in range(len(crops)) if not sample.instances[i].is_crowd]
        cosines = self.crops.compute_cosines(crops[:, 0], crops[:, 0])
        queries: list[ExemplarQuery] = []
        for i in random.sample(instances, len(instances)):
            if len(queries) == self.config.max_queries:
                break
            if random.random() < self.config.category_share:
                query = self._sample_category_query(sample, i, random)
            else:
                query = self._sample_instance_query(number, sample, i, crops, cosines[i], random)
            queries += [query] if query else []
        return ImageExemplars(queries=queries, instances=instances, crops=crops[instances, 0])

    def _sample_category_query(self, sample: Sample, i: int, random: Random) -> ExemplarQuery | None:
        """Sample a query about the category of instance ``i``, and its place among others of it."""
        category = sample.instances[i].category
        alike = [j for j, instance in enumerate(sample.instances) if instance.category == category]
        wordings = self._list_wordings(sample, i, alike)
        if not category or not wordings:
            return None
        chosen = self.crops.sample_instances(category, self.config.category_instances, random)
        views = [self.crops.sample_view(number, j, random) for number, j in chosen]
        text = random.choice(wordings).format(name=category)
        return ExemplarQuery(instance=i, text=text, exemplar=np.mean(views, axis=0), is_whole=True)

    def _sample_instance_query(
        self, number: int, sample: Sample, i: int, crops: Features, cosines: Features, random: Random
    ) -> ExemplarQuery | None:
        """Sample a query about the appearance of instance ``i``, and its place among others that look alike."""
        category = sample.instances[i].category
        names_category = bool(category) and random.random() < 0.5
        alike = [
            j
            for j, instance in enumerate(sample.instances)
            if j == i  # also where its crop is the mean, which has no direction
            or (cosines[j] > self.config.min_alike_cosine and (not names_category or instance.category == category))
        ]
        wordings = self._list_wordings(sample, i, alike)
        if not wordings:
            return None
        name = random.choice(NAMES_OF_CATEGORY if names_category else NAMES)
        text = random.choice(wordings).format(name=name.format(category=category, unknown=self.unknown_word))
        source = (number, i)
        if random.random() < self.config.borrowed_share:
            source = self._sample_alike_instance(number, category, crops[i, :1], random) or source
        exemplar = self.crops.sample_view(*source, random)
        return ExemplarQuery(instance=i, text=text, exemplar=exemplar, is_whole=False)

    def _list_wordings(self, sample: Sample, i: int, alike: Sequence[int]) -> Sequence[str]:
        """List wordings, with ``{name}``, that tell instance ``i`` from the others of ``alike``; none if none do."""
        if len(alike) == 1:
            return WORDINGS
        instances = [sample.instances[j] for j in alike]
        if not (self.config.use_places and sample.has_all_instances) or any(one.is_crowd for one in instances):
            return ()
        boxes = [one.box_xyxy for one in instances]
        centers = [((x1 + x2) / 2 / sample.width, (y1 + y2) / 2 / sample.height) for x1, y1, x2, y2 in boxes]
        return list_place_wordings(centers, alike.index(i))

    def _sample_alike_instance(
        self, number: int, category: str, crop: Features, random: Random
    ) -> tuple[int, int] | None:
        """Sample an instance of another image that looks like a crop (1, dim); None if no candidate does."""
        chosen = self.crops.sample_instances(category, self.config.borrowed_candidates, random)
        others = [(other, j) for other, j in chosen if other != number]
        if not others:
            return None
        cosines = self.crops.compute_cosines(crop, np.stack([self.crops.read(other)[j, 0] for other, j in others]))[0]
        alike = [one for one, cosine in zip(others, cosines, strict=True) if cosine > self.config.min_alike_cosine]
        return random.choice(alike) if alike else None

    def mask_words(self, text: str, category: str, random: Random) -> str:
        """Replace words that a prior shows by the unknown word, in a share of the queries.

        Args:
            text: query with a prior.
            category: category of the target; empty if unknown.
            random: source of all random choices.
        """
        config = self.config
        if random.random() >= config.masked_share:
            return text
        appearance, category_words = frozenset(config.appearance_words), find_words(category)

        def mask(word: str) -> str | None:
            in_category = word in category_words
            if not in_category and word not in appearance:
                return None
            probability = config.category_mask_probability if in_category else config.appearance_mask_probability
            return self.unknown_word if random.random() < probability else None

        return replace_words(text, mask)


def find_training_words(samples: Samples, *, with_exemplars: bool = True) -> list[str]:
    """Return the words of all queries, and of exemplar queries and their categories, sorted, also mirrored ones."""
    texts = {"the one", *PLACE_WORDS} if with_exemplars else set()
    for number in range(len(samples)):
        record = samples.read_record(number)
        texts.update(query["text"] for query in record["queries"])
        texts.update(instance["category"] for instance in record["instances"] if with_exemplars)
    return sorted({word for text in texts for form in (text, swap_left_right(text)) for word in find_words(form)})
