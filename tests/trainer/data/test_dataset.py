from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import SchemaError
from shards.reader import SampleReader
from trainer.data.dataset import Samples
from trainer.errors import TrainerError

MakeRun = Callable[..., Path]


def test_data_sets_follow_one_another(run: Path) -> None:
    train, val = SampleReader(run, "train"), SampleReader(run, "val")
    samples = Samples([train, val])
    assert len(samples) == 10
    assert [samples.read(i).key for i in (0, 6, 7, 9)] == [
        train.read(0).key, train.read(6).key, val.read(0).key, val.read(2).key,
    ]  # fmt: skip


def test_absent_or_wrong_priors_and_splits_are_refused(make_run: MakeRun, run: Path) -> None:
    with pytest.raises(TrainerError, match="has samples without priors, but the network uses priors"):
        Samples([SampleReader(make_run(train=1, with_priors=False))]).check_priors(6)
    with pytest.raises(TrainerError, match="priors of 6 features, the network takes 512"):
        Samples([SampleReader(run)]).check_priors(512)
    with pytest.raises(SchemaError, match="has no split 'testC'; it has train, val"):
        SampleReader(run, "testC")


def test_queries_without_a_target_are_left_out_with_their_priors_and_counted(make_run: MakeRun) -> None:
    plain = Samples([SampleReader(make_run(train=3))])
    mixed = Samples([SampleReader(make_run(train=3, num_without_target=2))])
    assert (plain.num_left_out, mixed.num_left_out) == (0, 6)
    assert mixed.runs == plain.runs == [[2, 2, 2]]
    for i in range(3):
        first, second = plain.read(i), mixed.read(i)
        assert first == second and first.priors is not None and second.priors is not None
        assert (first.priors == second.priors).all()
        assert plain.read_record(i) == mixed.read_record(i)
    with pytest.raises(TrainerError, match="no queries with a target"):
        Samples([SampleReader(make_run(train=2, num_queries=0, num_without_target=1))])


def test_samples_without_a_single_query_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(TrainerError, match=r"no queries with a target in .*; choose runs or a split with such"):
        Samples([SampleReader(make_run(train=2, num_queries=0))])
