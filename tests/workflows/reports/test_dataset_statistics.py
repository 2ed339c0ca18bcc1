from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from shards.schema import Instance, Query
from shards.sources.published_sizes import get_published_queries
from shards.sources.sample import SourceSample
from workflows.reports import dataset_statistics as inspection


def _sample(split: str, image: str, *queries: tuple[str, int | None]) -> SourceSample:
    """Three cups (one a crowd) and a ball; queries say which instance they mean."""
    boxes = ((0, 0, 10, 10), (20, 0, 60, 40), (0, 50, 100, 100), (70, 0, 80, 10))
    categories = ("cup", "cup", "cup", "ball")
    instances = tuple(
        Instance(box_xyxy=box, category=category, is_crowd=i == 2)
        for i, (box, category) in enumerate(zip(boxes, categories, strict=True))
    )
    return SourceSample(
        key=f"{split}-{Path(image).stem}",
        split=split,
        image_name=image,
        instances=instances,
        queries=tuple(
            Query(
                query_id=f"{split}-{image}-{i}",
                text=text,
                boxes_xyxy=(instances[0 if target is None else target].box_xyxy,),
                split=split,
                source="toy",
                instances=None if target is None else (target,),
            )
            for i, (text, target) in enumerate(queries)
        ),
        size=(100, 100),
    )


SAMPLES = [
    _sample("train", "COCO_train2014_000000000007.jpg", ("left cup", 0), ("Left cup!", 0), ("cup", 0), ("cup", 1)),
    _sample("train", "b.jpg", ("red ball", 3), ("something", None)),
    _sample("val", "000000000007.jpg", ("cup on the right", 1)),
]


def test_splits_are_counted_beside_the_published_figures() -> None:
    assert inspection.count_splits(SAMPLES, {"val": 1, "testA": 5}) == {
        "train": {"queries": 6, "refs": 4, "images": 2, "published_queries": None},
        "val": {"queries": 1, "refs": 1, "images": 1, "published_queries": 1},
        "testA": {"queries": 0, "refs": 0, "images": 0, "published_queries": 5},
    }


@pytest.mark.parametrize(
    ("dataset", "format", "split_by", "val"),
    [
        ("refcoco", "refer", "unc", 10_834),
        ("anything", "transvg", "unc+", 10_758),
        ("refcocog", "refer", "umd", 4_896),
        ("refcocog", "refer", "google", 9_536),
        ("flickr30k", "flickr30k", "", 14_433),
        ("mine", "table", "", None),
    ],
)
def test_published_counts_are_found_by_the_data_sets_names(
    dataset: str, format: str, split_by: str, val: int | None
) -> None:
    assert get_published_queries(dataset, format, split_by).get("val") == val


def test_duplicates_and_contradictions_are_counted() -> None:
    assert inspection.count_duplicates(SAMPLES) == {"same_words_same_target": 1, "same_words_another_target": 2}


def test_distractors_are_counted_without_crowds() -> None:
    assert inspection.count_by_distractors(SAMPLES) == {"0": 1, "1": 5, "unknown": 1}


def test_queries_without_a_target_count_for_no_ref_size_or_distractor() -> None:
    sample = SAMPLES[2]
    (query,) = sample.queries
    none = replace(query, text="third cup", boxes_xyxy=(), instances=())
    both = replace(query, text="cups", boxes_xyxy=tuple(i.box_xyxy for i in sample.instances[:2]), instances=(0, 1))
    samples = [replace(sample, queries=(query, none, both))]
    assert inspection.count_targets(samples) == {"none": 1, "one": 1, "several": 1}
    assert inspection.count_splits(samples, {})["val"] == {
        "queries": 3, "refs": 2, "images": 1, "published_queries": None,
    }  # fmt: skip
    assert inspection.count_by_distractors(samples) == {"1": 1, "unknown": 1}
    assert inspection.summarize_box_sizes(samples) == inspection.summarize_box_sizes(
        [replace(sample, queries=(query, both))]
    )


def test_words_and_sizes_are_those_of_the_queries() -> None:
    words = inspection.compute_word_statistics(query.text for sample in SAMPLES for query in sample.queries)
    assert words["mean_words"] == pytest.approx((2 + 2 + 1 + 1 + 2 + 1 + 4) / 7)
    assert words["spatial_share"] == pytest.approx(3 / 7)
    assert words["color_share"] == pytest.approx(1 / 7)
    sizes = inspection.summarize_box_sizes(SAMPLES)
    assert (sizes["small"], sizes["medium"]) == (pytest.approx(5 / 7), pytest.approx(2 / 7))
    assert sizes["median_share"] == pytest.approx(0.01)  # 10 x 10 of 100 x 100


def test_images_of_coco_are_the_same_under_all_their_names() -> None:
    names = ("COCO_train2014_000000000007.jpg", "coco/COCO_val2014_000000000007_12.jpg", "000000000007.jpg")
    assert {inspection.normalize_image_name(name) for name in names} == {"COCO 7"}
    assert inspection.normalize_image_name("36979.jpg") == "36979"
    assert inspection.count_shared_images(SAMPLES) == {"train and val": 1}
    assert inspection.count_shared_images(SAMPLES, ["b.png"]) == {"train and val": 1, "train and the list": 1}


def test_the_same_file_under_two_names_is_found(tmp_path: Path) -> None:
    for name, color in (("a.png", "red"), ("b.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (10, 8), color).save(tmp_path / name)
    (tmp_path / "other").mkdir()
    Image.new("RGB", (10, 8), "blue").save(tmp_path / "other" / "z.png")
    other = UPath(tmp_path / "other")
    assert inspection.find_same_content(["a.png", "b.png", "c.png"], UPath(tmp_path), other) == [
        ["a.png", "b.png"],
        ["c.png", str(other / "z.png")],
    ]
