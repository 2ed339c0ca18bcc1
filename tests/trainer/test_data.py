from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shards.reader import SampleReader
from shards.schema import SchemaError
from trainer.data.dataset import (
    Batch,
    BatchBuilder,
    EpochSampler,
    EvaluationStream,
    QueryGroup,
    Samples,
    TrainStream,
    limit_mixing_ratios,
    shuffle_priors,
)
from trainer.data.processor import Processor, ProcessorConfig, load_tokenizer
from trainer.data.transforms import AugmentationConfig
from trainer.errors import TrainerError

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=7, val=3, num_queries=3)


@pytest.fixture
def stream(run: Path, text_encoder: str) -> TrainStream:
    """Two visits an image, 14 in all, in batches of four."""
    return TrainStream(
        samples=Samples([SampleReader(run, "train")]),
        batch_builder=BatchBuilder(
            processor=Processor(ProcessorConfig(), load_tokenizer(text_encoder)),
            canvas_px=64,
            prior_dim=6,
            seed=3,
            augmentation=AugmentationConfig(),
        ),
        batch_images=4,
        max_queries=2,
    )


def _batches(stream: TrainStream, epoch: int) -> list[Batch]:
    """Of an epoch whose steps have one part."""
    return [part for (part,) in stream.epoch(epoch)]


def _same(a: Batch, b: Batch) -> bool:
    tensors = ("canvases", "padding", "token_ids", "token_mask", "query_image", "targets", "prior", "prior_mask")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)


def _asked(groups: Sequence[QueryGroup]) -> Counter[tuple[int, int]]:
    return Counter((group.sample, query) for group in groups for query in group.queries)


def _real() -> Counter[tuple[int, int]]:
    return Counter((sample, query) for sample in range(6) for query in range(2))


def test_an_epoch_asks_every_query_once() -> None:
    counts = [3, 1, 5, 2]
    groups = EpochSampler(runs=[counts[:2], counts[2:]], max_queries=2).epoch(0)
    assert _asked(groups) == Counter((sample, query) for sample, count in enumerate(counts) for query in range(count))
    assert Counter(group.sample for group in groups) == {0: 2, 1: 1, 2: 3, 3: 1}


def test_the_order_follows_from_seed_and_epoch() -> None:
    order = EpochSampler(runs=[[3] * 20], max_queries=2)
    first = order.epoch(4)
    assert replace(order).epoch(4) == first
    assert order.epoch(5) != first
    assert replace(order, seed=1).epoch(4) != first


def test_of_a_run_with_half_a_share_two_epochs_ask_all_of_it_once() -> None:
    order = EpochSampler(runs=[[2] * 6, [1] * 10], mixing_ratios=(1.0, 0.5))
    epochs = [order.epoch(epoch) for epoch in range(4)]
    assert order.groups_per_epoch == [12, 5] and all(len(groups) == 17 for groups in epochs)
    generated = [_asked([group for group in groups if group.sample >= 6]) for groups in epochs]
    everything = Counter((sample, 0) for sample in range(6, 16))
    assert generated[0] + generated[1] == generated[2] + generated[3] == everything
    assert generated[0] != generated[2]
    assert all(_asked([group for group in groups if group.sample < 6]) == _real() for groups in epochs)


def test_with_a_share_of_two_and_a_half_everything_is_asked_two_or_three_times() -> None:
    order = EpochSampler(runs=[[1] * 10], mixing_ratios=(2.5,))
    assert set(_asked(order.epoch(0)).values()) == {2, 3}
    assert set((_asked(order.epoch(0)) + _asked(order.epoch(1))).values()) == {5}


@pytest.mark.parametrize(
    ("further", "groups_per_epoch"),
    [([[1] * 90], [30, 10]), ([[1] * 60, [5] * 15], [30, 7, 3]), ([[1] * 6], [30, 6]), ([], [30])],
)
def test_further_runs_make_a_quarter_of_the_visits_at_most(
    further: list[list[int]], groups_per_epoch: list[int]
) -> None:
    runs = [[3] * 30, *further]
    mixing_ratios = limit_mixing_ratios(runs, max_queries=4, max_synthetic_fraction=0.25)
    assert EpochSampler(runs=runs, mixing_ratios=mixing_ratios, max_queries=4).groups_per_epoch == groups_per_epoch


def test_a_stream_is_sought_by_counts(stream: TrainStream) -> None:
    whole = _batches(stream, 2)
    assert len(whole) == stream.num_steps == 4
    late = [part for (part,) in stream.epoch(2, first_step=2)]
    assert len(late) == 2 and all(_same(a, b) for a, b in zip(whole[2:], late, strict=True))


