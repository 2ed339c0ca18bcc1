"""Evaluation of a network on every query of a dataset, each once, on any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed.nn  # before a process group exists: its default arguments would keep that group alive
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from shards.boxes import compute_area_px
from trainer.boxes import cxcywh_to_xyxy, iou
from trainer.confidence import UNFITTED, Calibration
from trainer.data.batch import Batch, BatchBuilder, EvaluationQuery
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, fit_placement
from trainer.data.sampler import shuffle_priors
from trainer.data.stream import EvaluationStream
from trainer.evaluation.generalized import SetPrediction
from trainer.evaluation.metrics import PredictionRecord, PriorMode
from trainer.model.inputs import QueryInputs
from trainer.model.network import GroundingNetwork, ImageFeatures

PositionedPrediction = tuple[tuple[int, int], PredictionRecord | None, SetPrediction | None]
"""Position (sample, query) in the data, the prediction for a query with a target, and that for all of its targets."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Predictions for all queries, in the order of the data."""

    records: list[PredictionRecord]
    """Predictions for the queries with a target."""

    sets: list[SetPrediction]
    """Predictions for all queries. Empty if the network cannot tell that there is no target, or if it has no presence
    head and every query has a target."""


@dataclass(frozen=True, kw_only=True)
class BatchPrediction:
    """Predictions for the queries of a batch."""

    boxes: Tensor
    """Boxes (queries, 4) float32 of the last stage, cxcywh as fractions of the canvas."""

    candidates: Tensor
    """Boxes (queries, tokens, 4) float32 of all target tokens, the same."""

    presences: Tensor | None
    """Probabilities (queries, tokens) float32 that each of these is a target; None without a calibration."""

    confidences: list[dict[str, float]]
    """``score``, ``presence`` and ``absent_presence`` of each query, as far as known; see ``PredictionRecord``."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Network with its processor."""

    network: GroundingNetwork
    """Network that predicts."""

    processor: Processor
    """Processor of the network."""

    calibration: Calibration = UNFITTED
    """Calibration of the confidences."""

    @property
    def keeps_without_target(self) -> bool:
        """Whether the network can say that there is no target: by a presence head, or by a curve of its own scores."""
        return self.network.config.presence or self.calibration.presence not in (None, UNFITTED.presence)

    @torch.no_grad()
    def predict(self, batch: Batch) -> BatchPrediction:
        """Predict the boxes of a batch with their confidence, and the confidence of queries about wrong images."""
        inputs = self.processor.normalize_inputs(batch.inputs)
        image = self.network.encode_images(inputs.images, inputs.padding)
        output = self.network.predict(image, inputs.queries)
        score, presence = self.calibration.compute_confidence(output)
        confidences = [{"score": value} for value in score.tolist()]
        if presence is not None:
            for i, value in enumerate(presence.tolist()):
                confidences[i]["presence"] = value
            for i, value in self._predict_absent(image, inputs.queries, batch.ground_truth):
                confidences[i]["absent_presence"] = value
        boxes = output.boxes[-1].float().cpu()
        return BatchPrediction(
            boxes=boxes,
            candidates=boxes[:, None] if output.tokens is None else output.tokens.boxes[-1].float().cpu(),
            presences=None if presence is None else self.calibration.compute_token_presences(output),
            confidences=confidences,
        )

    def _predict_absent(
        self, image: ImageFeatures, queries: QueryInputs, ground_truth: Sequence[EvaluationQuery]
    ) -> list[tuple[int, float]]:
        """Return the presence of queries about the next image of the batch that lacks their category."""
        numbers = queries.query_image.tolist()
        categories = {number: one.image_categories for number, one in zip(numbers, ground_truth, strict=True)}
        pairs = []
        for i, (own, one) in enumerate(zip(numbers, ground_truth, strict=True)):
            others = sorted(categories, key=lambda number: (number <= own, number))
            lacking = (n for n in others if n != own and categories[n] and one.category not in categories[n])
            if one.category and (number := next(lacking, None)) is not None:
                pairs.append((i, number))
        if not pairs:
            return []
        rows, images = torch.tensor(pairs, device=queries.query_image.device).T
        asked = QueryInputs(*(None if tensor is None else tensor[rows] for tensor in queries))  # type: ignore[arg-type]
        _, presence = self.calibration.compute_confidence(
            self.network.predict(image, asked._replace(query_image=images))
        )
        assert presence is not None
        return [(i, value) for (i, _), value in zip(pairs, presence.tolist(), strict=True)]


