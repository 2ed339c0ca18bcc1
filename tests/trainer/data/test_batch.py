from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shards.crop_features import CropFeatures
from tests.shards.toy_samples import make_sample
from trainer.data.batch import Batch, _collect_ground_truth
from trainer.data.config import AugmentationConfig, ExemplarConfig
from trainer.data.exemplars import ExemplarSampler, TrainingCrops
from trainer.data.sampler import QueryGroup
from trainer.data.stream import TrainStream

MakeRun = Callable[..., Path]

UNKNOWN = 1
"""Token of the unknown word."""


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


def test_a_batch_is_pinned_with_all_its_tensors(exemplar_stream: TrainStream, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _batches(exemplar_stream, 0)[0]
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    batch.pin_memory()
    assert batch.exemplars is not None
    expected = [*batch.inputs[:2], *batch.inputs.queries, batch.targets, *batch.exemplars]
    assert [id(tensor) for tensor in pinned] == [id(tensor) for tensor in expected]


@pytest.fixture
def exemplar_stream(stream: TrainStream, run: Path, make_crops: Callable[[Path], Path]) -> TrainStream:
    """The stream with exemplar queries."""
    sampler = ExemplarSampler(
        crops=TrainingCrops(stream.samples, [CropFeatures(make_crops(run))]),
        config=ExemplarConfig(masked_share=1.0, appearance_mask_probability=1.0, appearance_words=("red", "blue")),
        unknown_word="[UNK]",
    )
    return replace(stream, batch_builder=replace(stream.batch_builder, exemplars=sampler, prior_dropout=0.5))


def _equal(first: Batch, second: Batch) -> bool:
    tensors = [[*one.inputs[:2], *one.inputs.queries, one.targets, *(one.exemplars or ())] for one in (first, second)]
    return all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))  # type: ignore[arg-type]


def test_exemplar_queries_come_after_those_of_their_image_and_have_a_prior(exemplar_stream: TrainStream) -> None:
    for batch in _batches(exemplar_stream, 0):
        assert batch.exemplars is not None
        is_exemplar, queries = batch.exemplars.is_exemplar, batch.inputs.queries
        has_unknown_words = (queries.token_ids == UNKNOWN).any(1)
        assert queries.prior_mask is not None and queries.prior_mask[is_exemplar & has_unknown_words].all()
        for image in range(len(batch.inputs.images)):
            own = is_exemplar[queries.query_image == image]
            assert torch.equal(own, own.sort().values) and int(own.sum()) <= 2 and not own[0]
        assert len(batch.targets) == len(is_exemplar)


def test_an_epoch_has_each_query_of_the_data_once_with_exemplars_too(exemplar_stream: TrainStream) -> None:
    batches = _batches(exemplar_stream, 0)
    assert sum(int((~batch.exemplars.is_exemplar).sum()) for batch in batches if batch.exemplars) == 21


def test_a_query_without_its_prior_keeps_its_words(exemplar_stream: TrainStream) -> None:
    masked = set()
    for epoch in range(4):
        for batch in _batches(exemplar_stream, epoch):
            assert batch.exemplars is not None and batch.inputs.queries.prior_mask is not None
            is_masked = (batch.inputs.queries.token_ids == UNKNOWN).any(1)
            assert not (is_masked & batch.exemplars.is_whole).any()
            assert not (is_masked & ~batch.inputs.queries.prior_mask).any()
            assert torch.equal(batch.exemplars.is_whole, ~batch.exemplars.is_exemplar & ~is_masked)
            masked |= set(is_masked[~batch.exemplars.is_exemplar].tolist())
    assert masked == {True, False}


def test_exemplars_are_those_of_seed_epoch_and_image_for_any_workers_and_processes(
    exemplar_stream: TrainStream,
) -> None:
    expected = _batches(exemplar_stream, 1)
    again = _batches(replace(exemplar_stream, num_workers=2), 1)
    assert all(_equal(*pair) for pair in zip(expected, again, strict=True))
    resumed = [part for (part,) in exemplar_stream.iterate_epoch(1, first_step=2)]
    assert all(_equal(*pair) for pair in zip(expected[2:], resumed, strict=True))
    assert not _equal(expected[0], _batches(exemplar_stream, 2)[0])
    parts = [_batches(replace(exemplar_stream, rank=rank, num_processes=2), 1) for rank in range(2)]
    for whole, *halves in zip(expected, *parts, strict=True):
        pairs = (sorted(map(tuple, part.tolist())) for part in (whole.targets, torch.cat([h.targets for h in halves])))
        found = list(pairs)
        assert found[0] == found[1] or not all(half.counts for half in halves)


def test_instances_lie_on_their_squares_however_the_image_is_placed(exemplar_stream: TrainStream) -> None:
    for batch in _batches(exemplar_stream, 0):
        assert batch.exemplars is not None
        for target, image in zip(batch.targets, batch.inputs.queries.query_image, strict=True):
            of_image = batch.exemplars.boxes[batch.exemplars.instance_image == image]
            distance = (of_image - target).abs().amax(1)
            assert distance.min() < 1e-5  # each target is an instance


def test_exemplars_change_nothing_about_images_and_their_own_queries(
    stream: TrainStream, exemplar_stream: TrainStream
) -> None:
    still = AugmentationConfig(crop_probability=0.0)  # a crop keeps all targets, so more of them change it
    plain, added = (
        replace(one, batch_builder=replace(one.batch_builder, augmentation=still, prior_dropout=0.5))
        for one in (stream, exemplar_stream)
    )
    for first, second in zip(_batches(plain, 0), _batches(added, 0), strict=True):
        assert second.exemplars is not None and torch.equal(first.inputs.images, second.inputs.images)
        own = ~second.exemplars.is_exemplar
        assert torch.equal(first.targets, second.targets[own])
        assert torch.equal(first.inputs.queries.prior_mask, second.inputs.queries.prior_mask[own])  # type: ignore


@pytest.mark.parametrize("complete", [True, False])
def test_the_categories_of_an_image_are_unknown_unless_all_its_objects_are_annotated(complete: bool) -> None:
    sample = make_sample(has_all_instances=complete)
    for one in _collect_ground_truth([sample], [QueryGroup(sample=0, queries=(0,))]):
        assert bool(one.image_categories) is complete
