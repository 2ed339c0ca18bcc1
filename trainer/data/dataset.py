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
from trainer.data.transforms import AugmentationConfig, Prepared, augmented, plainly
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
        reader, number = self._place(i)
        return reader.read(number)

    def key(self, i: int) -> str:
        """What sample ``i`` is called."""
        reader, number = self._place(i)
        return reader.index[number].key

    def _place(self, i: int) -> tuple[SampleReader, int]:
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
class Visit:
    """An image and the queries that are asked of it this time."""

    sample: int
    queries: tuple[int, ...]
    """Indices into the sample's queries."""


def visits_in_order(num_queries: Sequence[int], max_queries: int) -> list[Visit]:
    """Every query once, in the order of samples and queries."""
    return [
        Visit(sample=sample, queries=tuple(range(first, min(first + max_queries, count))))
        for sample, count in enumerate(num_queries)
        for first in range(0, count, max_queries)
    ]


def limited_shares(runs: Sequence[Sequence[int]], max_queries: int, most_extra: float) -> tuple[float, ...]:
    """Shares for ``Order`` with which the first run is asked whole and all others make at most ``most_extra`` of the
    visits, each by the same part of it."""
    real, *others = (num_visits(run, max_queries) for run in runs)
    allowed = real * most_extra / (1 - most_extra)
    return (1.0, *(min(1.0, allowed / sum(others)) for _ in others))


