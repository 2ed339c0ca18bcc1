"""The exact stream: which queries are asked when, as a function of (seed, epoch) alone, and the batches of it.

An epoch asks every query exactly once. A visit is an image with up to k of its queries; an image with more is visited
again. A step is B visits in the epoch's order, and rank r of n takes visits r, r + n, ... of each step, so the order
does not depend on the number of processes. State is (epoch, step): a step is made from these, not from what came
before. Where a run of samples has another share than 1, its endless sequence of passes, each an order of all its
visits, is cut into epochs of that share.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from random import Random
from typing import Any, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from shards.reader import PipelineError, SampleReader
from shards.schema import Query, Sample, SchemaError
from trainer.data.processor import Processor
from trainer.data.transforms import (
    AugmentationConfig,
    TransformedSample,
    transform_for_evaluation,
    transform_for_training,
)
from trainer.errors import TrainerError


class Samples:
    """Runs of samples, one after another."""

    def __init__(self, readers: Sequence[SampleReader]) -> None:
        self._readers = list(readers)
        self._ends = list(accumulate(len(reader) for reader in readers))
        self.runs = [[entry.num_queries for entry in reader.index] for reader in readers]
        """The number of queries of each sample of each run."""

        self.num_queries = [count for run in self.runs for count in run]
        """Of each sample."""

        if not sum(self.num_queries):
            raise TrainerError(f"no queries in {', '.join(str(reader.run) for reader in readers)}; nothing to do")

    def __len__(self) -> int:
        return len(self.num_queries)

    def read(self, i: int) -> Sample:
        """Sample ``i`` of all runs."""
        reader, number = self._locate(i)
        return reader.read(number)

    def key(self, i: int) -> str:
        """What sample ``i`` is called."""
        reader, number = self._locate(i)
        return reader.index[number].key

    def _locate(self, i: int) -> tuple[SampleReader, int]:
        number = bisect_right(self._ends, i)
        return self._readers[number], i - (self._ends[number - 1] if number else 0)

    def check_priors(self, prior_dim: int) -> None:
        """
        Raises:
            TrainerError: a run lacks the features of its priors, or they have another dimension.
        """
        for reader in self._readers:
            if not reader.has_priors:
                raise TrainerError(
                    f"{reader.run} holds samples without priors, which the network asks for; "
                    "pack it with its priors, or choose a network without (use_prior=False)"
                )
            priors = reader.read(0).priors
            if priors is not None and priors.shape[1] != prior_dim:
                raise TrainerError(
                    f"{reader.run} has priors of {priors.shape[1]} features, the network takes {prior_dim}; "
                    f"set the network's prior_dim to {priors.shape[1]}"
                )


@dataclass(frozen=True, kw_only=True)
class QueryGroup:
    """An image and the queries that are asked of it this time."""

    sample: int
    queries: tuple[int, ...]
    """Indices into the sample's queries."""


def group_queries(num_queries: Sequence[int], max_queries: int) -> list[QueryGroup]:
    """Every query once, in the order of samples and queries."""
    return [
        QueryGroup(sample=sample, queries=tuple(range(first, min(first + max_queries, count))))
        for sample, count in enumerate(num_queries)
        for first in range(0, count, max_queries)
    ]


def limit_mixing_ratios(
    runs: Sequence[Sequence[int]], max_queries: int, max_synthetic_fraction: float
) -> tuple[float, ...]:
    """Shares for ``EpochSampler`` with which the first run is asked whole and all others make at most
    ``max_synthetic_fraction`` of the
    visits, each by the same part of it."""
    real, *others = (count_groups(run, max_queries) for run in runs)
    allowed = real * max_synthetic_fraction / (1 - max_synthetic_fraction)
    return (1.0, *(min(1.0, allowed / sum(others)) for _ in others))


