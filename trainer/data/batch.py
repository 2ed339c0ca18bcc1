"""Query groups to tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from shards.boxes import Box
from shards.schema import Query, Sample
from trainer.data.config import AugmentationConfig
from trainer.data.dataset import Samples, decode_image
from trainer.data.exemplars import NO_EXEMPLARS, ExemplarSampler
from trainer.data.processor import Processor
from trainer.data.sampler import QueryGroup
from trainer.data.transforms import TransformedSample, transform_for_evaluation, transform_for_training
from trainer.errors import TrainerError
from trainer.model.inputs import NetworkInputs, QueryInputs

WHOLE_CANVAS = (0.5, 0.5, 1.0, 1.0)
"""Box, cxcywh as fractions of the canvas, in the place of the box of a query without a target; no loss reads it."""

MIN_INSTANCE_SHARE = 0.5
"""Share of an instance's area that a crop of the image must leave, for the appearance losses."""


@dataclass(frozen=True, kw_only=True)
class EvaluationQuery:
    """A query of a batch with its ground truth."""

    key: str
    """Key of the sample."""

    size: tuple[int, int]
    """Width and height of the image in pixels."""

    num_distractors: int | None
    """Number of other objects of the target's category; None if unknown."""

    category: str
    """Category of the target; empty if unknown."""

    query: Query
    """Query with its target box."""

    position: tuple[int, int]
    """Position (sample, query) in the data."""

    image_categories: frozenset[str]
    """Categories of the image's objects; empty if some of these may be missing."""


class ExemplarTargets(NamedTuple):
    """What training with exemplars adds to the targets of a batch: the kinds of queries, and instances with crops."""

    is_exemplar: Tensor
    """Mask (queries,) bool, True = an exemplar query, False = a query of the data."""

    is_whole: Tensor
    """Mask (queries,) bool, True = a query of the data with all of its words."""

    boxes: Tensor
    """Boxes (instances, 4) float32 of the images' instances, cxcywh as fractions of the canvas."""

    instance_image: Tensor
    """Index (instances,) int64 of each instance's image in the batch."""

    crops: Tensor
    """Features (instances, prior_dim) float32 of the instances' centered crops."""


