from __future__ import annotations

from random import Random

import pytest
import torch
from PIL import Image, ImageDraw

from trainer.boxes import cxcywh_to_xyxy, iou
from trainer.data.config import AugmentationConfig
from trainer.data.transforms import sample_crop, transform_for_evaluation, transform_for_training

BOX = (40.0, 10.0, 60.0, 30.0)


STILL = AugmentationConfig(
    long_sides=(1.0,), crop_probability=0, jitter_probability=0, flip_probability=0, random_placement=False
)


def _image() -> Image.Image:
    """Grey 100 x 50 with a red target."""
    image = Image.new("RGB", (100, 50), "grey")
    ImageDraw.Draw(image).rectangle((40, 10, 59, 29), fill="red")
    return image


def _targets() -> torch.Tensor:
    return torch.tensor([BOX])


def _red_share(canvas: torch.Tensor, box: torch.Tensor) -> float:
    """Share of red in a box of the canvas."""
    x1, y1, x2, y2 = (round(v) for v in (cxcywh_to_xyxy(box) * canvas.shape[-1]).tolist())
    inside = canvas[:, y1:y2, x1:x2].float()
    return float(((inside[0] > 170) & (inside[1] < 90)).float().mean())


def test_a_image_fills_the_canvas_by_its_long_side_and_is_centered() -> None:
    prepared = transform_for_evaluation(_image(), _targets(), ["cup"], 200)
    # doubled: 200 x 100, 50 rows of padding above
    torch.testing.assert_close(cxcywh_to_xyxy(prepared.targets) * 200, torch.tensor([[80.0, 70.0, 120.0, 110.0]]))
    assert prepared.padding[:50].all() and prepared.padding[150:].all() and not prepared.padding[50:150].any()
    assert prepared.canvas[:, :50].sum() == 0


def test_without_chance_training_sees_what_testing_sees() -> None:
    trained = transform_for_training(_image(), _targets(), ["cup"], 200, STILL, Random(0))
    tested = transform_for_evaluation(_image(), _targets(), ["cup"], 200)
    torch.testing.assert_close(trained.targets, tested.targets)
    assert torch.equal(trained.canvas, tested.canvas)


def test_targets_stay_on_their_objects_through_every_transform() -> None:
    config = AugmentationConfig(jitter=0.2, crop_probability=0.8)
    for seed in range(60):
        prepared = transform_for_training(_image(), _targets(), ["cup"], 200, config, Random(seed))
        assert _red_share(prepared.canvas, prepared.targets[0]) > 0.9
        assert float(prepared.targets.min()) >= 0 and float(cxcywh_to_xyxy(prepared.targets).max()) <= 1


def test_a_mirrored_image_rewrites_its_queries() -> None:
    config = AugmentationConfig(
        long_sides=(1.0,), crop_probability=0, jitter_probability=0, flip_probability=1, random_placement=False
    )
    prepared = transform_for_training(_image(), _targets(), ["left cup", "cup"], 100, config, Random(0))
    assert prepared.query_texts == ("right cup", "cup")
    # x: 100 - 60 .. 100 - 40; y: 25 rows of padding
    torch.testing.assert_close(cxcywh_to_xyxy(prepared.targets) * 100, torch.tensor([[40.0, 35.0, 60.0, 55.0]]))


def test_a_crop_keeps_at_least_half_of_every_target() -> None:
    boxes = torch.tensor([[2.0, 2.0, 30.0, 20.0], [50.0, 20.0, 90.0, 45.0]])
    crops = [sample_crop((100, 50), boxes, 128, AugmentationConfig(), Random(seed)) for seed in range(100)]
    found = [crop for crop in crops if crop is not None]
    assert len(found) > 20
    for x1, y1, x2, y2 in found:
        assert 0 <= x1 < x2 <= 100 and 0 <= y1 < y2 <= 50
        low, high = torch.tensor([x1, y1, x1, y1]), torch.tensor([x2, y2, x2, y2])
        assert (iou(boxes.maximum(low).minimum(high), boxes) >= 0.5 - 1e-6).all()


@pytest.mark.parametrize(("query", "cropped"), [("red cup", True), ("cup on the left", False)])
def test_a_word_of_place_forbids_the_crop(query: str, cropped: bool) -> None:
    config = AugmentationConfig(
        long_sides=(1.0,), crop_probability=1, jitter_probability=0, flip_probability=0, random_placement=False
    )
    whole = transform_for_evaluation(_image(), _targets(), [query], 128).targets
    changed = [
        not torch.allclose(transform_for_training(_image(), _targets(), [query], 128, config, Random(s)).targets, whole)
        for s in range(10)
    ]
    assert any(changed) is cropped


def test_the_same_seed_gives_the_same_image() -> None:
    first, second = (
        transform_for_training(_image(), _targets(), ["cup"], 128, AugmentationConfig(), Random("a")) for _ in range(2)
    )
    assert torch.equal(first.canvas, second.canvas) and torch.equal(first.targets, second.targets)
