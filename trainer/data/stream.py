"""Streams of batches for training and evaluation.

A step takes ``batch_images`` query groups in the epoch's order, and rank r of n takes groups r, r + n, ... of each
step. So the order does not depend on the number of processes. A stream's state is (epoch, step): each step is computed
from these numbers, not from earlier steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline import PipelineError
from shards.errors import SchemaError
from trainer.data.batch import Batch, BatchBuilder
from trainer.data.dataset import Samples
from trainer.data.sampler import EpochSampler, group_queries
from trainer.errors import TrainerError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainStream:
    """Training steps of one process; a step has one batch for each microbatch of gradient accumulation."""

    samples: Samples
    """Samples of all runs."""

    batch_builder: BatchBuilder
    """Builder with the training's augmentation and seed."""

    batch_images: int
    """Query groups of a step, over all microbatches and processes."""

    max_queries: int
    """Largest number of queries in a group."""

    mixing_ratios: tuple[float, ...] = ()
    """Part of each run in an epoch; see ``EpochSampler``."""

    num_microbatches: int = 1
    """Number of batches of a step."""

    rank: int = 0
    """Rank of this process."""

    num_processes: int = 1
    """Number of processes."""

    num_workers: int = 0
    """Background processes that build batches; 0 builds them in this process."""

    @property
    def sampler(self) -> EpochSampler:
        """Sampler of the epochs."""
        return EpochSampler(
            runs=self.samples.runs,
            mixing_ratios=self.mixing_ratios,
            max_queries=self.max_queries,
            seed=self.batch_builder.seed,
        )

    @property
    def num_steps(self) -> int:
        """Number of steps of an epoch."""
        return -(-sum(self.sampler.groups_per_epoch) // self.batch_images)

    def iterate_epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Batch, ...]]:
        """Yield this process's microbatches of each step, from ``first_step`` on."""
        groups = self.sampler.sample_epoch(epoch)

        def make(step: int) -> tuple[Batch, ...]:
            chosen = groups[step * self.batch_images : (step + 1) * self.batch_images]
            mine = chosen[self.rank :: self.num_processes]
            parts = [mine[part :: self.num_microbatches] for part in range(self.num_microbatches)]
            # All processes must run the same passes; without a group, any other stands in and does not count.
            batches = [self.batch_builder.build_batch(self.samples, part or chosen[:1], epoch) for part in parts]
            return tuple(replace(batch, counts=bool(part)) for batch, part in zip(batches, parts, strict=True))

        return _iterate_in_background(make, range(first_step, self.num_steps), self.num_workers)


@dataclass(frozen=True, kw_only=True)
class EvaluationStream:
    """Batches that contain every query once. They are the same for any number of processes, and dealt out in turn."""

    samples: Samples
    """Samples to evaluate on."""

    batch_builder: BatchBuilder
    """Builder without augmentation."""

    batch_images: int
    """Query groups of a batch."""

    max_queries: int = 32
    """Largest number of queries in a group."""

    rank: int = 0
    """Rank of this process."""

    num_processes: int = 1
    """Number of processes."""

    num_workers: int = 0
    """Background processes that build batches; 0 builds them in this process."""

    @property
    def num_batches(self) -> int:
        """Number of batches of all processes together."""
        return -(-len(group_queries(self.samples.num_queries, self.max_queries)) // self.batch_images)

    def __iter__(self) -> Iterator[Batch]:
        groups = group_queries(self.samples.num_queries, self.max_queries)

        def make(number: int) -> Batch:
            chosen = groups[number * self.batch_images : (number + 1) * self.batch_images]
            return self.batch_builder.build_batch(self.samples, chosen, keep_ground_truth=True)

        return _iterate_in_background(make, range(self.rank, self.num_batches, self.num_processes), self.num_workers)


class _StepDataset(Dataset[T | Exception]):
    """Dataset of steps. An error is returned as an item, because it would lose its type between processes."""

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
        pin_memory=torch.cuda.is_available(),
        **options,
    )
    for item in loader:
        if isinstance(item, Exception):
            raise item
        yield item
