from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shards.reader import SampleReader
from shards.schema import SchemaError
from trainer.data import Batch, EvaluationStream, Preparation, Samples, TrainStream, visits_of_epoch
from trainer.errors import TrainerError
from trainer.processor import Processor, ProcessorConfig, load_tokenizer
from trainer.transforms import AugmentationConfig

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=7, val=3, num_queries=3)


@pytest.fixture
def stream(run: Path, text_encoder: str) -> TrainStream:
    """Two visits an image, 14 in all, in batches of four."""
    return TrainStream(
        samples=Samples([SampleReader(run, "train")]),
        preparation=Preparation(
            processor=Processor(ProcessorConfig(), load_tokenizer(text_encoder)),
            canvas_px=64,
            prior_dim=6,
            seed=3,
            augmentation=AugmentationConfig(),
        ),
        batch_images=4,
        max_queries=2,
    )


def _same(a: Batch, b: Batch) -> bool:
    tensors = ("canvases", "padding", "token_ids", "token_mask", "query_image", "targets", "prior", "prior_given")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)


def test_an_epoch_asks_every_query_once() -> None:
    counts = [3, 1, 5, 2]
    visits = visits_of_epoch(counts, 2, seed=0, epoch=0)
    asked = Counter((visit.sample, query) for visit in visits for query in visit.queries)
    assert asked == Counter((sample, query) for sample, count in enumerate(counts) for query in range(count))
    assert Counter(visit.sample for visit in visits) == {0: 2, 1: 1, 2: 3, 3: 1}


def test_the_order_follows_from_seed_and_epoch() -> None:
    first = visits_of_epoch([3] * 20, 2, seed=0, epoch=4)
    assert visits_of_epoch([3] * 20, 2, seed=0, epoch=4) == first
    assert visits_of_epoch([3] * 20, 2, seed=0, epoch=5) != first
    assert visits_of_epoch([3] * 20, 2, seed=1, epoch=4) != first


def test_a_stream_is_sought_by_counts(stream: TrainStream) -> None:
    whole = list(stream.epoch(2))
    assert len(whole) == stream.num_steps == 4
    late = list(stream.epoch(2, first_step=2))
    assert len(late) == 2 and all(_same(a, b) for a, b in zip(whole[2:], late, strict=True))


def test_background_processes_give_the_same_batches(stream: TrainStream) -> None:
    there = list(replace(stream, num_workers=2).epoch(0))
    assert all(_same(a, b) for a, b in zip(stream.epoch(0), there, strict=True))


def test_processes_split_each_batch_of_the_same_order(stream: TrainStream) -> None:
    alone = list(stream.epoch(1))
    parts = [list(replace(stream, rank=rank, num_processes=2).epoch(1)) for rank in (0, 1)]
    for whole, even, odd in zip(alone, *parts, strict=True):
        assert torch.equal(whole.canvases[0::2], even.canvases)
        assert torch.equal(whole.canvases[1::2], odd.canvases)


def test_a_process_without_a_visit_in_the_last_batch_gets_one_that_does_not_count(stream: TrainStream) -> None:
    parts = [list(replace(stream, rank=rank, num_processes=4).epoch(0)) for rank in range(4)]
    assert [part[-1].counts for part in parts] == [True, True, False, False]  # 14 visits: two in the last batch
    assert all(batch.counts for part in parts for batch in part[:-1])


def test_evaluation_asks_each_query_once_whatever_the_number_of_processes(stream: TrainStream, run: Path) -> None:
    plain = replace(stream.preparation, augmentation=None)
    whole = EvaluationStream(samples=stream.samples, preparation=plain, batch_images=2, max_queries=2)
    expected = sorted((sample, query) for sample in range(7) for query in range(3))
    for num_processes in (1, 2, 3):
        parts = [replace(whole, rank=rank, num_processes=num_processes) for rank in range(num_processes)]
        asked = [a.position for part in parts for batch in part for a in batch.asked]
        assert sorted(asked) == expected


def test_data_sets_follow_one_another(run: Path) -> None:
    train, val = SampleReader(run, "train"), SampleReader(run, "val")
    samples = Samples([train, val])
    assert len(samples) == 10
    assert [samples.read(i).key for i in (0, 6, 7, 9)] == [
        train.read(0).key, train.read(6).key, val.read(0).key, val.read(2).key,
    ]  # fmt: skip


def test_priors_are_dropped_as_often_as_asked(stream: TrainStream) -> None:
    def given(probability: float) -> float:
        preparation = replace(stream.preparation, prior_dropout=probability)
        batches = [b for epoch in range(8) for b in replace(stream, preparation=preparation).epoch(epoch)]
        return float(torch.cat([b.prior_given.float() for b in batches if b.prior_given is not None]).mean())

    assert given(0.0) == 1 and given(1.0) == 0
    assert 0.3 < given(0.5) < 0.7


def test_absent_or_wrong_priors_and_splits_are_refused(make_run: MakeRun, run: Path) -> None:
    with pytest.raises(TrainerError, match="holds samples without priors, which the network asks for"):
        Samples([SampleReader(make_run(train=1, with_priors=False))]).check_priors(6)
    with pytest.raises(TrainerError, match="priors of 6 features, the network takes 512"):
        Samples([SampleReader(run)]).check_priors(512)
    with pytest.raises(SchemaError, match="has no split 'testC'; it has train, val"):
        SampleReader(run, "testC")
