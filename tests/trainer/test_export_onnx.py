from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from trainer.confidence import Calibration, LogisticCurve
from trainer.data.config import ProcessorConfig
from trainer.data.processor import Processor, center_on_canvas, load_tokenizer
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import map_boxes_to_image
from trainer.export_onnx import ExportOnnxConfig, export_onnx
from trainer.model.config import ExemplarScoringConfig, NetworkConfig
from trainer.model.inputs import QueryInputs
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.predict import Grounder

QUERIES = ("left square", "the red square", "rightmost blue square", "green", "yellow square")


@pytest.fixture
def save(tiny_network: NetworkConfig, text_encoder: str, tmp_path: Path) -> Callable[..., tuple[Path, Any, Any]]:
    """Saves a network of random weights: ``save(use_prior=False)``."""

    def make(**changes: Any) -> tuple[Path, GroundingNetwork, Processor]:
        torch.manual_seed(0)
        config = choose_text_encoder(replace(tiny_network, **changes), text_encoder)
        network, processor = GroundingNetwork(config).eval(), Processor(ProcessorConfig(), load_tokenizer(text_encoder))
        network.save_pretrained(tmp_path / "network")
        processor.save_pretrained(tmp_path / "network")
        return tmp_path / "network", network, processor

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"use_prior": False}, {}, {"exemplar_scoring": ExemplarScoringConfig()}],
    ids=["without priors", "priors", "exemplars"],
)
def test_exported_parts_give_the_network_s_boxes(
    changes: dict[str, Any], save: Callable[..., tuple[Path, Any, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    folder, network, processor = save(**changes)
    export_onnx(ExportOnnxConfig(checkpoint=folder, folder=tmp_path / "exported"))
    image_part, query_part = (
        runtime.InferenceSession(tmp_path / "exported" / f"{name}.onnx") for name in ("image", "query")
    )
    random = torch.Generator().manual_seed(1)
    canvas = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=random)
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    padding[:, 50:] = True
    features = image_part.run(None, {"image": canvas.numpy(), "padding": padding.numpy()})
    names = [one.name for one in query_part.get_inputs()]
    for count in (1, 2, 5):  # any number and length of queries
        token_ids, token_mask = Processor.from_pretrained(tmp_path / "exported").tokenize(QUERIES[:count])
        given = {
            "token_ids": token_ids,
            "token_mask": token_mask,
            "prior": torch.randn(count, network.config.prior_dim, generator=random),
            "prior_mask": torch.arange(count) % 2 == 0,
            "has_place": torch.arange(count) < 2,
        }
        given = {name: tensor for name, tensor in given.items() if name in names}
        values = dict(zip((one.name for one in image_part.get_outputs()), features, strict=True))
        assert [one.name for one in query_part.get_outputs()] == ["boxes", "scores"]
        boxes, scores = query_part.run(None, values | {name: tensor.numpy() for name, tensor in given.items()})
        with torch.no_grad():
            encoded = network.encode_images(processor.normalize(canvas, padding), padding)
            inputs = QueryInputs(query_image=torch.zeros(count, dtype=torch.int64), **given)
            expected = network.predict(encoded, inputs)
        torch.testing.assert_close(torch.from_numpy(boxes), expected.boxes[-1], atol=1e-4, rtol=0)
        torch.testing.assert_close(torch.from_numpy(scores), expected.scores, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_exported_boxes_of_several_target_tokens_are_those_of_the_library(
    save: Callable[..., tuple[Path, Any, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    folder, _, processor = save(use_prior=False, presence=True, num_target_tokens=3)
    Calibration(presence=LogisticCurve(slope=1.5, intercept=4.0)).save_pretrained(folder)
    export_onnx(ExportOnnxConfig(checkpoint=folder, folder=tmp_path / "exported"))
    image_part, query_part = (
        runtime.InferenceSession(tmp_path / "exported" / f"{name}.onnx") for name in ("image", "query")
    )
    pixels = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).numpy()
    canvas, padding, _ = center_on_canvas(Image.fromarray(pixels), 64)
    features = image_part.run(None, {"image": canvas[None].numpy(), "padding": padding[None].numpy()})
    token_ids, token_mask = processor.tokenize(QUERIES)
    values = dict(zip((one.name for one in image_part.get_outputs()), features, strict=True))
    values |= {"token_ids": token_ids.numpy(), "token_mask": token_mask.numpy()}
    found = {
        one.name: torch.from_numpy(tensor)
        for one, tensor in zip(query_part.get_outputs(), query_part.run(None, values), strict=True)
    }
    assert list(found) == ["boxes", "scores", "token_boxes", "token_presences"]
    grounder = Grounder.from_pretrained(folder)
    grounder.set_image(pixels)
    for i, prediction in enumerate(grounder.predict_all(QUERIES)):
        best, *tokens = map_boxes_to_image(
            torch.cat([found["boxes"][i, None], found["token_boxes"][i]]).double(), (60, 40), 64
        )
        presences = found["token_presences"][i]
        assert len(prediction.boxes) == 3 and presences.min() >= 0.5  # all are probable, the most probable first
        assert prediction.box_xyxy == pytest.approx(best.tolist(), abs=1e-2)
        for listed, token in zip(prediction.boxes, presences.argsort(descending=True).tolist(), strict=True):
            assert listed.box_xyxy == pytest.approx(tokens[token].tolist(), abs=1e-2)
            assert listed.score == pytest.approx(float(presences[token]), abs=1e-5)


def test_the_missing_extra_is_named(
    save: Callable[..., tuple[Path, Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrainerError, match=r"the export needs the extra onnx: pip install .resvg-grounding\[onnx\]"):
        export_onnx(ExportOnnxConfig(checkpoint=save()[0], folder=tmp_path / "exported"))
