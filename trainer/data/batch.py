"""Query groups to tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from shards.schema import Query, Sample
from trainer.data.config import AugmentationConfig
from trainer.data.dataset import Samples, decode_image
from trainer.data.processor import Processor
from trainer.data.sampler import QueryGroup
from trainer.data.transforms import TransformedSample, transform_for_evaluation, transform_for_training
from trainer.errors import TrainerError
from trainer.model.inputs import NetworkInputs, QueryInputs


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


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and targets of one forward pass."""

    inputs: NetworkInputs
    """Inputs with images as uint8; ``Processor.normalize_inputs`` makes them ready for the network."""

    targets: Tensor
    """Boxes (queries, 4) float32, cxcywh as fractions of the canvas."""

    counts: bool = True
    """Flag that the loss counts. False for the placeholder of a process without a group in this part of a step."""

    ground_truth: tuple[EvaluationQuery, ...] = ()
    """Ground truth of each query, in evaluation only."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on ``device``."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, from which a GPU copies beside its work; ``DataLoader`` calls this."""
        return replace(self, inputs=self.inputs.convert(Tensor.pin_memory), targets=self.targets.pin_memory())


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
    """Seed of the augmentation and of the dropped priors."""

    augmentation: AugmentationConfig | None = None
    """Augmentation of training; None for the transform of evaluation."""

    prior_dropout: float = 0.0
    """Probability in 0..1 that a query loses its prior."""

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
        randoms = [
            Random(f"{self.seed}/{epoch}/{sample.key}/{group.queries}")
            for sample, group in zip(read, groups, strict=True)
        ]
        transformed = [self._transform_sample(*triple) for triple in zip(read, groups, randoms, strict=True)]
        counts = torch.tensor([len(group.queries) for group in groups])
        token_ids, token_mask = self.processor.tokenize([text for item in transformed for text in item.query_texts])
        prior, prior_mask = self._collect_priors(samples, read, groups, randoms)
        return Batch(
            inputs=NetworkInputs(
                images=torch.stack([item.canvas for item in transformed]),
                padding=torch.stack([item.padding for item in transformed]),
                queries=QueryInputs(
                    token_ids=token_ids,
                    token_mask=token_mask,
                    query_image=torch.arange(len(groups)).repeat_interleave(counts),
                    prior=prior,
                    prior_mask=prior_mask,
                ),
            ),
            targets=torch.cat([item.targets for item in transformed]),
            ground_truth=_collect_ground_truth(read, groups) if keep_ground_truth else (),
        )

    def _transform_sample(self, sample: Sample, group: QueryGroup, random: Random) -> TransformedSample:
        image = decode_image(sample)
        queries = [sample.queries[i] for i in group.queries]
        boxes = torch.tensor([query.box_xyxy for query in queries], dtype=torch.float32)
        query_texts = [query.text for query in queries]
        if self.augmentation is None:
            return transform_for_evaluation(image, boxes, query_texts, self.canvas_px)
        return transform_for_training(image, boxes, query_texts, self.canvas_px, self.augmentation, random)

    def _collect_priors(
        self, samples: Samples, read: Sequence[Sample], groups: Sequence[QueryGroup], randoms: Sequence[Random]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return priors (queries, prior_dim) float32 and their mask (queries,); None without a prior branch."""
        if self.prior_dim is None:
            return None, None
        rows, mask = [], []
        for sample, group, random in zip(read, groups, randoms, strict=True):
            for i in group.queries:
                row = self._read_prior(sample, i)
                if self.prior_permutation is not None:
                    other, number = self.prior_permutation[group.sample, i]
                    row = self._read_prior(samples.read(other), number)
                mask.append(row is not None and random.random() >= self.prior_dropout)
                rows.append(torch.zeros(self.prior_dim) if row is None else row)
        return torch.stack(rows), torch.tensor(mask)

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
