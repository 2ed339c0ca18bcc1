"""Exemplar queries about squares: a color has one feature, so squares look alike if their colors are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from shards.crop_features import CropFeatures
from shards.reader import SampleReader
from shards.schema import Sample
from tests.trainer.conftest import COLORS
from trainer.data.config import ExemplarConfig
from trainer.data.dataset import Samples
from trainer.data.exemplars import ExemplarSampler, ImageExemplars, TrainingCrops, find_training_words
from trainer.data.places import PLACE_WORDS
from trainer.errors import TrainerError

MakeRun = Callable[..., Path]
MakeCrops = Callable[[Path], Path]


@pytest.fixture(scope="module")
def samples(make_run: MakeRun) -> Samples:
    return Samples([SampleReader(make_run(train=20), "train")])


@pytest.fixture(scope="module")
def crops(samples: Samples, make_crops: MakeCrops) -> TrainingCrops:
    return TrainingCrops(samples, [CropFeatures(make_crops(samples._readers[0].run))])


@pytest.fixture
def sampler(crops: TrainingCrops) -> ExemplarSampler:
    return ExemplarSampler(crops=crops, config=ExemplarConfig(), unknown_word="[UNK]")


def _get_colors(sample: Sample) -> list[str]:
    """Colors of the two squares."""
    return [next(word for word in query.text.split() if word in COLORS) for query in sample.queries[:2]]


def _sample_all(sampler: ExemplarSampler, samples: Samples) -> list[tuple[Sample, ImageExemplars]]:
    read = [samples.read(number) for number in range(len(samples))]
    return [(one, sampler.sample(number, one, Random(number))) for number, one in enumerate(read)]


def test_the_mean_feature_is_that_of_all_instances(crops: TrainingCrops, samples: Samples) -> None:
    features = np.concatenate([crops.read(number) for number in range(len(samples))])
    assert crops.num_instances == len(features) == 40
    np.testing.assert_allclose(crops.mean_feature, features.mean((0, 1)), atol=1e-6)


def test_an_exemplar_looks_like_its_target_and_says_so_by_unknown_words(
    sampler: ExemplarSampler, samples: Samples
) -> None:
    unique = replace(sampler, config=replace(sampler.config, category_share=0.0))
    texts = set()
    for sample, exemplars in _sample_all(unique, samples):
        assert len(exemplars.queries) == 2  # both squares, which differ in color
        for query in exemplars.queries:
            assert COLORS[int(query.exemplar[:4].argmax())] == _get_colors(sample)[query.instance]
            texts.add(query.text)
    assert texts <= {
        f"{article}{name}"
        for article in ("", "the ")
        for name in ("[UNK] square", "[UNK] [UNK] square", "[UNK] one", "[UNK] [UNK]", "[UNK] [UNK] one")
    }
    assert len(texts) == 10


def test_an_instance_looks_like_itself_even_if_its_crop_is_the_mean(
    sampler: ExemplarSampler, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, mean = samples.read(0), sampler.crops.mean_feature
    monkeypatch.setattr(sampler.crops, "read", lambda number: np.stack([[mean], [mean]]))  # no cosine is above 0
    unique = replace(sampler, config=replace(sampler.config, category_share=0.0, borrowed_share=0.0))
    texts = [query.text for query in unique.sample(0, sample, Random(0)).queries]
    assert len(texts) == 2 and all("[UNK]" in text and "left" not in text for text in texts)


def test_exemplars_are_borrowed_from_other_images(sampler: ExemplarSampler, samples: Samples) -> None:
    def count_own(borrowed_share: float) -> int:
        config = replace(sampler.config, category_share=0.0, borrowed_share=borrowed_share)
        pairs = _sample_all(replace(sampler, config=config), samples)
        return sum(
            bool((np.abs(sampler.crops.read(number)[query.instance] - query.exemplar).max(-1) == 0).any())
            for number, (_, exemplars) in enumerate(pairs)
            for query in exemplars.queries
        )

    assert count_own(0.0) == 40
    assert count_own(1.0) < 20  # the first view of a color is the same in all images


def test_instances_that_look_alike_are_told_apart_by_their_places_alone(
    sampler: ExemplarSampler, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, crops = samples.read(0), sampler.crops.read(0)
    monkeypatch.setattr(sampler.crops, "read", lambda number: crops[[0, 0]])  # both squares have one color
    unique = replace(sampler, config=replace(sampler.config, category_share=0.0, borrowed_share=0.0))

    def sample_queries(sampler: ExemplarSampler, sample: Sample) -> set[tuple[int, str]]:
        queries = (query for seed in range(50) for query in sampler.sample(0, sample, Random(seed)).queries)
        return {(query.instance, query.text) for query in queries}

    left, right = sorted((0, 1), key=lambda i: sample.instances[i].box_xyxy)
    found = sample_queries(unique, sample)
    assert {(left, "left [UNK] square"), (right, "[UNK] one on the right")} <= found
    for instance, text in found:
        assert {"left": left, "right": right}.get(next(w for w in text.split() if w in ("left", "right"))) == instance
    assert not sample_queries(replace(unique, config=replace(unique.config, use_places=False)), sample)
    assert not sample_queries(unique, replace(sample, has_all_instances=False))  # a third one may be farther left
    mixed = replace(sample, instances=(sample.instances[0], replace(sample.instances[1], category="circle")))
    texts = {text for _, text in sample_queries(unique, mixed)}
    assert {"[UNK] circle", "left [UNK] one"} <= texts and "left [UNK] circle" not in texts


def test_the_exemplar_of_a_category_is_a_mean(sampler: ExemplarSampler, samples: Samples) -> None:
    general = replace(sampler, config=replace(sampler.config, category_share=1.0, category_instances=40))
    sample = samples.read(0)
    queries = [query for seed in range(20) for query in general.sample(0, sample, Random(seed)).queries]
    assert {query.text for query in queries} >= {"left square", "the right square"}  # two squares
    alone = replace(sample, instances=(sample.instances[0], replace(sample.instances[1], category="")))
    (query,) = general.sample(0, alone, Random(0)).queries
    assert query.instance == 0 and query.is_whole
    assert query.text in ("square", "the square")
    np.testing.assert_allclose(query.exemplar, sampler.crops.mean_feature, atol=0.05)  # views have noise


def test_crowds_are_neither_targets_nor_exemplars(sampler: ExemplarSampler, samples: Samples) -> None:
    sample = samples.read(0)
    crowd = replace(sample.instances[0], is_crowd=True)
    exemplars = sampler.sample(0, replace(sample, instances=(crowd, sample.instances[1])), Random(0))
    assert list(exemplars.instances) == [1] and {query.instance for query in exemplars.queries} <= {1}


def test_a_sample_without_crop_features_has_no_exemplars(
    samples: Samples, make_run: MakeRun, make_crops: MakeCrops
) -> None:
    fewer = CropFeatures(make_crops(make_run(train=12)))
    crops = TrainingCrops(samples, [fewer])
    assert crops.num_instances == 24
    sampler = ExemplarSampler(crops=crops, config=ExemplarConfig(), unknown_word="[UNK]")
    without = next(number for number in range(20) if samples.get_key(number) == "train-15")
    exemplars = sampler.sample(without, samples.read(without), Random(0))
    assert not exemplars.queries and exemplars.crops.shape == (0, 6)


def test_crop_features_of_other_instances_are_refused(
    make_run: MakeRun, make_crops: MakeCrops, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = CropFeatures(make_crops(samples._readers[0].run))
    read = features.read
    monkeypatch.setattr(features, "read", lambda key: read(key)[:1])
    with pytest.raises(TrainerError, match="has 2 instances, its crop features are of 1; run `make crop-features`"):
        TrainingCrops(samples, [features])
    none = CropFeatures(make_crops(make_run(test=3)))
    with pytest.raises(TrainerError, match="no training image has crop features of instances"):
        TrainingCrops(samples, [none])


def test_words_that_the_prior_shows_are_masked_as_often_as_asked(sampler: ExemplarSampler) -> None:
    words = ("red", "striped")
    config = ExemplarConfig(
        masked_share=1.0, appearance_mask_probability=1.0, category_mask_probability=0.0, appearance_words=words
    )
    masking = replace(sampler, config=config)
    assert masking.mask_words("Red striped cup left", "cup", Random(0)) == "[UNK] [UNK] cup left"
    both = replace(sampler, config=replace(config, category_mask_probability=1.0))
    assert both.mask_words("left traffic light", "traffic light", Random(0)) == "left [UNK] [UNK]"
    assert both.mask_words("left cup", "", Random(0)) == "left cup"  # the category is unknown
    half = replace(sampler, config=replace(config, masked_share=0.5))
    masked = [half.mask_words("red cup", "cup", Random(seed)) == "[UNK] cup" for seed in range(200)]
    assert 70 < sum(masked) < 130


def test_training_words_are_those_of_queries_categories_and_wordings(samples: Samples) -> None:
    assert find_training_words(samples) == sorted({*COLORS, "square", "one", *PLACE_WORDS})
    with_sides = Samples([samples._readers[0]])
    record = with_sides.read_record(0)
    record["queries"][0]["text"], record["instances"][0]["category"] = "leftmost one", "circle"
    with_sides.read_record = lambda i: record  # type: ignore[method-assign]
    assert {"leftmost", "rightmost", "circle"} <= set(find_training_words(with_sides))
