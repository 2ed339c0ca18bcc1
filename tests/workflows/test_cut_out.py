"""The commands that make cut-outs: what they keep, count, never use, and do a second time."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from PIL import Image, ImageDraw
from upath import UPath

from augmentation.composers.cutouts import CutoutFolder, read_cutout
from augmentation.composers.pasted import PastedConfig, check_pasted
from augmentation.errors import AugmentationError
from generation.models.webp import encode_webp
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.store import PriorSink
from pipeline import ExecutorConfig, Item, Job, PlanRow, Rejected, Stage, run_job
from shards.query_table import read_query_table, write_query_table
from shards.reader import SampleReader
from shards.schema import Instance, Query
from shards.sources.load_images import LoadImageStage
from shards.sources.sample import SourceSample
from shards.sources.validation import validate_samples
from shards.writer import SampleSink
from workflows import ingest
from workflows.cli.console import UserError
from workflows.cli.paths import get_dataset_paths, write_lines
from workflows.cut_out import CocoConfig, CutOutConfig, PriorsConfig, Tally, extract_from_priors, main
from workflows.miniature.world import cutouts as miniature_cutouts
from workflows.miniature.world.dataset import WorldConfig, list_held_out_combinations, write_dataset
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path
from workflows.scenes.held_out import find_held_out_images

SQUARE = [20, 20, 100, 20, 100, 100, 20, 100]


@pytest.fixture
def coco(tmp_path: Path) -> CocoConfig:
    """Four images with a cup each; the first has a crowd, too, and the last is not there."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number in range(1, 5):
        name = f"COCO_train2014_{number:012d}.jpg"
        images.append({"id": number, "file_name": name, "width": 160, "height": 120})
        annotations.append({"id": 10 + number, "image_id": number, "category_id": 1, "segmentation": [SQUARE]})
        if number < 4:
            Image.new("RGB", (160, 120), (50 * number, 90, 30)).save(tmp_path / "images" / name)
    annotations.append({"id": 20, "image_id": 1, "category_id": 1, "segmentation": {"counts": []}, "iscrowd": 1})
    record = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}
    (tmp_path / "instances.json").write_text(json.dumps(record))
    return CocoConfig(
        instances=tmp_path / "instances.json",
        images=tmp_path / "images",
        output=tmp_path / "cutouts",
        data=UPath(tmp_path / "data"),
    )


def _changed(config: CocoConfig, **changes: Any) -> CocoConfig:
    return CocoConfig(**{**vars(config), **changes})


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_images_are_cut_and_what_is_left_out_is_counted(coco: CocoConfig) -> None:
    tally = main(CutOutConfig(source=coco))
    assert tally.kept == {"cup": 3}
    assert tally.excluded == {"crowd": 1, "missing_image": 1}
    assert _names(coco.output) == [f"cup/COCO_train2014_{n:012d}__{10 + n}.png" for n in (1, 2, 3)]
    cutout = read_cutout(coco.output / "cup" / "COCO_train2014_000000000002__12.png")
    assert cutout.size == (80, 80)
    assert np.asarray(cutout)[40, 40].tolist() == pytest.approx([100, 90, 30, 255], abs=2)


def test_the_same_command_goes_on_where_it_stopped(coco: CocoConfig) -> None:
    whole = main(CutOutConfig(source=coco))
    first, second, _ = sorted((coco.output / "cup").iterdir())
    first.unlink()
    second.write_bytes(b"kept as it is")
    again = main(CutOutConfig(source=coco))
    assert (again.kept, again.excluded) == (whole.kept, whole.excluded)
    assert first.exists() and second.read_bytes() == b"kept as it is"
    assert all(name.endswith(".png") for name in _names(coco.output))


def test_a_category_gets_no_more_than_asked_for(coco: CocoConfig) -> None:
    few = _changed(coco, max_per_category=2)
    assert main(CutOutConfig(source=few)).kept == {"cup": 2}
    names = _names(coco.output)
    assert len(names) == 2
    assert main(CutOutConfig(source=few)).kept == {"cup": 2} and _names(coco.output) == names


