from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from PIL import Image, ImageDraw

from tests.trainer.conftest import STILL
from trainer.boxes import cxcywh_to_xyxy, iou
from trainer.data.config import AugmentationConfig
from trainer.data.transforms import sample_crop, transform_for_evaluation, transform_for_training

BOX = (40.0, 10.0, 60.0, 30.0)


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


class _LowestRandom(Random):
    """Draws the smallest number every time."""

    def random(self) -> float:
        return 0.0


def test_what_has_probability_0_does_not_happen_even_if_0_is_drawn() -> None:
    image = Image.new("RGB", (40, 100), "grey")
    ImageDraw.Draw(image).rectangle((4, 10, 9, 29), fill="red")
    targets = torch.tensor([[4.0, 10.0, 10.0, 30.0]])
    for query in ("left cup", "cup"):
        trained = transform_for_training(image, targets, [query], 200, STILL, _LowestRandom())
        tested = transform_for_evaluation(image, targets, [query], 200)
        assert torch.equal(trained.canvas, tested.canvas) and torch.equal(trained.targets, tested.targets)
        assert trained.query_texts == (query,)


def _place(config: AugmentationConfig, seed: int) -> tuple[int, int]:
    """Left and top of a black image of 100 x 50 that fills half of a canvas of 200."""
    black = Image.new("RGB", (100, 50))
    prepared = transform_for_training(black, _targets(), ["cup"], 200, config, Random(seed))
    assert int((~prepared.padding).sum()) == 100 * 50
    columns, rows = (~prepared.padding).any(0).nonzero(), (~prepared.padding).any(1).nonzero()
    return int(columns.min()), int(rows.min())


def test_an_image_smaller_than_the_canvas_is_centered_or_anywhere_on_it() -> None:
    half = replace(STILL, long_sides=(0.5,))
    assert _place(half, 0) == (50, 75)
    lefts, tops = zip(*(_place(replace(half, random_placement=True), seed) for seed in range(80)), strict=True)
    assert min(lefts) < 10 and 90 < max(lefts) <= 100
    assert min(tops) < 15 and 135 < max(tops) <= 150


def test_a_crop_does_not_squeeze_the_image() -> None:
    config = replace(STILL, crop_probability=1, min_crop_iou=1.0)
    sizes = set()
    for seed in range(20):
        prepared = transform_for_training(_image(), _targets(), ["cup"], 400, config, Random(seed))
        width, height = (prepared.targets[0, 2:] * 400).tolist()
        assert width / height == pytest.approx(1, abs=0.02)  # the target is 20 x 20
        red = (prepared.canvas[0] > 170) & (prepared.canvas[1] < 90)
        assert int(red.sum()) == pytest.approx(width * height, rel=0.1)
        sizes.add(round(width))
    assert len(sizes) > 5


def test_sides_of_a_crop_are_drawn_as_if_the_short_side_had_been_resized() -> None:
    # the short side, 50, would become 75 of the canvas of 100: sides of 31 to 59 there are 20.67 to 39.33 in the image
    config = AugmentationConfig(short_sides=(0.75,), crop_sides=(0.31, 0.59), min_crop_iou=0.01)
    everything = torch.tensor([[0.0, 0.0, 100.0, 50.0]])
    crops = [sample_crop((100, 50), everything, 100, config, Random(seed)) for seed in range(400)]
    boxes = torch.tensor([crop for crop in crops if crop is not None])
    assert len(boxes) == 400
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (sides.amin(0) >= 20.66).all() and (sides.amax(0) <= 39.34).all()
    assert (sides.amin(0) < 20.99).all() and (sides.amax(0) > 39.01).all()
    low = boxes[sides[:, 1] < 24]
    assert low[:, 1].min() < 3 and low[:, 3].max() > 45
    assert boxes[:, 0].min() < 3 and boxes[:, 2].max() > 97


def test_a_crop_is_tried_twenty_times() -> None:
    class CountingRandom(Random):
        calls = 0

        def uniform(self, a: float, b: float) -> float:
            self.calls += 1
            return super().uniform(a, b)

    config, random = AugmentationConfig(short_sides=(1.0,), crop_sides=(0.2, 0.4), min_crop_iou=1.0), CountingRandom(0)
    assert sample_crop((100, 50), torch.tensor([[0.0, 0.0, 100.0, 50.0]]), 100, config, random) is None
    assert random.calls == 20 * 4  # width, height and two corners


def test_jitter_changes_brightness_by_up_to_its_share() -> None:
    grey = Image.new("RGB", (20, 20), (100, 100, 100))  # contrast and saturation change nothing
    config = replace(STILL, jitter_probability=1, jitter=0.2)
    values = [
        int(transform_for_training(grey, _targets(), ["cup"], 20, config, Random(seed)).canvas[0, 10, 10])
        for seed in range(80)
    ]
    assert 80 <= min(values) < 84 and 116 < max(values) <= 120


def test_other_boxes_follow_the_image_and_a_crop_may_cut_them() -> None:
    right = (70.0, 10.0, 90.0, 30.0)
    boxes = torch.tensor([BOX, right, BOX])
    whole = transform_for_training(_image(), boxes, ["cup"], 200, STILL, Random(0))
    assert len(whole.targets) == 1 and whole.other_shares.tolist() == [1, 1]
    torch.testing.assert_close(whole.others[1], whole.targets[0])
    config = AugmentationConfig(crop_probability=1.0, jitter_probability=0, min_crop_iou=1.0)
    cut = [transform_for_training(_image(), boxes, ["cup"], 200, config, Random(seed)) for seed in range(40)]
    shares = torch.stack([one.other_shares for one in cut])
    assert shares[:, 1].min() > 0.99 and shares[:, 0].min() < 0.5 < shares[:, 0].max()
