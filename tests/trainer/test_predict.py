from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from shards.reader import SampleReader
from trainer.confidence import Calibration, LogisticCurve
from trainer.config import TrainConfig
from trainer.data.config import ProcessorConfig
from trainer.data.processor import Processor, load_tokenizer
from trainer.errors import TrainerError
from trainer.evaluate import EvaluateConfig, compute_scores_by_split, evaluate
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.predict import Grounder
from trainer.train import train

MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def test_a_trained_folder_is_all_that_evaluation_and_prediction_need(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(train=(run,), epochs=1)
    train(config)
    best = config.output / "best"
    found = evaluate(EvaluateConfig(checkpoint=best, data=run, splits=("val", "train"), output=tmp_path / "evaluation"))
    lines = (tmp_path / "evaluation" / "predictions.jsonl").read_text().splitlines()
    report = json.loads((tmp_path / "evaluation" / "scores.json").read_text())["own"]
    assert report == compute_scores_by_split(found)["own"] and report["val"]["num_queries"] == 6
    assert {(one.num_distractors, one.category) for one in found} == {(1, "square")}
    assert len({json.loads(line)["query_id"] for line in lines}) == len(lines) == 18
    assert json.loads((config.output / "metrics.json").read_text())["history"][0]["validation"] == report["val"]

    sample = SampleReader(run, "val").read(0)
    first = json.loads(lines[0])
    image = tmp_path / "image.png"
    image.write_bytes(sample.image)
    assert sample.priors is not None
    grounder = Grounder.from_pretrained(best)
    with pytest.raises(TrainerError, match="call set_image before predict"):
        grounder.predict(sample.queries[0].text)
    grounder.set_image(image)
    prediction = grounder.predict(sample.queries[0].text, prior=sample.priors[0])
    assert prediction.box_xyxy == pytest.approx(first["box_xyxy"], abs=1e-3)
    queries_of_priors: list[str] = []

    def make_prior(query: str) -> np.ndarray:
        queries_of_priors.append(query)
        return sample.priors[0]  # type: ignore[index]

    assert grounder.predict(sample.queries[0].text, prior=make_prior) == prediction
    assert queries_of_priors == [sample.queries[0].text]
    assert grounder.predict(sample.queries[0].text) != prediction
    with pytest.raises(TrainerError, match=r"has shape \(3,\), the network takes \(6,\)"):
        grounder.predict("cup", prior=np.zeros(3))
    with pytest.raises(TrainerError, match="must not be empty"):
        grounder.predict(" ")


def test_an_image_with_many_queries_is_encoded_once(tiny_network: NetworkConfig, text_encoder: str) -> None:
    torch.manual_seed(0)
    network = GroundingNetwork(choose_text_encoder(tiny_network, text_encoder))
    grounder = Grounder(network, Processor(ProcessorConfig(), load_tokenizer(text_encoder)))
    encoded: list[object] = []
    network.backbone.register_forward_hook(lambda *_: encoded.append(None))
    red, blue = (Image.new("RGB", (60, 30), color) for color in ("red", "blue"))
    grounder.set_image(red)
    first = grounder.predict_all(["red square", "left square"])
    assert grounder.predict("left square").box_xyxy == pytest.approx(first[1].box_xyxy, abs=1e-3)
    grounder.set_image(red.copy())
    assert len(encoded) == 1
    grounder.set_image(blue)
    assert len(encoded) == 2 and grounder.encoded.images == [blue]


@pytest.fixture
def grounder(tiny_network: NetworkConfig, text_encoder: str) -> Grounder:
    torch.manual_seed(0)
    network = GroundingNetwork(choose_text_encoder(tiny_network, text_encoder))
    return Grounder(network, Processor(ProcessorConfig(), load_tokenizer(text_encoder)))


def test_images_of_a_folder_are_answered_in_batches(grounder: Grounder, tmp_path: Path) -> None:
    sizes = {"a.png": (60, 30), "b.png": (20, 50), "c.png": (40, 40)}
    for name, size in sizes.items():
        Image.new("RGB", size, "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    queries = ["red square", "left square"]
    found = list(grounder.predict_images(tmp_path, queries, batch_images=2))
    assert [[one.query for one in some] for some in found] == [queries] * 3
    for predictions, name in zip(found, sizes, strict=True):
        grounder.set_image(tmp_path / name)
        for prediction, expected in zip(predictions, grounder.predict_all(queries), strict=True):
            assert prediction.image.size == sizes[name]
            assert prediction.box_xyxy == pytest.approx(expected.box_xyxy, abs=1e-3)
            assert prediction.score == pytest.approx(expected.score, abs=1e-5)


def test_images_are_paths_arrays_or_of_pil(grounder: Grounder, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    images = [pixels, Image.fromarray(pixels), tmp_path / "a.png", str(tmp_path / "a.png")]
    found = [some[0] for some in grounder.predict_images(images, ["red square"], batch_images=1)]
    assert all(one == found[0] for one in found)
    for wrong, rule in (
        (pixels.astype(np.float32), "must be uint8"),
        (pixels[..., :2], r"got uint8 of \(30, 60, 2\)"),
        ([pixels], "got list"),
        (tmp_path / "b.png", "does not exist"),
    ):
        with pytest.raises(TrainerError, match=rule):
            grounder.set_image(wrong)  # type: ignore[arg-type]


def test_a_prediction_is_drawn_saved_and_written_as_json(grounder: Grounder, tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 30), "white")
    grounder.set_image(image)
    prediction = grounder.predict("red square")
    record = json.loads(json.dumps(prediction.to_dict()))
    assert record["query"] == "red square" and record["presence"] is None and 0 <= record["score"] <= 1
    assert set(record) == {"query", "box_xyxy", "stages_xyxy", "score", "presence", "boxes", "unseen_words"}
    assert record["boxes"] == [{"box_xyxy": record["box_xyxy"], "score": record["score"]}]  # it cannot tell of absence
    prediction.save(tmp_path / "answer.png")
    with Image.open(tmp_path / "answer.png") as saved:
        assert saved.size == image.size and saved.convert("RGB").getcolors(9999) != image.getcolors()
    assert image.getcolors() == [(1800, (255, 255, 255))]  # the image itself is untouched


def test_an_object_that_is_probably_absent_is_said_to_be(grounder: Grounder) -> None:
    grounder.set_image(Image.new("RGB", (60, 30), "red"))
    for intercept, words in ((-40.0, "probably not in this image"), (40.0, "%")):
        grounder.calibration = Calibration(presence=LogisticCurve(intercept=intercept))
        assert words in grounder.predict("red square").describe_confidence()


@pytest.mark.parametrize("mixed_precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same_boxes(
    grounder: Grounder, mixed_precision: Literal["bf16", "fp16"]
) -> None:
    half = Grounder(grounder.network, grounder.processor, mixed_precision=mixed_precision)
    image = Image.effect_noise((60, 40), 90)
    (expected,), (found,) = (next(iter(one.predict_images([image], ["red square"]))) for one in (grounder, half))
    assert found.box_xyxy == pytest.approx(expected.box_xyxy, abs=1.5) and found != expected


def test_an_absent_device_is_named(tmp_path: Path, grounder: Grounder) -> None:
    grounder.network.save_pretrained(tmp_path)
    grounder.processor.save_pretrained(tmp_path)
    assert Grounder.from_pretrained(tmp_path).device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(TrainerError, match="device 'nonsense' cannot be used"):
        Grounder.from_pretrained(tmp_path, device="nonsense")
