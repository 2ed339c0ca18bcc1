from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.data.batch import Batch
from trainer.data.stream import EvaluationStream, TrainStream
from trainer.errors import TrainerError

MakeRun = Callable[..., Path]


def _batches(stream: TrainStream, epoch: int) -> list[Batch]:
    """Of an epoch whose steps have one part."""
    return [part for (part,) in stream.iterate_epoch(epoch)]


def _same(a: Batch, b: Batch) -> bool:
    tensors = [[batch.targets, *batch.inputs[:2], *batch.inputs.queries] for batch in (a, b)]
    return all(torch.equal(left, right) for left, right in zip(*tensors, strict=True))


def test_a_stream_is_sought_by_counts(stream: TrainStream) -> None:
    whole = _batches(stream, 2)
    assert len(whole) == stream.num_steps == 4
    late = [part for (part,) in stream.iterate_epoch(2, first_step=2)]
    assert len(late) == 2 and all(_same(a, b) for a, b in zip(whole[2:], late, strict=True))


def test_parts_of_a_step_split_its_groups(stream: TrainStream) -> None:
    for (whole,), parts in zip(
        stream.iterate_epoch(1), replace(stream, num_microbatches=2).iterate_epoch(1), strict=True
    ):
        assert all(torch.equal(whole.inputs.images[i::2], parts[i].inputs.images) for i in (0, 1))


def test_background_processes_give_the_same_batches(stream: TrainStream) -> None:
    there = _batches(replace(stream, num_workers=2), 0)
    assert all(_same(a, b) for a, b in zip(_batches(stream, 0), there, strict=True))


def test_processes_split_each_batch_of_the_same_order(stream: TrainStream) -> None:
    alone = _batches(stream, 1)
    parts = [_batches(replace(stream, rank=rank, num_processes=2), 1) for rank in (0, 1)]
    for whole, even, odd in zip(alone, *parts, strict=True):
        assert torch.equal(whole.inputs.images[0::2], even.inputs.images)
        assert torch.equal(whole.inputs.images[1::2], odd.inputs.images)


def test_a_process_without_a_group_in_the_last_batch_gets_a_placeholder(stream: TrainStream) -> None:
    parts = [_batches(replace(stream, rank=rank, num_processes=4), 0) for rank in range(4)]
    assert [part[-1].counts for part in parts] == [True, True, False, False]  # 14 groups: two in the last batch
    assert all(batch.counts for part in parts for batch in part[:-1])


def test_evaluation_contains_each_query_once_whatever_the_number_of_processes(stream: TrainStream, run: Path) -> None:
    plain = replace(stream.batch_builder, augmentation=None)
    whole = EvaluationStream(samples=stream.samples, batch_builder=plain, batch_images=2, max_queries=2)
    expected = sorted((sample, query) for sample in range(7) for query in range(3))
    for num_processes in (1, 2, 3):
        parts = [replace(whole, rank=rank, num_processes=num_processes) for rank in range(num_processes)]
        ground_truth = [a.position for part in parts for batch in part for a in batch.ground_truth]
        assert sorted(ground_truth) == expected


def test_an_error_in_a_background_process_reads_as_in_this_one(stream: TrainStream) -> None:
    wrong = replace(stream, batch_builder=replace(stream.batch_builder, prior_dim=5))
    for num_workers in (0, 1):
        with pytest.raises(TrainerError, match=r"\Asample train-\d: priors of 6 features, the network takes 5;"):
            list(replace(wrong, num_workers=num_workers).iterate_epoch(0))