def test_unknown_categories_and_runs_without_a_cutout_are_users_errors(coco: CocoConfig) -> None:
    with pytest.raises(UserError, match="has no polygons of kite; it has cup"):
        main(CutOutConfig(source=_changed(coco, categories=("cup", "kite"))))
    with pytest.raises(UserError, match="nothing was cut out"):
        main(CutOutConfig(source=_changed(coco, images=coco.output)))


def test_a_category_that_is_no_name_of_a_folder_is_left_out(coco: CocoConfig) -> None:
    record = json.loads(coco.instances.read_text())
    record["categories"][0]["name"] = "../cup"
    coco.instances.write_text(json.dumps(record))
    with pytest.raises(UserError, match="nothing was cut out"):
        main(CutOutConfig(source=coco))
    assert not coco.output.exists()


def test_a_image_whose_name_no_file_can_have_is_left_out(coco: CocoConfig) -> None:
    record = json.loads(coco.instances.read_text())
    record["images"][0]["file_name"] = "n" * 5_000 + ".jpg"
    coco.instances.write_text(json.dumps(record))
    assert main(CutOutConfig(source=coco)).excluded["unusable_name"] == 2


def _ingested(coco: CocoConfig, names: dict[str, str], tmp_path: Path) -> None:
    """A data set that was read: images by name and split; COCO's show what their number says, others number 3."""
    photographs = tmp_path / "originals"
    photographs.mkdir()
    samples = []
    for number, (name, split) in enumerate(names.items()):
        number_of = int(name.split("_")[-1].split(".")[0]) if name[0] == "C" else 3
        source = coco.images / f"COCO_train2014_{number_of:012d}.jpg"
        if source.exists():
            (photographs / name).write_bytes(source.read_bytes())
        box = (0.0, 0.0, 10.0, 10.0)
        query = Query(query_id=str(number), text="cup", boxes_xyxy=(box,), split=split, source="toy")
        instances = (Instance(box_xyxy=box, category="cup"),)
        samples.append(
            SourceSample(key=f"s{number}", split=split, image_name=name, instances=instances, queries=(query,))
        )
    _run_ingest(samples, photographs, coco.data)


def _run_ingest(samples: list[SourceSample], photographs: Path, data: UPath) -> None:
    """As ``ingest`` does once the annotations are read."""
    screening, place = validate_samples(samples, photographs), get_dataset_paths("toy", data)
    job = Job(
        name="ingest",
        fingerprint={},
        inputs=lambda: [PlanRow(key=s.key, payload=s.to_payload(), group=s.split) for s in screening.samples],
        items_per_shard=2,
        seed=0,
        stages=[LoadImageStage(photographs)],
        sink=SampleSink(),
    )
    run_job(job, place.samples, ExecutorConfig(executor="inline"))
    write_lines(place.problems, screening.problems)
    write_query_table(place.queries, ({"query_id": q.query_id, "split": q.split} for s in samples for q in s.queries))


def test_images_of_other_splits_are_never_cut_whatever_their_name(coco: CocoConfig, tmp_path: Path) -> None:
    """1 is of train; 2 is of val, under another prefix; 3 is of testA, under another name altogether; 4 is of val and
    missing, so it is known by its name alone."""
    names = {
        "COCO_train2014_000000000001.jpg": "train",
        "COCO_val2014_000000000002.jpg": "val",
        "holiday.jpg": "testA",
        "COCO_val2014_000000000004.jpg": "val",
    }
    _ingested(coco, names, tmp_path)
    Image.new("RGB", (160, 120), (1, 2, 3)).save(coco.images / "COCO_train2014_000000000004.jpg")
    tally = main(CutOutConfig(source=coco))
    assert tally.kept == {"cup": 1}
    assert tally.excluded == {"crowd": 1, "held_out_name": 2, "held_out_content": 1}
    assert _names(coco.output) == ["cup/COCO_train2014_000000000001__11.png"]