def test_parts_of_a_step_split_its_visits(stream: TrainStream) -> None:
    for (whole,), parts in zip(stream.epoch(1), replace(stream, num_microbatches=2).epoch(1), strict=True):
        assert all(torch.equal(whole.canvases[i::2], parts[i].canvases) for i in (0, 1))


def test_background_processes_give_the_same_batches(stream: TrainStream) -> None:
    there = _batches(replace(stream, num_workers=2), 0)
    assert all(_same(a, b) for a, b in zip(_batches(stream, 0), there, strict=True))


def test_processes_split_each_batch_of_the_same_order(stream: TrainStream) -> None:
    alone = _batches(stream, 1)
    parts = [_batches(replace(stream, rank=rank, num_processes=2), 1) for rank in (0, 1)]
    for whole, even, odd in zip(alone, *parts, strict=True):
        assert torch.equal(whole.canvases[0::2], even.canvases)
        assert torch.equal(whole.canvases[1::2], odd.canvases)


def test_a_process_without_a_visit_in_the_last_batch_gets_one_that_does_not_count(stream: TrainStream) -> None:
    parts = [_batches(replace(stream, rank=rank, num_processes=4), 0) for rank in range(4)]
    assert [part[-1].counts for part in parts] == [True, True, False, False]  # 14 visits: two in the last batch
    assert all(batch.counts for part in parts for batch in part[:-1])


def test_evaluation_asks_each_query_once_whatever_the_number_of_processes(stream: TrainStream, run: Path) -> None:
    plain = replace(stream.batch_builder, augmentation=None)
    whole = EvaluationStream(samples=stream.samples, batch_builder=plain, batch_images=2, max_queries=2)
    expected = sorted((sample, query) for sample in range(7) for query in range(3))
    for num_processes in (1, 2, 3):
        parts = [replace(whole, rank=rank, num_processes=num_processes) for rank in range(num_processes)]
        ground_truth = [a.position for part in parts for batch in part for a in batch.ground_truth]
        assert sorted(ground_truth) == expected


def test_data_sets_follow_one_another(run: Path) -> None:
    train, val = SampleReader(run, "train"), SampleReader(run, "val")
    samples = Samples([train, val])
    assert len(samples) == 10
    assert [samples.read(i).key for i in (0, 6, 7, 9)] == [
        train.read(0).key, train.read(6).key, val.read(0).key, val.read(2).key,
    ]  # fmt: skip


def test_priors_are_dropped_as_often_as_asked(stream: TrainStream) -> None:
    def given(probability: float) -> float:
        batch_builder = replace(stream.batch_builder, prior_dropout=probability)
        batches = [b for epoch in range(8) for b in _batches(replace(stream, batch_builder=batch_builder), epoch)]
        return float(torch.cat([b.prior_mask.float() for b in batches if b.prior_mask is not None]).mean())

    assert given(0.0) == 1 and given(1.0) == 0
    assert 0.3 < given(0.5) < 0.7


def test_a_shuffle_gives_every_query_the_prior_of_another_one() -> None:
    counts = [3, 1, 4]
    other = shuffle_priors(counts, seed=0)
    queries = [(sample, query) for sample, count in enumerate(counts) for query in range(count)]
    assert sorted(other) == sorted(other.values()) == queries
    assert all(source != target for source, target in other.items())
    assert shuffle_priors(counts, seed=1) != other


def test_absent_or_wrong_priors_and_splits_are_refused(make_run: MakeRun, run: Path) -> None:
    with pytest.raises(TrainerError, match="holds samples without priors, which the network asks for"):
        Samples([SampleReader(make_run(train=1, with_priors=False))]).check_priors(6)
    with pytest.raises(TrainerError, match="priors of 6 features, the network takes 512"):
        Samples([SampleReader(run)]).check_priors(512)
    with pytest.raises(SchemaError, match="has no split 'testC'; it has train, val"):
        SampleReader(run, "testC")


def test_samples_without_a_single_query_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(TrainerError, match=r"no queries in .*; nothing to do"):
        Samples([SampleReader(make_run(train=2, num_queries=0))])


def test_an_error_in_a_background_process_reads_as_in_this_one(stream: TrainStream) -> None:
    wrong = replace(stream, batch_builder=replace(stream.batch_builder, prior_dim=5))
    for num_workers in (0, 1):
        with pytest.raises(TrainerError, match=r"\Asample train-\d: priors of 6 features, the network takes 5;"):
            list(replace(wrong, num_workers=num_workers).epoch(0))
