from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from shards.boxes import Box
from shards.schema import Query
from shards.sources.sample import Problem, SourceSample
from shards.sources.screening import Screening, screen_dataset
from shards.sources.validation import ValidationResult, drop_invalid_boxes

SIZE = (640, 480)


def _screen(
    boxes: Sequence[Sequence[float]], box_format: str | None = "xyxy", size: tuple[int, int] = SIZE
) -> Screening:
    """Screen a dataset of one image and query for each box; the last two images are a split of their own."""
    samples, validation = [], ValidationResult()
    for number, values in enumerate(boxes):
        split = "val" if number >= len(boxes) - 2 else "train"
        box: Box = (values[0], values[1], values[2], values[3])
        query = Query(query_id=str(number), text="cup", boxes_xyxy=(box,), split=split, source="mine")
        name = f"{number}.jpg"
        sample = SourceSample(key=str(number), split=split, image_name=name, instances=(), queries=(query,), size=size)
        samples.append(sample)
        validation.sizes[name] = size
        if left := drop_invalid_boxes(sample, size, validation.problems):
            validation.samples.append(left)
    return screen_dataset(samples, validation, box_format)


@pytest.fixture
def corners() -> np.ndarray:
    """Boxes xyxy anywhere in the image."""
    points = np.random.default_rng(0).uniform(0, 1, (40, 2, 2)) * SIZE
    return np.concatenate([points.min(1), points.max(1) + 1], axis=1)


def test_boxes_that_were_read_rightly_are_no_matter(corners: np.ndarray) -> None:
    screening = _screen(corners)
    assert screening.find_fault(0.0) is None and not screening.causes
    assert (screening.num_queries, screening.num_dropped, screening.empty_splits) == (40, 0, ())


@pytest.mark.parametrize("written", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("read", ["xyxy", "xywh", "cxcywh"])
def test_another_reading_of_the_boxes_is_suggested(corners: np.ndarray, written: str, read: str) -> None:
    low, high = corners[:, :2], corners[:, 2:]
    raw = {
        "xyxy": corners,
        "xywh": np.concatenate([low, high - low], axis=1),
        "cxcywh": np.concatenate([(low + high) / 2, high - low], axis=1),
    }[written]
    first, second = raw[:, :2], raw[:, 2:]
    boxes = {
        "xyxy": raw,
        "xywh": np.concatenate([first, first + second], axis=1),
        "cxcywh": np.concatenate([first - second / 2, first + second / 2], axis=1),
    }[read]
    fault = _screen(boxes, read).find_fault(0.05)
    if written == read:
        assert fault is None
    else:
        assert fault and "of 40 queries" in fault and f"try --fields.box-format {written}" in fault
        assert "--fields" not in (_screen(boxes, None).find_fault(0.05) or "")  # the format of the file decides


def test_fractions_and_thousandths_are_recognized(corners: np.ndarray) -> None:
    shares = corners / np.tile(SIZE, 2)
    fault = _screen(shares * 0.99).find_fault(1.0)
    assert fault and "no box is larger than one pixel; they look like fractions of the image" in fault
    fault = _screen(shares * 990).find_fault(0.05)
    assert fault and "as thousandths of the image, the boxes would be valid" in fault
    large = _screen(shares * 990, size=(4000, 3000))  # all of them are valid
    assert large.find_fault(0.0) is None and "no box reaches beyond 1,000 px" in large.causes[0]
    percent = _screen(shares * 99)
    assert percent.find_fault(0.0) is None and "they look like hundredths of the image" in percent.causes[0]


def test_queries_of_one_id_are_a_fault() -> None:
    queries = tuple(
        Query(query_id="7", text="cup", boxes_xyxy=((0, 0, 4, 4),), split="train", source="mine") for _ in "ab"
    )
    sample = SourceSample(key="0", split="train", image_name="0.jpg", instances=(), queries=queries)
    screening = screen_dataset([sample], ValidationResult(samples=[sample], sizes={"0.jpg": SIZE}))
    assert screening.find_fault(1.0) == "several queries have the id 7; give each one its own"


def test_a_split_without_a_query_left_is_a_fault(corners: np.ndarray) -> None:
    corners[-2:] += 5000
    screening = _screen(corners)
    assert screening.find_fault(0.05) == "no query is left of the split val"
    assert screening.find_fault(1.0) is None
    assert screening.dropped_share == 0.05


def test_damaged_images_count_and_missing_ones_do_not() -> None:
    samples = [
        SourceSample(
            key=str(number),
            split="train",
            image_name=f"{number}.jpg",
            instances=(),
            queries=(
                Query(query_id=str(number), text="cup", boxes_xyxy=((0, 0, 4, 4),), split="train", source="mine"),
            ),
        )
        for number in range(10)
    ]
    rules = ["unreadable_image"] * 3 + ["missing_image"] * 5
    validation = ValidationResult(
        samples=samples[8:],
        problems=[Problem(rule=rule, image=f"{i}.jpg", num_queries=1) for i, rule in enumerate(rules)],
        sizes={"8.jpg": SIZE, "9.jpg": SIZE},
    )
    screening = screen_dataset(samples, validation)
    assert (screening.num_queries, screening.num_dropped, screening.dropped_share) == (5, 3, 0.6)
    nothing_left = ValidationResult(problems=validation.problems[:3])
    assert screen_dataset(samples[:3], nothing_left).find_fault(0.05) == (
        "3 of 3 queries (100.0 %) are left out, more than 5 %; no query is left of the split train"
    )
