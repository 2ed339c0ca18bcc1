from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import Item, Job, PipelineError, PlanRow, Rejected, run_job
from shards.images import ImageError, LoadImageStage, read_image, read_upright_size
from shards.reader import SampleReader
from shards.schema import Instance, Query, Sample, SchemaError
from shards.sources.sample import SourceSample, make_image_key
from shards.tar import iterate_members
from shards.writer import SampleSink


def _png(width: int = 10, height: int = 8, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _sample(key: str = "toy-1", **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "key": key,
        "width": 10,
        "height": 8,
        "image_name": "a.png",
        "image": _png(),
        "instances": (
            Instance(box_xyxy=(0, 0, 4, 4), category="cup"),
            Instance(box_xyxy=(5, 0, 9, 4), category="cup"),
            Instance(box_xyxy=(0, 5, 4, 8), category="ball"),
            Instance(box_xyxy=(5, 5, 9, 8), category="cup", is_crowd=True),
        ),
        "queries": (
            Query(query_id="q1", text="left cup", box_xyxy=(0, 0, 4, 4), split="train", source="toy", instance=0),
            Query(query_id="q2", text="floor", box_xyxy=(0, 5, 10, 8), split="train", source="toy"),
        ),
    }
    return Sample(**{**values, **changes})


def test_rivals_are_other_instances_of_the_category_without_crowds() -> None:
    sample = _sample()
    assert [sample.num_distractors(query) for query in sample.queries] == [1, None]


def test_a_sample_survives_json() -> None:
    sample = _sample()
    assert Sample.from_json(json.loads(json.dumps(sample.to_json())), sample.image) == sample


def test_the_box_that_was_asked_for_and_its_iou_are_kept_and_old_records_have_none() -> None:
    asked = replace(_sample().instances[0], requested_box_xyxy=(2, 0, 6, 4))  # half of it, so a third of both
    sample = _sample(instances=(asked, *_sample().instances[1:]))
    record = json.loads(json.dumps(sample.to_json()))
    assert record["instances"][0]["requested_iou"] == 0.3333
    assert [one["requested_iou"] for one in record["instances"][1:]] == [None] * 3
    assert Sample.from_json(record, sample.image) == sample
    for instance in record["instances"]:
        del instance["requested_box_xyxy"], instance["requested_iou"]
    assert Sample.from_json(record, sample.image) == _sample()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "a/b"}, "must be 1 to 88 of"),
        ({"width": 0}, "must be positive"),
        ({"instances": (Instance(box_xyxy=(0, 0, 11, 4), category="cup"),)}, "instance 0: box .* outside the 10 x 8"),
        (
            {"instances": (Instance(box_xyxy=(0, 0, 4, 4), category="cup", requested_box_xyxy=(0, 0, 4, 9)),)},
            "instance 0 as asked for: box .* outside the 10 x 8",
        ),
        ({"instances": ()}, "instance 0 of 0 does not exist"),
        ({"priors": np.zeros((3, 4), np.float16)}, r"shape \(3, 4\) for 2 queries"),
    ],
)
def test_a_sample_that_breaks_a_rule_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        _sample(**changes)


@pytest.mark.parametrize("box", [(4, 0, 4, 4), (0, float("nan"), 4, 4), (0, 0, 4), "abcd"])
def test_a_box_without_area_or_sense_is_refused(box: Any) -> None:
    query = replace(_sample().queries[0], box_xyxy=box)
    with pytest.raises(SchemaError, match="query 'q1'"):
        _sample(queries=(query,))


def test_another_schema_version_is_refused() -> None:
    with pytest.raises(SchemaError, match="schema version 99, this code reads 2"):
        Sample.from_json({**_sample().to_json(), "schema_version": 99}, b"")


def _payload(name: str, size: tuple[int, int] = (10, 8)) -> dict[str, Any]:
    sample = _sample(image_name=name)
    source = SourceSample(
        key=sample.key,
        split="train",
        image_name=name,
        instances=sample.instances,
        queries=sample.queries,
        size=size,
    )
    return source.to_payload()