def test_what_ingest_has_read_is_held_out_but_train(tmp_path: Path) -> None:
    write_dataset(WorldConfig(output=tmp_path / "world", num_train=3, num_val=1, num_test=1))
    data = UPath(tmp_path / "data")
    assert find_held_out_images(data).ids == frozenset()
    ingest.main(
        ingest.IngestConfig(
            annotations=tmp_path / "world" / "miniature", images=tmp_path / "world" / "images", data=data
        )
    )
    held_out = find_held_out_images(data)
    splits = {
        sample.image_name: sample.queries[0].split
        for sample in SampleReader(get_dataset_paths("miniature", data).samples)
    }
    assert held_out.ids == {Path(name).stem for name, split in splits.items() if split != "train"} != set()
    name = next(name for name, split in splits.items() if split == "testA")
    content = (tmp_path / "world" / "images" / name).read_bytes()
    assert held_out.reason("other.png", content) == "held_out_content"
    train = (tmp_path / "world" / "images" / "miniature_000001.png").read_bytes()
    assert held_out.reason("miniature_000001.png", train) is None


def test_boxes_of_training_queries_that_were_left_out_hold_nothing_out(tmp_path: Path) -> None:
    coco_like = {"rule": "bad_box", "num_queries": 1, "detail": ""}
    data = UPath(tmp_path)
    write_dataset(WorldConfig(output=tmp_path / "world", num_train=1, num_val=1, num_test=1))
    ingest.main(
        ingest.IngestConfig(
            annotations=tmp_path / "world" / "miniature", images=tmp_path / "world" / "images", data=data
        )
    )
    place = get_dataset_paths("miniature", data)
    of_train = next(record["query_id"] for record in read_query_table(place.queries) if record["split"] == "train")
    of_val = next(record["query_id"] for record in read_query_table(place.queries) if record["split"] == "val")
    problems = [("a.jpg", of_train, "bad_box"), ("b.jpg", of_val, "bad_box"), ("c.jpg", "", "missing_image")]
    problems.append(("d.jpg", "", "bad_instance"))
    write_lines(place.problems, [{**coco_like, "image": i, "query_id": q, "rule": r} for i, q, r in problems])
    assert {"b", "c"} <= find_held_out_images(data).ids
    assert not {"a", "d"} & find_held_out_images(data).ids


class _StoredImage(Stage[Item, Prior]):
    """Gives the image of a prior from its plan's row."""

    def process(self, items: list[Item]) -> list[Prior | Rejected]:
        found: list[Prior | Rejected] = []
        for item in items:
            noise = np.random.default_rng(0).integers(0, 12, (128, 128, 3))
            image = Image.fromarray((np.array((180, 190, 200)) + noise).astype(np.uint8))
            for disc in item.payload["discs"]:
                ImageDraw.Draw(image).ellipse(disc, fill=(200, 30, 30))
            generated = GeneratedImages(
                prompt=item.key,
                images=(),
                feature=np.ones(4, np.float16),
                clip_score=item.payload.get("clip_score"),
                compressed=(encode_webp(np.asarray(image), None),),
            )
            found.append(Prior(prior_id=item.key, generated=generated, attributes=item.payload["attributes"] or {}))
        return found


