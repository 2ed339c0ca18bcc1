from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from shards.reader import SampleReader
from tests.workflows.toy_predictions import make_prediction
from trainer.evaluate import write_predictions
from trainer.evaluation.metrics import PredictionRecord
from workflows import compare, evaluate, ingest
from workflows.miniature.world.dataset import WorldConfig, write_dataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=2, num_val=4, num_test=1))
    data = UPath(folder / "data")
    annotations, images = UPath(folder / "miniature"), UPath(folder / "images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=data))
    return data / "miniature" / "samples"


def _answers(samples: UPath, iou: float) -> Sequence[PredictionRecord]:
    return [
        make_prediction(0, iou, key=sample.key, query_id=query.query_id, text=query.text, target_xyxy=query.box_xyxy)
        for sample in SampleReader(samples, "val")
        for query in sample.queries
    ]


def test_a_report_is_written_with_tables_plots_and_images(samples: UPath, tmp_path: Path) -> None:
    answers = _answers(samples, 0.7)
    without = [replace(one, iou=0.2, priors="none") for one in answers]
    report = evaluate.write_report(samples, [*answers, *without], tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    assert (tmp_path / "report.md").read_text().startswith("# Evaluation\n")
    for name in ("thresholds", "groups", "priors", "worst", "random"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 200
    evaluate.print_table({"network": report})


def test_compare_reads_two_folders(samples: UPath, tmp_path: Path) -> None:
    for name, iou in (("one", 0.7), ("other", 0.2)):
        write_predictions(tmp_path / name / "evaluation", _answers(samples, iou))
    get_dataset_paths = [tmp_path / name / "evaluation" for name in ("one", "other")]
    compare.main(
        compare.CompareConfig(first=get_dataset_paths[0], second=get_dataset_paths[1], output=tmp_path / "comparison")
    )
    record = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert record["runs"] == ["one", "other"] and record["splits"]["val"]["difference"]["0.50"]["mean"] == 1
    assert "| val | all |" in (tmp_path / "comparison" / "comparison.md").read_text()