def _load(folder: Path, name: str, size: tuple[int, int] = (10, 8)) -> Sample | Rejected:
    item = Item(key="toy-1", seed=0, payload=json.loads(json.dumps(_payload(name, size))))
    (result,) = LoadImageStage(folder).process([item])
    return result


def test_a_plain_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png())
    loaded = _load(tmp_path, "a.png")
    assert isinstance(loaded, Sample)
    assert loaded == _sample()


def test_a_rotated_jpeg_is_made_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_upright_size(tmp_path / "a.jpg") == (10, 8)
    loaded = _load(tmp_path, "a.jpg")
    assert isinstance(loaded, Sample)
    with Image.open(io.BytesIO(loaded.image)) as upright:
        assert upright.size == (10, 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_greyscale_is_kept_byte_for_byte(tmp_path: Path, kind: str) -> None:
    Image.new("L", (10, 8), 100).save(tmp_path / "a", kind)
    content, size = read_image(tmp_path / "a")
    assert (content, size) == ((tmp_path / "a").read_bytes(), (10, 8))


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "I;16", "1", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (10, 8)).save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    content, size = read_image(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    with Image.open(io.BytesIO(content)) as image:
        assert (image.mode, size) == ("RGB", (10, 8))


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 10), 32768, np.uint16)).save(tmp_path / "a.png")
    content, _ = read_image(tmp_path / "a.png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.getpixel((0, 0)) == (127, 127, 127)


def test_a_truncated_jpeg_is_rejected_with_its_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    result = _load(tmp_path, "a.jpg", (100, 80))
    assert isinstance(result, Rejected)
    assert result.reason == "truncated_image"


def test_an_image_that_changed_since_the_plan_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(20, 16))
    result = _load(tmp_path, "a.png")
    assert isinstance(result, Rejected)
    assert result.reason == "other_size"


def test_a_text_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ImageError, match=r"a\.png is not a JPEG"):
        read_upright_size(tmp_path / "a.png")


def _run(tmp_path: Path, name: str = "run") -> Path:
    (tmp_path / "a.png").write_bytes(_png())
    rows = [
        PlanRow(key=f"toy-{split}-{i}", payload=_payload("a.png"), group=split)
        for split in ("train", "val")
        for i in range(3)
    ]
    job = Job(
        name="ingest",
        fingerprint={"data": "toy"},
        inputs=lambda: rows,
        items_per_shard=2,
        seed=0,
        stages=[LoadImageStage(tmp_path)],
        sink=SampleSink(),
    )
    run_job(job, tmp_path / name)
    return tmp_path / name


def test_a_reader_gives_back_what_was_written(tmp_path: Path) -> None:
    reader = SampleReader(_run(tmp_path))
    assert [sample.key for sample in reader] == [f"toy-{split}-{i}" for split in ("train", "val") for i in range(3)]
    assert reader.num_queries == 12
    assert not reader.has_priors
    assert reader.read(3) == _sample("toy-val-0")


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    def contents(run: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted((run / "shards").glob("*.tar"))]

    first = contents(_run(tmp_path, "first"))
    assert len(first) == 4
    assert contents(_run(tmp_path, "second")) == first


def test_priors_are_read_back_in_half_precision(tmp_path: Path) -> None:
    priors = np.array([[0.5, 1.5], [2.5, -1]], np.float16)
    job = Job(
        name="pack",
        fingerprint={},
        inputs=lambda: [PlanRow(key="toy-1", payload={})],
        items_per_shard=1,
        seed=0,
        stages=[],
        sink=_WithPriors(priors),
    )
    run_job(job, tmp_path / "run")
    reader = SampleReader(tmp_path / "run")
    assert reader.has_priors
    read = reader.read(0).priors
    assert read is not None
    assert read.dtype == np.float16
    assert read.tolist() == priors.tolist()