def num_visits(num_queries: Sequence[int], max_queries: int) -> int:
    """In a pass over a run of samples with so many queries each."""
    return sum(-(-count // max_queries) for count in num_queries)


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which visits an epoch makes, in which order: a function of (seed, epoch) alone."""

    runs: Sequence[Sequence[int]]
    """The number of queries of each sample of each run."""

    shares: Sequence[float] = ()
    """Of each run, how much of it an epoch asks; 1, all of it once, where not given. With 0.5 two epochs ask all of
    it once, with 2 an epoch asks all of it twice."""

    max_queries: int = 1
    seed: int = 0

    @property
    def quotas(self) -> list[int]:
        """Visits of each run in an epoch."""
        shares = self.shares or [1.0] * len(self.runs)
        visits = [num_visits(run, self.max_queries) for run in self.runs]
        return [max(1, round(share * number)) for share, number in zip(shares, visits, strict=True)]

    def epoch(self, epoch: int) -> list[Visit]:
        """Its visits; samples are numbered through all runs."""
        visits: list[Visit] = []
        first_sample = 0
        for number, (run, quota) in enumerate(zip(self.runs, self.quotas, strict=True)):
            visits += self._slice(number, first_sample, epoch * quota, (epoch + 1) * quota)
            first_sample += len(run)
        Random(f"{self.seed}/order/{epoch}").shuffle(visits)
        return visits

    def _slice(self, run: int, first_sample: int, start: int, stop: int) -> list[Visit]:
        """Visits ``start`` to ``stop`` of a run's endless sequence of passes."""
        visits: list[Visit] = []
        number, begin = divmod(start, num_visits(self.runs[run], self.max_queries))
        while len(visits) < stop - start:
            visits += self._pass(run, first_sample, number)[begin : begin + stop - start - len(visits)]
            number, begin = number + 1, 0
        return visits

    def _pass(self, run: int, first_sample: int, number: int) -> list[Visit]:
        """Every query of a run once."""
        random = Random(f"{self.seed}/run/{run}/pass/{number}")
        visits = []
        for sample, count in enumerate(self.runs[run], first_sample):
            order = list(range(count))
            random.shuffle(order)
            visits += [
                Visit(sample=sample, queries=tuple(order[first : first + self.max_queries]))
                for first in range(0, count, self.max_queries)
            ]
        random.shuffle(visits)
        return visits


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query of a batch with what is needed to judge its answer."""

    key: str
    """Of the sample."""

    size: tuple[int, int]
    """Width and height of its picture."""

    num_rivals: int | None
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

    prior_given: Tensor | None
    """(queries,) bool"""

    counts: bool = True
    """False for the stand-in of a process that has no visit in a part of a step."""

    asked: tuple[Asked, ...] = ()
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
class Preparation:
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

    prior_of: Mapping[tuple[int, int], tuple[int, int]] | None = None
    """(sample, query) to the one whose prior it gets; None: each gets its own."""

    def batch(self, samples: Samples, visits: Sequence[Visit], epoch: int = 0, keep_asked: bool = False) -> Batch:
        """The tensors of some visits; what is random follows from (seed, epoch, sample, queries)."""
        read = [samples.read(visit.sample) for visit in visits]
        randoms = [
            Random(f"{self.seed}/{epoch}/{sample.key}/{visit.queries}")
            for sample, visit in zip(read, visits, strict=True)
        ]
        prepared = [self._prepared(*triple) for triple in zip(read, visits, randoms, strict=True)]
        counts = [len(visit.queries) for visit in visits]
        token_ids, token_mask = self.processor.tokens([phrase for p in prepared for phrase in p.phrases])
        prior, prior_given = self._priors(samples, read, visits, randoms)
        asked = [
            Asked(
                key=sample.key,
                size=(sample.width, sample.height),
                num_rivals=sample.num_rivals(sample.queries[i]),
                category=_category(sample, sample.queries[i]),
                query=sample.queries[i],
                position=(visit.sample, i),
            )
            for sample, visit in zip(read, visits, strict=True)
            for i in visit.queries
        ]
        return Batch(
            canvases=torch.stack([p.canvas for p in prepared]),
            padding=torch.stack([p.padding for p in prepared]),
            token_ids=token_ids,
            token_mask=token_mask,
            query_image=torch.arange(len(visits)).repeat_interleave(torch.tensor(counts)),
            targets=torch.cat([p.targets for p in prepared]),
            prior=prior,
            prior_given=prior_given,
            asked=tuple(asked) if keep_asked else (),
        )

    def _prepared(self, sample: Sample, visit: Visit, random: Random) -> Prepared:
        picture = decoded(sample)
        queries = [sample.queries[i] for i in visit.queries]
        boxes = torch.tensor([query.box_xyxy for query in queries], dtype=torch.float32)
        phrases = [query.text for query in queries]
        if self.augmentation is None:
            return plainly(picture, boxes, phrases, self.canvas_px)
        return augmented(picture, boxes, phrases, self.canvas_px, self.augmentation, random)

    def _priors(
        self, samples: Samples, read: Sequence[Sample], visits: Sequence[Visit], randoms: Sequence[Random]
    ) -> tuple[Tensor | None, Tensor | None]:
        if self.prior_dim is None:
            return None, None
        rows, given = [], []
        for sample, visit, random in zip(read, visits, randoms, strict=True):
            for i in visit.queries:
                row = self._prior(sample, i)
                if self.prior_of is not None:
                    other, number = self.prior_of[visit.sample, i]
                    row = self._prior(samples.read(other), number)
                given.append(row is not None and random.random() >= self.prior_dropout)
                rows.append(torch.zeros(self.prior_dim) if row is None else row)
        return torch.stack(rows), torch.tensor(given)

    def _prior(self, sample: Sample, query: int) -> Tensor | None:
        """(prior_dim,) float32"""
        if sample.priors is None:
            return None
        if sample.priors.shape[1] != self.prior_dim:
            raise TrainerError(
                f"sample {sample.key}: priors of {sample.priors.shape[1]} features, the network takes "
                f"{self.prior_dim}; pack the samples with priors of one image encoder"
            )
        return torch.from_numpy(sample.priors[query]).float()


def _category(sample: Sample, query: Query) -> str:
    return "" if query.instance is None else sample.instances[query.instance].category


def shuffled(num_queries: Sequence[int], seed: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(sample, query) to another one, drawn at random: every query is drawn once, and none for itself."""
    order = [(sample, query) for sample, count in enumerate(num_queries) for query in range(count)]
    Random(f"{seed}/shuffled").shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def decoded(sample: Sample) -> Image.Image:
    """The sample's picture.

    Raises:
        TrainerError: it cannot be read; names the sample.
    """
    try:
        with Image.open(io.BytesIO(sample.image)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainerError(
            f"sample {sample.key}: its image {sample.image_name} cannot be read ({error}); ingest it again"
        ) from error


T = TypeVar("T")


class _Steps(Dataset[T | Exception]):
    """What is made of a step's number, or what is wrong with it: errors lose their type between processes."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> T | Exception:
        try:
            return self._make(step)
        except (TrainerError, SchemaError, PipelineError) as error:
            return error


def _in_background(make: Callable[[int], T], steps: Sequence[int], num_workers: int) -> Iterator[T]:
    options: dict[str, Any] = {"multiprocessing_context": "fork", "prefetch_factor": 4} if num_workers else {}
    loader: DataLoader[T | Exception] = DataLoader(
        _Steps(make),
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
    preparation: Preparation
    batch_images: int
    """Of a step: of all its parts and all processes together."""

    max_queries: int
    """Queries asked of an image in one visit."""

    shares: tuple[float, ...] = ()
    """As in ``Order``."""

    num_parts: int = 1
    rank: int = 0
    num_processes: int = 1
    num_workers: int = 0

    @property
    def order(self) -> Order:
        return Order(
            runs=self.samples.runs, shares=self.shares, max_queries=self.max_queries, seed=self.preparation.seed
        )

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return -(-sum(self.order.quotas) // self.batch_images)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Batch, ...]]:
        """This process's parts of each step from ``first_step`` on."""
        visits = self.order.epoch(epoch)

        def make(step: int) -> tuple[Batch, ...]:
            chosen = visits[step * self.batch_images : (step + 1) * self.batch_images]
            mine = chosen[self.rank :: self.num_processes]
            return tuple(self._part(mine[part :: self.num_parts], chosen, epoch) for part in range(self.num_parts))

        return _in_background(make, range(first_step, self.num_steps), self.num_workers)

    def _part(self, visits: Sequence[Visit], chosen: Sequence[Visit], epoch: int) -> Batch:
        batch = self.preparation.batch(self.samples, visits or chosen[:1], epoch)
        return batch if visits else replace(batch, counts=False)


@dataclass(frozen=True, kw_only=True)
class EvaluationStream:
    """Every query once, over all processes. Batches are the same for any number of them, and dealt out in turn."""

    samples: Samples
    preparation: Preparation
    batch_images: int
    """Of one process."""

    max_queries: int = 32
    rank: int = 0
    num_processes: int = 1
    num_workers: int = 0

    @property
    def num_batches(self) -> int:
        """Of all processes together."""
        return -(-len(visits_in_order(self.samples.num_queries, self.max_queries)) // self.batch_images)

    def __iter__(self) -> Iterator[Batch]:
        visits = visits_in_order(self.samples.num_queries, self.max_queries)

        def make(number: int) -> Batch:
            chosen = visits[number * self.batch_images : (number + 1) * self.batch_images]
            return self.preparation.batch(self.samples, chosen, keep_asked=True)

        return _in_background(make, range(self.rank, self.num_batches, self.num_processes), self.num_workers)
