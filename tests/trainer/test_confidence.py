"""Confidence follows from the verification scores, and its curves turn it into probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.reader import SampleReader
from tests.workflows.toy_predictions import make_prediction
from trainer.confidence import UNCALIBRATED, UNFITTED, Calibration, LogisticCurve, fit_calibration
from trainer.data.batch import BatchBuilder
from trainer.data.config import ProcessorConfig
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.sampler import QueryGroup
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import Predictor
from trainer.evaluation.metrics import compute_auroc
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork, GroundingOutput
from trainer.model.pretrained import choose_text_encoder

LEFT_HALF = torch.tensor([[[0.25, 0.5, 0.5, 1.0]]])  # (stages, queries, 4)


def make_output(scores: list[float], padding: list[bool]) -> GroundingOutput:
    return GroundingOutput(boxes=LEFT_HALF, scores=torch.tensor([scores]), padding=torch.tensor([padding]))


def test_the_score_is_the_share_of_the_verification_scores_inside_the_box() -> None:
    score, presence = UNFITTED.compute_confidence(make_output([1.0, 2.0, 3.0, 4.0], [False] * 4))
    assert score.item() == pytest.approx((1 + 3) / 10)
    assert presence is not None and presence.item() == pytest.approx(4 / 5)  # odds of 4
    score, presence = UNFITTED.compute_confidence(make_output([1.0, 2.0, 3.0, 4.0], [False, False, False, True]))
    assert score.item() == pytest.approx((1 + 3) / 6)
    assert presence is not None and presence.item() == pytest.approx(3 / 4)


def test_without_a_calibration_there_is_no_presence() -> None:
    assert UNCALIBRATED.compute_confidence(make_output([1.0, 0.0, 0.0, 0.0], [False] * 4))[1] is None


def test_scores_of_zero_give_numbers() -> None:
    score, presence = UNFITTED.compute_confidence(make_output([0.0] * 4, [False] * 4))
    assert presence is not None and torch.isfinite(torch.cat([score, presence])).all()


def test_fitted_curves_predict_how_often_boxes_are_right() -> None:
    random = np.random.default_rng(0)
    log_odds = random.normal(size=4000)
    right = random.random(4000) < 1 / (1 + np.exp(-(2 * log_odds - 1)))
    shares = 1 / (1 + np.exp(-log_odds))
    records = [
        make_prediction(0, float(is_right), score=float(share), presence=0.8, absent_presence=0.3)
        for share, is_right in zip(shares, right, strict=True)
    ]
    fitted = fit_calibration(records)
    assert fitted.score.slope == pytest.approx(2, abs=0.2) and fitted.score.intercept == pytest.approx(-1, abs=0.15)
    assert fitted.presence is not None
    present, absent = fitted.presence.compute_probabilities(torch.tensor([0.8, 0.3], dtype=torch.float64).logit())
    assert present > 0.9 and absent < 0.1


def test_too_few_examples_leave_the_default() -> None:
    records = [make_prediction(i, float(i % 2), score=0.5, presence=0.5) for i in range(8)]
    assert fit_calibration(records) == UNCALIBRATED
    assert fit_calibration([]) == UNCALIBRATED


def test_a_curve_that_would_fall_is_not_used() -> None:
    records = [make_prediction(i, float(not i % 2), score=0.9 if i % 2 else 0.1) for i in range(100)]
    assert fit_calibration(records) == UNCALIBRATED


def test_a_calibration_is_saved_and_a_damaged_one_refused(tmp_path: Path) -> None:
    calibration = Calibration(score=LogisticCurve(slope=2.0, intercept=-1.0), presence=LogisticCurve())
    calibration.save_pretrained(tmp_path)
    assert Calibration.from_pretrained(tmp_path) == calibration
    (tmp_path / "calibration.json").write_text('{"score": {"slope": "steep"}}')
    with pytest.raises(TrainerError, match=r"calibration\.json is damaged"):
        Calibration.from_pretrained(tmp_path)
    (tmp_path / "calibration.json").unlink()
    assert Calibration.from_pretrained(tmp_path) == UNCALIBRATED


def test_auroc_counts_pairs_in_order() -> None:
    assert compute_auroc([0.9, 0.4], [0.5, 0.1]) == 0.75
    assert compute_auroc([0.5], [0.5]) == 0.5
    assert compute_auroc([0.5], []) is None


def test_queries_are_paired_with_the_next_image_without_their_category(
    make_run: Callable[..., Path], tiny_network: NetworkConfig, text_encoder: str
) -> None:
    processor = Processor(ProcessorConfig(), load_tokenizer(text_encoder))
    network = GroundingNetwork(choose_text_encoder(tiny_network, text_encoder)).eval()
    samples = Samples([SampleReader(make_run(val=3), "val")])
    builder = BatchBuilder(processor=processor, canvas_px=network.config.image_size_px, prior_dim=None)
    groups = [QueryGroup(sample=i, queries=(0, 1)) for i in range(3)]
    batch = builder.build_batch(samples, groups, keep_ground_truth=True)
    predictor = Predictor(network=network, processor=processor)
    assert not any("absent_presence" in one for one in predictor.predict(batch).confidences)  # squares everywhere

    kinds = ("cup", "cup", "hat")
    ground_truth = tuple(
        replace(one, category=kinds[i // 2], image_categories=frozenset([kinds[i // 2]]))
        for i, one in enumerate(batch.ground_truth)
    )
    found = predictor.predict(replace(batch, ground_truth=ground_truth)).confidences
    inputs = processor.normalize_inputs(batch.inputs)
    image = network.encode_images(inputs.images, inputs.padding)
    queries = inputs.queries._replace(query_image=torch.tensor([2, 2, 2, 2, 0, 0]))  # a hat's next image is the first
    expected = UNFITTED.compute_confidence(network.predict(image, queries))[1]
    assert expected is not None
    assert [one["absent_presence"] for one in found] == pytest.approx(expected.tolist(), abs=1e-6)
