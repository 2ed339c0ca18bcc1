from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.shards.toy_samples import make_sample
from trainer.data.batch import Batch, _collect_ground_truth
from trainer.data.sampler import QueryGroup
from trainer.data.stream import TrainStream

MakeRun = Callable[..., Path]


def _batches(stream: TrainStream, epoch: int) -> list[Batch]:
    """Of an epoch whose steps have one part."""
    return [part for (part,) in stream.iterate_epoch(epoch)]


def test_priors_are_dropped_as_often_as_asked(stream: TrainStream) -> None:
    def given(probability: float) -> float:
        batch_builder = replace(stream.batch_builder, prior_dropout=probability)
        batches = [b for epoch in range(8) for b in _batches(replace(stream, batch_builder=batch_builder), epoch)]
        return float(torch.cat([b.inputs.queries.prior_mask.float() for b in batches]).mean())

    assert given(0.0) == 1 and given(1.0) == 0
    assert 0.3 < given(0.5) < 0.7


def test_the_random_choices_of_an_image_differ_between_epochs(stream: TrainStream) -> None:
    def transform(epoch: int) -> Batch:
        return stream.batch_builder.build_batch(stream.samples, [QueryGroup(sample=0, queries=(0,))], epoch)

    assert torch.equal(transform(0).inputs.images, transform(0).inputs.images)
    different = {transform(epoch).targets.numpy().tobytes() for epoch in range(6)}
    assert len(different) > 3  # mirrored, cropped or placed elsewhere


def test_a_batch_is_pinned_with_all_its_tensors(stream: TrainStream, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _batches(stream, 0)[0]
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    batch.pin_memory()
    expected = [*batch.inputs[:2], *batch.inputs.queries, batch.targets]
    assert [id(tensor) for tensor in pinned] == [id(tensor) for tensor in expected]


@pytest.mark.parametrize("complete", [True, False])
def test_the_categories_of_an_image_are_unknown_unless_all_its_objects_are_annotated(complete: bool) -> None:
    sample = make_sample(has_all_instances=complete)
    for one in _collect_ground_truth([sample], [QueryGroup(sample=0, queries=(0,))]):
        assert bool(one.image_categories) is complete