def test_priors_of_one_whole_thing_are_cut_by_their_head(tmp_path: Path) -> None:
    one, two = [[34, 34, 94, 94]], [[20, 40, 55, 75], [75, 40, 110, 75]]
    rows = {
        "a": {
            "discs": one,
            "attributes": {"target": {"lemma": "mug", "noun": "mug"}, "category": "cup"},
            "clip_score": 20.0,
        },
        "b": {"discs": one, "attributes": {"target": {"lemma": "ball"}, "category": ""}},
        "c": {"discs": two, "attributes": {"target": {"lemma": "cup"}, "category": "cup"}},
        "d": {"discs": one, "attributes": {"target": {"lemma": "cup", "plural": True}, "category": "cup"}},
        "e": {"discs": one, "attributes": None},
    }
    job = Job(
        name="priors",
        fingerprint={},
        inputs=lambda: [PlanRow(key=key * 32, payload=payload) for key, payload in rows.items()],
        items_per_shard=8,
        seed=0,
        stages=[_StoredImage()],
        sink=PriorSink({}, "clip"),
    )
    run_job(job, find_prior_store_path("miniature", UPath(tmp_path)) / "0001", ExecutorConfig(executor="inline"))
    config = PriorsConfig(output=tmp_path / "cutouts", categories=("cup",), data=UPath(tmp_path))
    for _ in range(2):
        tally = main(CutOutConfig(source=config))
        assert tally.kept == {"cup": 1}
        assert tally.excluded == {"another_category": 3, "in_pieces": 1}
        assert _names(config.output) == [f"cup/{'a' * 32}.png"]
    assert read_cutout(config.output / "cup" / f"{'a' * 32}.png").size == pytest.approx((61, 61), abs=3)
    for least, kept in ((19.0, 1), (21.0, 0)):
        strict = replace(config, output=tmp_path / str(least), min_clip_score=least)
        tally = extract_from_priors(strict)
        assert (tally.kept["cup"], tally.excluded["low_clip_score"]) == (kept, 2 - kept)  # "c" has no score at all


def test_the_command_line_names_its_sources() -> None:
    shared = ["--output", "o", "--categories", "cup"]
    coco = tyro.cli(CutOutConfig, args=["coco", "--instances", "i.json", "--images", "photos", *shared]).source
    assert isinstance(coco, CocoConfig) and coco.categories == ("cup",)
    priors = tyro.cli(CutOutConfig, args=["priors", *shared, "--cut.min-size-px", "30"]).source
    assert isinstance(priors, PriorsConfig) and priors.cut.min_size_px == 30
    with pytest.raises(ValueError, match="categories must name at least one"):
        PriorsConfig(output=Path("o"))


def test_the_table_tells_kept_and_left_out() -> None:
    tally = Tally(max_per_category=9, kept=Counter(cup=2), excluded=Counter(crowd=1, thin=3))
    assert tally.build_table().title == "2 cut-outs, 4 excluded"
    assert tally.build_table().row_count == 3


def test_the_miniature_world_has_cutouts_of_what_training_may_show(tmp_path: Path) -> None:
    config = miniature_cutouts.MiniatureCutoutsConfig(cutouts=tmp_path / "one", backgrounds=tmp_path / "backgrounds")
    miniature_cutouts.main(config)
    folder = CutoutFolder(config.cutouts)
    vocabulary = miniature.vocabulary()
    found = {(one.category, one.attributes["color"], one.attributes["pattern"]) for one in folder}
    assert len(found) == len(folder) == 12 * 10 * 3 - len(list_held_out_combinations())
    assert not found & list_held_out_combinations()
    pasted = PastedConfig(cutouts=config.cutouts, backgrounds=config.backgrounds, sizes_px=((96, 96),))
    assert check_pasted(pasted, vocabulary, find_held_out_images(UPath(tmp_path / "none"))).backgrounds == 15
    again = miniature_cutouts.MiniatureCutoutsConfig(cutouts=tmp_path / "two", backgrounds=tmp_path / "backgrounds")
    miniature_cutouts.main(again)
    assert _names(tmp_path / "one") == _names(tmp_path / "two")
    name = _names(tmp_path / "one")[0]
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_empty_cutout_folder_is_refused_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "cutouts").mkdir()
    config = PastedConfig(cutouts=tmp_path / "cutouts", backgrounds=tmp_path)
    with pytest.raises(AugmentationError, match="has no cut-outs of ball, bottle"):
        check_pasted(config, miniature.vocabulary(), find_held_out_images(UPath(tmp_path / "none")))