def build_evaluation_stream(
    samples: Samples,
    network: GroundingNetwork,
    processor: Processor,
    accelerator: Accelerator,
    *,
    batch_images: int,
    num_workers: int,
    priors: PriorMode = "own",
) -> EvaluationStream:
    """Build this process's batches for the evaluation of a network.

    Raises:
        TrainerError: the samples lack the priors of the network.
    """
    prior_dim = network.config.prior_dim if network.config.use_prior and priors != "none" else None
    if prior_dim is not None:
        samples.check_priors(prior_dim)
    prior_permutation = shuffle_priors(samples.num_queries, 0) if priors == "shuffled" else None
    return EvaluationStream(
        samples=samples,
        batch_builder=BatchBuilder(
            processor=processor,
            canvas_px=network.config.image_size_px,
            prior_dim=prior_dim,
            prior_permutation=prior_permutation,
        ),
        batch_images=batch_images,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        num_workers=num_workers,
    )


def map_boxes_to_image(boxes: Tensor, size: tuple[int, int], canvas_px: int) -> Tensor:
    """Map boxes from the canvas of test time to the image.

    Args:
        boxes: (n, 4) cxcywh as fractions of the canvas.
        size: width and height of the image in pixels.
        canvas_px: side of the canvas in pixels.

    Returns:
        (n, 4) xyxy in pixels of the image, clipped to it.
    """
    boxes_xyxy = fit_placement(size, canvas_px).map_to_image(cxcywh_to_xyxy(boxes) * canvas_px)
    return boxes_xyxy.clamp(min=0).minimum(boxes_xyxy.new_tensor([*size, *size]))


def score_prediction(
    ground_truth: EvaluationQuery, box: Tensor, confidence: dict[str, float], canvas_px: int, priors: PriorMode
) -> PredictionRecord:
    """Compare a predicted box (4,), cxcywh as fractions of the canvas, with the ground truth."""
    query = ground_truth.query
    results = map_boxes_to_image(box[None].double(), ground_truth.size, canvas_px)
    overlaps = iou(results, torch.tensor([query.box_xyxy, *query.boxes_xyxy], dtype=torch.float64))
    x1, y1, x2, y2 = results[0].tolist()
    return PredictionRecord(
        key=ground_truth.key,
        query_id=query.query_id,
        text=query.text,
        split=query.split,
        source=query.source,
        num_distractors=ground_truth.num_distractors,
        category=ground_truth.category,
        target_share=compute_area_px(query.box_xyxy) / (ground_truth.size[0] * ground_truth.size[1]),
        box_xyxy=(x1, y1, x2, y2),
        target_xyxy=query.box_xyxy,
        iou=float(overlaps[0]),
        any_iou=float(overlaps[1:].max()),
        priors=priors,
        **confidence,
    )


def _predict_set(
    ground_truth: EvaluationQuery, candidates: Tensor, presences: Tensor, canvas_px: int, priors: PriorMode
) -> SetPrediction:
    """Return the boxes (tokens, 4) and presences (tokens,) of a query beside all of its targets."""
    rows = map_boxes_to_image(candidates.double(), ground_truth.size, canvas_px).tolist()
    return SetPrediction(
        key=ground_truth.key,
        query_id=ground_truth.query.query_id,
        split=ground_truth.query.split,
        candidates_xyxy=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in rows),
        presences=tuple(presences.tolist()),
        targets_xyxy=ground_truth.query.boxes_xyxy,
        priors=priors,
    )


def evaluate_all(
    predictor: Predictor,
    stream: EvaluationStream,
    accelerator: Accelerator,
    *,
    priors: PriorMode = "own",
    on_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Predict and score every query.

    Args:
        predictor: network and processor.
        stream: this process's batches.
        accelerator: accelerator of this process.
        priors: prior mode, for the records.
        on_batch: function to call after each batch.

    Returns:
        The predictions of all processes.
    """
    canvas_px = stream.batch_builder.canvas_px
    was_training = predictor.network.training
    predictor.network.eval()
    results: list[PositionedPrediction] = []
    for batch in stream:
        with accelerator.autocast():
            predicted = predictor.predict(batch.to(accelerator.device))
        presences = predicted.presences if predictor.keeps_without_target else None
        results += [
            (
                one.position,
                score_prediction(one, predicted.boxes[i], predicted.confidences[i], canvas_px, priors)
                if one.query.boxes_xyxy
                else None,
                None
                if presences is None
                else _predict_set(one, predicted.candidates[i], presences[i].cpu(), canvas_px, priors),
            )
            for i, one in enumerate(batch.ground_truth)
        ]
        on_batch()
    predictor.network.train(was_training)
    all_results: list[PositionedPrediction] = gather_object(results) if accelerator.num_processes > 1 else results
    all_results.sort(key=lambda result: result[0])
    sets = [one for _, _, one in all_results if one is not None]
    if not predictor.network.config.presence and all(one.targets_xyxy for one in sets):
        sets = []  # a network for queries with a target, on such queries
    return Evaluation(records=[record for _, record, _ in all_results if record is not None], sets=sets)