def count_groups(num_queries: Sequence[int], max_queries: int) -> int:
    """In a pass over a run of samples with so many queries each."""
    return sum(-(-count // max_queries) for count in num_queries)


@dataclass(frozen=True, kw_only=True)
class EpochSampler:
    """Which visits an epoch makes, in which order: a function of (seed, epoch) alone."""

    runs: Sequence[Sequence[int]]
    """The number of queries of each sample of each run."""

    mixing_ratios: Sequence[float] = ()
    """Of each run, how much of it an epoch asks; 1, all of it once, where not given. With 0.5 two epochs ask all of
    it once, with 2 an epoch asks all of it twice."""

    max_queries: int = 1
    seed: int = 0

    @property
    def groups_per_epoch(self) -> list[int]:
        """Visits of each run in an epoch."""
        mixing_ratios = self.mixing_ratios or [1.0] * len(self.runs)
        groups = [count_groups(run, self.max_queries) for run in self.runs]
        return [max(1, round(share * number)) for share, number in zip(mixing_ratios, groups, strict=True)]

    def epoch(self, epoch: int) -> list[QueryGroup]:
        """Its visits; samples are numbered through all runs."""
        groups: list[QueryGroup] = []
        first_sample = 0
        for number, (run, num_groups) in enumerate(zip(self.runs, self.groups_per_epoch, strict=True)):
            groups += self._slice_passes(number, first_sample, epoch * num_groups, (epoch + 1) * num_groups)
            first_sample += len(run)
        Random(f"{self.seed}/order/{epoch}").shuffle(groups)
        return groups

    def _slice_passes(self, run: int, first_sample: int, start: int, stop: int) -> list[QueryGroup]:
        """Visits ``start`` to ``stop`` of a run's endless sequence of passes."""
        groups: list[QueryGroup] = []
        number, begin = divmod(start, count_groups(self.runs[run], self.max_queries))
        while len(groups) < stop - start:
            groups += self._shuffle_pass(run, first_sample, number)[begin : begin + stop - start - len(groups)]
            number, begin = number + 1, 0
        return groups

    def _shuffle_pass(self, run: int, first_sample: int, number: int) -> list[QueryGroup]:
        """Every query of a run once."""
        random = Random(f"{self.seed}/run/{run}/pass/{number}")
        groups = []
        for sample, count in enumerate(self.runs[run], first_sample):
            order = list(range(count))
            random.shuffle(order)
            groups += [
                QueryGroup(sample=sample, queries=tuple(order[first : first + self.max_queries]))
                for first in range(0, count, self.max_queries)
            ]
        random.shuffle(groups)
        return groups


@dataclass(frozen=True, kw_only=True)
class EvaluationQuery:
    """A query of a batch with what is needed to judge its answer."""

    key: str
    """Of the sample."""

    size: tuple[int, int]
    """Width and height of its image."""

    num_distractors: int | None
    category: str
    """The target's; empty where it is not known."""

    query: Query
    position: tuple[int, int]
    """(sample, query): its place in the data."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors of one step; see ``GroundingNetwork.forward``."""

    canvases: Tensor
    """(images, 3, size, size) uint8"""

    padding: Tensor
    token_ids: Tensor
    token_mask: Tensor
    query_image: Tensor
    targets: Tensor
    """(queries, 4) cxcywh as shares of the canvas."""

    prior: Tensor | None
    """(queries, prior_dim) float32; None where the network takes none."""

    prior_mask: Tensor | None
    """(queries,) bool"""

    counts: bool = True
    """False for the stand-in of a process that has no visit in a part of a step."""

    ground_truth: tuple[EvaluationQuery, ...] = ()
    """Of an evaluation's batch."""

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        tensors: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)


@dataclass(frozen=True, kw_only=True)
class BatchBuilder:
    """How visits become tensors."""

    processor: Processor
    canvas_px: int
    prior_dim: int | None
    """None for a network without priors."""

    seed: int = 0
    augmentation: AugmentationConfig | None = None
    """None for the plain transform of evaluation."""

    prior_dropout: float = 0.0
    """Probability that a query goes without its prior."""

    prior_permutation: Mapping[tuple[int, int], tuple[int, int]] | None = None
    """(sample, query) to the one whose prior it gets; None: each gets its own."""

    def batch(
        self, samples: Samples, groups: Sequence[QueryGroup], epoch: int = 0, keep_ground_truth: bool = False
    ) -> Batch:
        """The tensors of some visits; what is random follows from (seed, epoch, sample, queries)."""
        read = [samples.read(group.sample) for group in groups]
        randoms = [
            Random(f"{self.seed}/{epoch}/{sample.key}/{group.queries}")
            for sample, group in zip(read, groups, strict=True)
        ]
        transformed = [self._transform_sample(*triple) for triple in zip(read, groups, randoms, strict=True)]
        counts = [len(group.queries) for group in groups]
        token_ids, token_mask = self.processor.tokenize(
            [query_text for p in transformed for query_text in p.query_texts]
        )
        prior, prior_mask = self._collect_priors(samples, read, groups, randoms)
        ground_truth = [
            EvaluationQuery(
                key=sample.key,
                size=(sample.width, sample.height),
                num_distractors=sample.num_distractors(sample.queries[i]),
                category=_get_category(sample, sample.queries[i]),
                query=sample.queries[i],
                position=(group.sample, i),
            )
            for sample, group in zip(read, groups, strict=True)
            for i in group.queries
        ]
        return Batch(
            canvases=torch.stack([p.canvas for p in transformed]),
            padding=torch.stack([p.padding for p in transformed]),
            token_ids=token_ids,
            token_mask=token_mask,
            query_image=torch.arange(len(groups)).repeat_interleave(torch.tensor(counts)),
            targets=torch.cat([p.targets for p in transformed]),
            prior=prior,
            prior_mask=prior_mask,
            ground_truth=tuple(ground_truth) if keep_ground_truth else (),
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
        if self.prior_dim is None:
            return None, None
        rows, given = [], []
        for sample, group, random in zip(read, groups, randoms, strict=True):
            for i in group.queries:
                row = self._read_prior(sample, i)
                if self.prior_permutation is not None:
                    other, number = self.prior_permutation[group.sample, i]
                    row = self._read_prior(samples.read(other), number)
                given.append(row is not None and random.random() >= self.prior_dropout)
                rows.append(torch.zeros(self.prior_dim) if row is None else row)
        return torch.stack(rows), torch.tensor(given)

    def _read_prior(self, sample: Sample, query: int) -> Tensor | None:
        """(prior_dim,) float32"""
        if sample.priors is None:
            return None
        if sample.priors.shape[1] != self.prior_dim:
            raise TrainerError(
                f"sample {sample.key}: priors of {sample.priors.shape[1]} features, the network takes "
                f"{self.prior_dim}; pack the samples with priors of one image encoder"
            )
        return torch.from_numpy(sample.priors[query]).float()


def _get_category(sample: Sample, query: Query) -> str:
    return "" if query.instance is None else sample.instances[query.instance].category


def shuffle_priors(num_queries: Sequence[int], seed: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(sample, query) to another one, drawn at random: every query is drawn once, and none for itself."""
    order = [(sample, query) for sample, count in enumerate(num_queries) for query in range(count)]
    Random(f"{seed}/shuffled").shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def decode_image(sample: Sample) -> Image.Image:
    """The sample's image.

    Raises:
        TrainerError: it cannot be read; names the sample.
    """
    try:
        with Image.open(io.BytesIO(sample.image)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainerError(
            f"sample {sample.key}: its image {sample.image_name} cannot be read ({error}); ingest it again"
        ) from error


T = TypeVar("T")


class _StepDataset(Dataset[T | Exception]):
    """What is made of a step's number, or what is wrong with it: errors lose their type between processes."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> T | Exception:
        try:
            return self._make(step)
        except (TrainerError, SchemaError, PipelineError) as error:
            return error


def _iterate_in_background(make: Callable[[int], T], steps: Sequence[int], num_workers: int) -> Iterator[T]:
    options: dict[str, Any] = {"multiprocessing_context": "fork", "prefetch_factor": 4} if num_workers else {}
    loader: DataLoader[T | Exception] = DataLoader(
        _StepDataset(make),
        batch_size=None,
        sampler=cast(Any, steps),
        num_workers=num_workers,
        **options,
    )
    for made in loader:
        if isinstance(made, Exception):
            raise made
        yield made


@dataclass(frozen=True, kw_only=True)
class TrainStream:
    """The steps of training for one process, each in as many parts as gradients are accumulated over."""

    samples: Samples
    batch_builder: BatchBuilder
    batch_images: int
    """Of a step: of all its parts and all processes together."""

    max_queries: int
    """Queries asked of an image in one visit."""

    mixing_ratios: tuple[float, ...] = ()
    """As in ``EpochSampler``."""

    num_microbatches: int = 1
    rank: int = 0
    num_processes: int = 1
    num_workers: int = 0

    @property
    def order(self) -> EpochSampler:
        return EpochSampler(
            runs=self.samples.runs,
            mixing_ratios=self.mixing_ratios,
            max_queries=self.max_queries,
            seed=self.batch_builder.seed,
        )

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return -(-sum(self.order.groups_per_epoch) // self.batch_images)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Batch, ...]]:
        """This process's parts of each step from ``first_step`` on."""
        groups = self.order.epoch(epoch)

        def make(step: int) -> tuple[Batch, ...]:
            chosen = groups[step * self.batch_images : (step + 1) * self.batch_images]
            mine = chosen[self.rank :: self.num_processes]
            return tuple(
                self._build_microbatch(mine[part :: self.num_microbatches], chosen, epoch)
                for part in range(self.num_microbatches)
            )

        return _iterate_in_background(make, range(first_step, self.num_steps), self.num_workers)

    def _build_microbatch(self, groups: Sequence[QueryGroup], chosen: Sequence[QueryGroup], epoch: int) -> Batch:
        batch = self.batch_builder.batch(self.samples, groups or chosen[:1], epoch)
        return batch if groups else replace(batch, counts=False)


@dataclass(frozen=True, kw_only=True)
class EvaluationStream:
    """Every query once, over all processes. Batches are the same for any number of them, and dealt out in turn."""

    samples: Samples
    batch_builder: BatchBuilder
    batch_images: int
    """Of one process."""

    max_queries: int = 32
    rank: int = 0
    num_processes: int = 1
    num_workers: int = 0

    @property
    def num_batches(self) -> int:
        """Of all processes together."""
        return -(-len(group_queries(self.samples.num_queries, self.max_queries)) // self.batch_images)

    def __iter__(self) -> Iterator[Batch]:
        groups = group_queries(self.samples.num_queries, self.max_queries)

        def make(number: int) -> Batch:
            chosen = groups[number * self.batch_images : (number + 1) * self.batch_images]
            return self.batch_builder.batch(self.samples, chosen, keep_ground_truth=True)

        return _iterate_in_background(make, range(self.rank, self.num_batches, self.num_processes), self.num_workers)