class _WithPriors(SampleSink):
    def __init__(self, priors: Any) -> None:
        self._priors = priors

    def write(self, items: list[Any], folder: Path) -> Any:
        return super().write([_sample(item.key, priors=self._priors) for item in items], folder)


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    run = _run(tmp_path)
    with pytest.raises(SchemaError, match="no split 'test'; it has train"):
        SampleReader(run, "test")


def test_a_truncated_tar_is_noticed(tmp_path: Path) -> None:
    run = _run(tmp_path)
    tar = sorted((run / "shards").glob("*.tar"))[0]
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(PipelineError, match="bytes"):
        list(SampleReader(run))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/etc/passwd", tarfile.REGTYPE),
        ("../a.jpg", tarfile.REGTYPE),
        ("a.jpg", tarfile.SYMTYPE),
        ("a.jpg", tarfile.LNKTYPE),
        ("a.jpg", tarfile.CHRTYPE),
        ("a", tarfile.DIRTYPE),
        ("a" * 120 + ".jpg", tarfile.REGTYPE),  # its name stands in a header of its own
    ],
)
def test_a_tar_with_links_or_paths_is_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    path = tmp_path / "samples.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("toy-1.json"), io.BytesIO(b""))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(SchemaError, match=r"samples\.tar: member .* do not unpack it"):
        list(iterate_members(path))


def test_a_folder_in_a_members_prefix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO(b""))
    content = bytearray(path.read_bytes())
    content[345:354] = b"../../etc"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="do not unpack it"):
        list(iterate_members(path))


def test_photographs_of_telephones_are_kept_byte_for_byte(tmp_path: Path) -> None:
    images = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    images[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=images[1:])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
    assert read_image(tmp_path / "a.jpg") == ((tmp_path / "a.jpg").read_bytes(), (64, 48))


def test_a_shard_from_elsewhere_is_checked_before_it_is_read(tmp_path: Path) -> None:
    run = _run(tmp_path)
    tar = sorted((run / "shards").glob("*.tar"))[0]
    tar.write_bytes(tar.read_bytes().replace(b"toy-train-0.png", b"../train-0.png\0"))
    receipt = next(path for path in (run / "receipts").glob("*.json") if tar.name in path.read_text())
    record = json.loads(receipt.read_text())
    record["files"]["tar"]["sha256"] = hashlib.sha256(tar.read_bytes()).hexdigest()  # as a stranger would
    receipt.write_text(json.dumps(record))
    with pytest.raises(SchemaError, match=r"member '\.\./train-0\.png'"):
        list(SampleReader(run))


def test_long_names_of_photographs_give_short_keys_of_their_own() -> None:
    first, second = (make_image_key("own", f"{'folder/' * 40}{i}.jpg", "train") for i in (1, 2))
    assert first != second
    assert len(_sample(key=first).key) <= 80
    with pytest.raises(SchemaError, match="1 to 88"):
        _sample(key="a" * 89)


def test_transparency_becomes_white_and_cmyk_keeps_its_colour(tmp_path: Path) -> None:
    clear = Image.new("P", (10, 8), 0)
    clear.putpalette([0, 0, 0, 255, 0, 0])
    clear.save(tmp_path / "a.png", transparency=0)
    content, _ = read_image(tmp_path / "a.png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    content, _ = read_image(tmp_path / "a.jpg")
    with Image.open(io.BytesIO(content)) as image:
        red, green, blue = image.getpixel((0, 0))  # type: ignore[misc]
        assert (image.mode, red > 200, green < 60, blue < 60) == ("RGB", True, True, True)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + bytes([8, 2, 0, 0, 0])  # 1.2 GB once unpacked
    chunks = [header, b"IDAT" + zlib.compress(bytes(30_001))]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )
    (tmp_path / "a.png").write_bytes(png)
    for read in (read_upright_size, read_image):
        with pytest.raises(ImageError, match=r"20000|bomb"):
            read(tmp_path / "a.png")
