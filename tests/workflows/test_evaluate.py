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
from trainer.config_file import read_config, write_config
from trainer.evaluate import CONFIG_FILE, EvaluateConfig, write_predictions
from trainer.evaluation.metrics import PredictionRecord
from workflows import compare, evaluate, ingest
from workflows.cli.console import UserError
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
    report = evaluate.write_report(samples, [*answers, *without], tmp_path, "Network a on b.")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    assert (tmp_path / "report.md").read_text().startswith("# Evaluation\n\nNetwork a on b. In percent")
    for name in ("thresholds", "groups", "priors", "worst", "random"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 200
    evaluate.print_table({"network": report})


def test_the_network_of_the_dataset_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = evaluate.EvaluateCommandConfig(dataset="mine")
    Path("runs/miniature-both/best").mkdir(parents=True)
    with pytest.raises(UserError, match=r"runs/mine-both/best does not exist.*\(runs/miniature-both/best\)"):
        config.find_checkpoint()
    Path("runs/mine-both/best").mkdir(parents=True)
    assert config.find_checkpoint() == Path("runs/mine-both/best")


def test_the_shipped_network_is_evaluated_by_its_name(
    samples: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = evaluate.EvaluateCommandConfig(
        checkpoint=Path("miniature"), data=samples.parent.parent, splits=("val",), priors=("none",)
    )
    evaluate.main(config)
    report = json.loads(Path("runs/miniature/evaluation/report.json").read_text())
    assert report["val"]["accuracy"]["0.50"] > 0.3  # trained: random boxes are right for a few of a hundred queries


def test_an_evaluation_on_another_dataset_is_not_overwritten(tmp_path: Path) -> None:
    checkpoint, output = tmp_path / "runs" / "best", tmp_path / "runs" / "evaluation"
    before = EvaluateConfig(
        checkpoint=checkpoint, data=UPath(tmp_path / "miniature" / "samples"), splits=("val",), output=output
    )
    write_config(before, output / CONFIG_FILE)
    config = evaluate.EvaluateCommandConfig(checkpoint=checkpoint, dataset="mine", data=UPath(tmp_path))
    with pytest.raises(UserError, match=r"holds the evaluation of .* on .*miniature/samples, not of .*mine/samples"):
        evaluate.run_evaluation(config, UPath(tmp_path / "mine" / "samples"), ("val",), output)
    assert read_config(EvaluateConfig, output / CONFIG_FILE) == before


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
