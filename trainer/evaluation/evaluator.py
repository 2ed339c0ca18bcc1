"""Ask a network every query of some samples and judge its answers: each query once, on any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed.nn  # early: imported beside a process group, its default arguments keep that for ever
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from shards.boxes import area_px
from trainer.boxes import cxcywh_to_xyxy, iou
from trainer.data.dataset import Asked, Batch, EvaluationStream, Preparation, Samples, shuffled
from trainer.data.processor import Processor, fitted_placement
from trainer.evaluation.metrics import Judgement, PriorMode
from trainer.model.network import Grounding, GroundingNetwork

Positioned = tuple[tuple[int, int], Judgement]


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A network with what it needs to answer batches."""

    network: GroundingNetwork
    processor: Processor

    @torch.no_grad()
    def boxes(self, batch: Batch) -> Tensor:
        """(queries, 4) float32 cxcywh as shares of the canvas, of the last stage."""
        images = self.processor.normalised(batch.canvases, batch.padding)
        grounding: Grounding = self.network(
            images,
            batch.padding,
            batch.token_ids,
            batch.token_mask,
            batch.query_image,
            batch.prior,
            batch.prior_given,
        )
        return grounding.boxes[-1]


def evaluation_stream(
    samples: Samples,
    network: GroundingNetwork,
    processor: Processor,
    accelerator: Accelerator,
    *,
    batch_images: int,
    num_workers: int,
    priors: PriorMode = "true",
) -> EvaluationStream:
    """The batches with which a network is evaluated.

    Raises:
        TrainerError: the samples lack the priors that the network asks for.
    """
    prior_dim = network.config.prior_dim if network.config.use_prior and priors != "without" else None
    if prior_dim is not None:
        samples.check_priors(prior_dim)
    prior_of = shuffled(samples.num_queries, 0) if priors == "shuffled" else None
    return EvaluationStream(
        samples=samples,
        preparation=Preparation(
            processor=processor, canvas_px=network.config.image_size_px, prior_dim=prior_dim, prior_of=prior_of
        ),
        batch_images=batch_images,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        num_workers=num_workers,
    )


def in_picture(boxes: Tensor, size: tuple[int, int], canvas_px: int) -> Tensor:
    """Boxes on the canvas of the plain transform as boxes of the picture.

    Args:
        boxes: (n, 4) cxcywh as shares of the canvas.
        size: width and height of the picture.

    Returns:
        (n, 4) xyxy in pixels of the picture, cut at its edges.
    """
    boxes_xyxy = fitted_placement(size, canvas_px).to_picture(cxcywh_to_xyxy(boxes) * canvas_px)
    return boxes_xyxy.clamp(min=0).minimum(boxes_xyxy.new_tensor([*size, *size]))


def judged(asked: Asked, box: Tensor, canvas_px: int, priors: PriorMode) -> Judgement:
    """One query's answer ``box`` (4,), cxcywh as shares of the canvas, against the truth."""
    query = asked.query
    found = in_picture(box[None].double(), asked.size, canvas_px)
    overlaps = iou(found, torch.tensor([query.box_xyxy, *query.boxes_xyxy], dtype=torch.float64))
    x1, y1, x2, y2 = found[0].tolist()
    return Judgement(
        key=asked.key,
        query_id=query.query_id,
        text=query.text,
        split=query.split,
        source=query.source,
        num_rivals=asked.num_rivals,
        category=asked.category,
        target_share=area_px(query.box_xyxy) / (asked.size[0] * asked.size[1]),
        box_xyxy=(x1, y1, x2, y2),
        target_xyxy=query.box_xyxy,
        iou=float(overlaps[0]),
        any_iou=float(overlaps[1:].max() if query.boxes_xyxy else overlaps[0]),
        priors=priors,
    )


def judge_all(
    answerer: Answerer,
    stream: EvaluationStream,
    accelerator: Accelerator,
    *,
    priors: PriorMode = "true",
    on_batch: Callable[[], None] = lambda: None,
) -> list[Judgement]:
    """Every query's judgement in the order of the data, on every process."""
    canvas_px = stream.preparation.canvas_px
    was_training = answerer.network.training
    answerer.network.eval()
    found: list[Positioned] = []
    for batch in stream:
        with accelerator.autocast():
            boxes = answerer.boxes(batch.to(accelerator.device)).float().cpu()
        found += [(a.position, judged(a, box, canvas_px, priors)) for a, box in zip(batch.asked, boxes, strict=True)]
        on_batch()
    answerer.network.train(was_training)
    everything: list[Positioned] = gather_object(found) if accelerator.num_processes > 1 else found
    return [judgement for _, judgement in sorted(everything, key=lambda pair: pair[0])]
