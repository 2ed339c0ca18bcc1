"""Scenes from plan to samples: composed by a renderer, found by a detector, labeled, written."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from augmentation.composers.composed import ComposedScene
from augmentation.composers.prompted import PromptedComposer
from augmentation.detection.config import DetectorConfig
from augmentation.detection.detector import DetectStage
from augmentation.detection.scene_filters import SceneFilterConfig
from augmentation.planning.scene_spec import make_scene_specs, make_uniform_requests
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.queries.labeling import LabelConfig, LabelStage
from generation.models.config import RenderConfig
from generation.models.text_to_image import Renderer
from pipeline import ExecutorConfig, Item, Job, PlanRow, run_job
from shards.reader import SampleReader
from shards.writer import SampleSink

VOCABULARY = VocabularyConfig(categories={"cup": "cups", "ball": "balls"})


def _rendering(painter: Path) -> RenderConfig:
    return RenderConfig(
        checkpoint=str(painter), num_inference_steps=2, guidance_scale=2.0, image_size_px=32, batch_size=3
    )


def test_a_picture_is_drawn_from_the_prompt_with_the_seed_of_its_item(painter: Path) -> None:
    stage = PromptedComposer(_rendering(painter))
    assert (stage.name, stage.batch_size) == ("compose", 3)
    stage.setup()
    spec = next(make_scene_specs(VOCABULARY, make_uniform_requests(VOCABULARY, 1, 0), seed=0))
    items = [Item(key=f"scene-{i}", seed=2**62 + i, payload=spec.to_payload()) for i in range(3)]
    composed = stage.process(items)
    images = Renderer(_rendering(painter)).render([spec.prompt] * 3, [item.seed for item in items])
    for item, one, image in zip(items, composed, images, strict=True):
        assert isinstance(one, ComposedScene)
        assert (one.key, one.seed, one.composer, one.spec.prompt) == (item.key, item.seed, "prompted", spec.prompt)
        assert one.image.shape == (32, 32, 3) and (one.image == image).all()
    assert not (composed[0].image == composed[1].image).all()  # type: ignore[union-attr]


def _job(painter: Path, checkpoint: Path) -> Job:
    """With limits so wide that a detector without training finds scenes in noise."""
    detector = DetectorConfig(
        checkpoint=str(checkpoint),
        confident_score=1e-3,
        min_score=1e-3,
        nms_iou=0.5,
        min_area_share=0,
        max_area_share=1,
    )
    accepted = SceneFilterConfig(max_overlap=0.99, min_border_share=0)
    return Job(
        name="augment",
        fingerprint={"vocabulary": asdict(VOCABULARY)},
        inputs=lambda: (
            PlanRow(key=s.key, payload=s.to_payload())
            for s in make_scene_specs(VOCABULARY, make_uniform_requests(VOCABULARY, 40, 0), seed=0)
        ),
        items_per_shard=15,
        seed=1,
        stages=[
            PromptedComposer(_rendering(painter)),
            DetectStage(detector, VOCABULARY),
            LabelStage(LabelConfig(scene_filter=accepted)),
        ],
        sink=SampleSink(),
    )


def test_a_run_counts_every_scene_and_gives_the_same_samples_again(
    painter: Path, checkpoint: Path, tmp_path: Path
) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    reports = [
        run_job(_job(painter, checkpoint), run, ExecutorConfig(isolate=isolate), console=Console(file=StringIO()))
        for run, isolate in zip(runs, (True, False), strict=True)
    ]
    for report in reports:
        assert report.attempted == 40 == report.accepted + report.rejected.total()
        assert not report.failed and report.accepted
    one, two = ([json.dumps(s.to_json()) for s in SampleReader(run)] for run in runs)
    assert one == two and len(one) == reports[0].accepted
    sample: dict[str, Any] = json.loads(one[0])
    assert sample["queries"] and {query["source"] for query in sample["queries"]} == {"prompted"}
