"""Image files."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from shards.images import ImageError, convert_to_upright_rgb, decode_rgb_image, read_image, read_upright_size


def test_images_of_phones_are_kept_byte_for_byte(tmp_path: Path) -> None:
    images = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    images[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=images[1:])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
    assert read_image(tmp_path / "a.jpg") == ((tmp_path / "a.jpg").read_bytes(), (64, 48))


def test_transparency_becomes_white_and_cmyk_keeps_its_color(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_images_upright_even_beside_values_that_cannot_be_written(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x829A] = IFDRational(1, 3)  # exposure time
    content = exif.tobytes().replace(struct.pack("<II", 1, 3), struct.pack("<iI", -1, 0))  # as some cameras write it
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=content, quality=100)
    plain = Image.Exif()
    plain[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "b.jpg", exif=plain, quality=100)
    with Image.open(tmp_path / "b.jpg") as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    found, size = read_image(tmp_path / "a.jpg")
    assert size == expected.size == read_upright_size(tmp_path / "a.jpg")
    with Image.open(io.BytesIO(found)) as image:
        assert image.getexif().get(0x0112, 1) == 1
    decoded = decode_rgb_image((tmp_path / "a.jpg").read_bytes())
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(expected))
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(np.asarray(convert_to_upright_rgb(image)), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(convert_to_upright_rgb(decoded)), np.asarray(expected))  # turned once


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(tmp_path: Path, orientation: int, compression: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.tif", exif=exif, compression=compression)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    expected, size = read_image(tmp_path / "a.png")
    found, size_of_tiff = read_image(tmp_path / "a.tif")
    assert size == size_of_tiff == read_upright_size(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(decode_rgb_image(found)), np.asarray(decode_rgb_image(expected)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_png_with_its_exif_behind_the_pixels_lies_the_same_way_everywhere(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new(mode, (24, 16), "red").save(path)
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    png = path.read_bytes()
    end = png.index(b"IEND") - 4
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(png[:end] + late + png[end:])
    with Image.open(path) as image:
        image.load()
        assert image.getexif()[0x0112] == 6
    stored, size = read_image(path)
    assert size == read_upright_size(path) == decode_rgb_image(stored).size == decode_rgb_image(path.read_bytes()).size


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