class SetTargets(NamedTuple):
    """All targets of the queries of a batch, for networks with several target tokens."""

    boxes: Tensor
    """Boxes (all targets, 4) float32, cxcywh as fractions of the canvas, query after query."""

    counts: Tensor
    """Number (queries,) int64 of targets of each query."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and targets of one forward pass."""

    inputs: NetworkInputs
    """Inputs with images as uint8; ``Processor.normalize_inputs`` makes them ready for the network."""

    targets: Tensor
    """Boxes (queries, 4) float32, cxcywh as fractions of the canvas."""

    num_images: int
    """Number of images; the inputs may be padded to more, as with queries."""

    has_target: Tensor | None = None
    """Mask (queries,) bool, True = the query has a target; None if all have. ``targets`` has the whole canvas for the
    others."""

    num_without_target: int = 0
    """Number of queries without a target; the host knows it without reading tensors."""

    sets: SetTargets | None = None
    """All targets of each query; None for a network with one target token."""

    exemplars: ExemplarTargets | None = None
    """Further targets of training with exemplars."""

    num_exemplars: int = 0
    """Number of exemplar queries; the host knows it without reading tensors."""

    counts: bool = True
    """Flag that the loss counts. False for the placeholder of a process without a group in this part of a step."""

    ground_truth: tuple[EvaluationQuery, ...] = ()
    """Ground truth of each query, in evaluation only."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on ``device``."""
        return self._convert(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, from which a GPU copies beside its work; ``DataLoader`` calls this."""
        return self._convert(Tensor.pin_memory)

    def _convert(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            inputs=self.inputs.convert(function),
            targets=function(self.targets),
            has_target=None if self.has_target is None else function(self.has_target),
            sets=None if self.sets is None else SetTargets(*map(function, self.sets)),
            exemplars=None if self.exemplars is None else ExemplarTargets(*map(function, self.exemplars)),
        )


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Transformed image of a query group, with its queries and then its exemplar queries."""

    image: TransformedSample
    has_target: list[bool]
    """Whether each query has a target; those of the image are in order."""

    texts: list[str]
    priors: list[Tensor | None]
    num_exemplars: int
    sets: SetTargets
    """All targets of each query that the crop leaves; none without ``sets``."""

    instance_boxes: Tensor
    """Boxes (instances, 4) of the instances that the crop leaves."""

    crops: Tensor
    """Features (instances, prior_dim) of the same instances."""


@dataclass(frozen=True, kw_only=True)
class BatchBuilder:
    """Builder of batches; the random choices of a group follow from (seed, epoch, sample, queries)."""

    processor: Processor
    """Processor of the network."""

    canvas_px: int
    """Side of the network's canvas in pixels."""

    prior_dim: int | None
    """Number of features of a prior; None for a network without priors."""

    seed: int = 0
    """Seed of the augmentation, of the dropped priors and of the exemplar queries."""

    augmentation: AugmentationConfig | None = None
    """Augmentation of training; None for the transform of evaluation."""

    prior_dropout: float = 0.0
    """Probability in 0..1 that a query loses its prior."""

    min_images: int = 0
    """Number of images that the inputs of a batch are padded to; default 0, no padding. See ``NetworkInputs.pad``."""

    min_queries: int = 0
    """Number of queries that the inputs of a batch are padded to; default 0, no padding."""

    length_multiple: int = 1
    """Number of tokens whose multiples, and ``max_tokens``, are the lengths of queries; default 1, no padding."""

    sets: bool = False
    """Flag that batches have all targets of each query, for the training of a network with several target tokens."""

    exemplars: ExemplarSampler | None = None
    """Sampler of exemplar queries in training; None without them."""

    prior_permutation: Mapping[tuple[int, int], tuple[int, int]] | None = None
    """Map from (sample, query) to the query whose prior it gets; None: each query gets its own prior."""

    def build_batch(
        self, samples: Samples, groups: Sequence[QueryGroup], epoch: int = 0, keep_ground_truth: bool = False
    ) -> Batch:
        """Read, transform and stack query groups.

        Args:
            samples: samples of all runs.
            groups: at least one group.
            epoch: epoch, a part of the random seed.
            keep_ground_truth: keep the queries for evaluation.

        Raises:
            TrainerError: an image is damaged, or a prior has another dimension; names the sample.
        """
        read = [samples.read(group.sample) for group in groups]
        examples = [
            self._build_examples(samples, sample, group, epoch) for sample, group in zip(read, groups, strict=True)
        ]
        texts = [text for one in examples for text in one.texts]
        token_ids, token_mask = self.processor.tokenize(texts, self.length_multiple)
        prior, prior_mask = self._stack_priors([prior for one in examples for prior in one.priors])
        has_target = torch.tensor([has for one in examples for has in one.has_target])
        targets = torch.cat([one.image.targets for one in examples])
        if num_without_target := int((~has_target).sum()):
            targets = (
                targets.new_tensor(WHOLE_CANVAS).repeat(len(texts), 1).masked_scatter(has_target[:, None], targets)
            )
        return Batch(
            inputs=NetworkInputs(
                images=torch.stack([one.image.canvas for one in examples]),
                padding=torch.stack([one.image.padding for one in examples]),
                queries=QueryInputs(
                    token_ids=token_ids,
                    token_mask=token_mask,
                    query_image=_repeat_numbers([len(one.texts) for one in examples]),
                    prior=prior,
                    prior_mask=prior_mask,
                    has_place=self.processor.find_places(texts),
                ),
            ).pad(self.min_images, self.min_queries),
            targets=targets,
            num_images=len(examples),
            has_target=has_target if num_without_target else None,
            num_without_target=num_without_target,
            sets=SetTargets(*map(torch.cat, zip(*(one.sets for one in examples), strict=True))) if self.sets else None,
            exemplars=None if self.exemplars is None else _stack_exemplar_targets(examples),
            num_exemplars=sum(one.num_exemplars for one in examples),
            ground_truth=_collect_ground_truth(read, groups) if keep_ground_truth else (),
        )

    def _build_examples(self, samples: Samples, sample: Sample, group: QueryGroup, epoch: int) -> _Examples:
        seed = f"{self.seed}/{epoch}/{sample.key}/{group.queries}"
        random, exemplar_random = Random(seed), Random(f"{seed}/exemplars")
        exemplars = NO_EXEMPLARS
        if self.exemplars is not None:
            exemplars = self.exemplars.sample(group.sample, sample, exemplar_random)
        queries = [sample.queries[i] for i in group.queries]
        has_target = [bool(query.boxes_xyxy) for query in queries] + [True] * len(exemplars.queries)
        exemplar_boxes = [sample.instances[one.instance].box_xyxy for one in exemplars.queries]
        targets = [query.box_xyxy for query in queries if query.boxes_xyxy] + exemplar_boxes
        sets = [query.boxes_xyxy for query in queries] + [(box,) for box in exemplar_boxes]
        sets = sets if self.sets else [() for _ in sets]
        set_boxes = [box for boxes in sets for box in boxes]
        instance_boxes = [sample.instances[i].box_xyxy for i in exemplars.instances]
        image = self._transform_image(
            decode_image(sample),
            targets + set_boxes + instance_boxes,
            [query.text for query in queries] + [one.text for one in exemplars.queries],
            len(targets),
            random,
        )
        counts = [len(set_boxes), len(instance_boxes)]
        of_sets, of_instances = torch.split(image.others, counts)
        in_sets, in_instances = torch.split(image.other_shares >= MIN_INSTANCE_SHARE, counts)
        set_query = _repeat_numbers([len(boxes) for boxes in sets])[in_sets]
        priors = [self._choose_prior(samples, sample, group.sample, i, random) for i in group.queries]
        texts = list(image.query_texts)
        if self.exemplars is not None:
            for i, query in enumerate(queries):
                category = "" if query.instance is None else sample.instances[query.instance].category
                if priors[i] is not None:
                    texts[i] = self.exemplars.mask_words(texts[i], category, exemplar_random)
        for one in exemplars.queries:  # where the words alone decide, an exemplar may be dropped as a prior
            is_dropped = one.is_whole and exemplar_random.random() < self.prior_dropout
            priors.append(None if is_dropped else torch.from_numpy(one.exemplar))
        return _Examples(
            image=image,
            has_target=has_target,
            texts=texts,
            priors=priors,
            num_exemplars=len(exemplars.queries),
            sets=SetTargets(boxes=of_sets[in_sets], counts=torch.bincount(set_query, minlength=len(sets))),
            instance_boxes=of_instances[in_instances],
            crops=torch.from_numpy(exemplars.crops)[in_instances],
        )

    def _transform_image(
        self,
        image: Image.Image,
        boxes_xyxy: Sequence[Box],
        query_texts: Sequence[str],
        num_targets: int,
        random: Random,
    ) -> TransformedSample:
        boxes = torch.tensor(boxes_xyxy, dtype=torch.float32).reshape(len(boxes_xyxy), 4)
        if self.augmentation is None:
            return transform_for_evaluation(image, boxes, query_texts, self.canvas_px)
        return transform_for_training(image, boxes, query_texts, self.canvas_px, self.augmentation, random, num_targets)

    def _choose_prior(self, samples: Samples, sample: Sample, number: int, query: int, random: Random) -> Tensor | None:
        """Return the prior (prior_dim,) of a query, or that of ``prior_permutation``; None if it is dropped."""
        if self.prior_dim is None:
            return None
        prior = self._read_prior(sample, query)
        if self.prior_permutation is not None:
            other, query = self.prior_permutation[number, query]
            prior = self._read_prior(samples.read(other), query)
        return None if prior is None or random.random() < self.prior_dropout else prior

    def _read_prior(self, sample: Sample, query: int) -> Tensor | None:
        """Return the prior (prior_dim,) float32 of a query; None if the sample has no priors."""
        if sample.priors is None:
            return None
        if sample.priors.shape[1] != self.prior_dim:
            raise TrainerError(
                f"sample {sample.key}: priors of {sample.priors.shape[1]} features, the network takes "
                f"{self.prior_dim}; pack the samples with priors of one image encoder"
            )
        return torch.from_numpy(sample.priors[query]).float()

    def _stack_priors(self, priors: Sequence[Tensor | None]) -> tuple[Tensor | None, Tensor | None]:
        """Return priors (queries, prior_dim) float32 and their mask (queries,); None without a prior branch."""
        if self.prior_dim is None:
            return None, None
        rows = [torch.zeros(self.prior_dim) if prior is None else prior for prior in priors]
        return torch.stack(rows), torch.tensor([prior is not None for prior in priors])


def _stack_exemplar_targets(examples: Sequence[_Examples]) -> ExemplarTargets:
    is_exemplar, is_whole = list[bool](), list[bool]()
    for one in examples:
        num_queries = len(one.texts) - one.num_exemplars
        is_exemplar += [i >= num_queries for i in range(len(one.texts))]
        is_whole += [i < num_queries and text == one.image.query_texts[i] for i, text in enumerate(one.texts)]
    return ExemplarTargets(
        is_exemplar=torch.tensor(is_exemplar),
        is_whole=torch.tensor(is_whole),
        boxes=torch.cat([one.instance_boxes for one in examples]),
        instance_image=_repeat_numbers([len(one.instance_boxes) for one in examples]),
        crops=torch.cat([one.crops for one in examples]),
    )


def _repeat_numbers(counts: Sequence[int]) -> Tensor:
    """Return each number 0, 1, ... as often as its count says."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _collect_ground_truth(read: Sequence[Sample], groups: Sequence[QueryGroup]) -> tuple[EvaluationQuery, ...]:
    return tuple(
        EvaluationQuery(
            key=sample.key,
            size=(sample.width, sample.height),
            num_distractors=sample.count_distractors(query),
            category="" if query.instance is None else sample.instances[query.instance].category,
            query=query,
            position=(group.sample, i),
            image_categories=frozenset(
                instance.category for instance in sample.instances if instance.category and sample.has_all_instances
            ),
        )
        for sample, group in zip(read, groups, strict=True)
        for i, query in ((i, sample.queries[i]) for i in group.queries)
    )
