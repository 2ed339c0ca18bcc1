"""Images that join their annotations."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import Item, Rejected
from shards.images import ImageError, read_image, read_upright_size
from shards.schema import Sample
from shards.sources.load_images import LoadImageStage
from tests.shards.toy_samples import make_payload, make_png, make_sample


def _load(folder: Path, name: str, size: tuple[int, int] = (10, 8)) -> Sample | Rejected:
    item = Item(key="toy-1", seed=0, payload=json.loads(json.dumps(make_payload(name, size))))
    (result,) = LoadImageStage(folder).process([item])
    return result


def test_a_plain_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(make_png())
    loaded = _load(tmp_path, "a.png")
    assert isinstance(loaded, Sample)
    assert loaded == make_sample()


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
def test_grayscale_is_kept_byte_for_byte(tmp_path: Path, kind: str) -> None:
    Image.new("L", (10, 8), 100).save(tmp_path / "a", kind)
    content, size = read_image(tmp_path / "a")
    assert (content, size) == ((tmp_path / "a").read_bytes(), (10, 8))


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "I;16", "1", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (10, 8)).save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    content, size = read_image(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    with Image.open(io.BytesIO(content)) as image:
        assert (image.mode, size) == ("RGB", (10, 8))


def test_sixteen_bit_gray_keeps_its_range(tmp_path: Path) -> None:
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
    (tmp_path / "a.png").write_bytes(make_png(20, 16))
    result = _load(tmp_path, "a.png")
    assert isinstance(result, Rejected)
    assert result.reason == "other_size"


def test_a_text_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ImageError, match=r"a\.png is not a JPEG"):
        read_upright_size(tmp_path / "a.png")
