"""Image files from outside: read to their end, and converted to upright RGB only if necessary."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePath
from typing import IO

from PIL import Image, UnidentifiedImageError

from pipeline import Location, resolve_location

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

MAX_PIXELS = 100_000_000
JPEG_QUALITY = 95
_ORIENTATION = 0x0112
_ORIENTATION_HOLDERS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Entries of ``Image.info`` in which Pillow looks for the orientation."""

_TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
"""Values of EXIF's orientation that swap width and height."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation by EXIF's orientation. ``ImageOps.exif_transpose`` also rewrites EXIF, and fails at values out of range."""


class ImageError(Exception):
    """An image that cannot be used; ``rule`` is a short name to count by."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


_DECODE_ERRORS = (
    Image.DecompressionBombError,
    UnidentifiedImageError,
    OSError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    SyntaxError,
    struct.error,
)
"""Errors of Pillow at damaged files, found by fuzzing."""


@contextmanager
def _translate_errors(rule: str, message: str) -> Iterator[None]:
    try:
        yield
    except _DECODE_ERRORS as error:
        raise ImageError(rule, f"{message} ({error})") from error


def _open(file: IO[bytes], path: Location | str) -> Image.Image:
    unreadable = f"{path} is not a JPEG, PNG, WebP, BMP, GIF or TIFF"
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:  # its text names an object of Python
        raise ImageError("unreadable_image", unreadable) from error
    except Image.DecompressionBombError as error:
        raise ImageError("too_large_image", f"{path}: {error}; make it smaller") from error
    except _DECODE_ERRORS as error:
        raise ImageError("unreadable_image", f"{unreadable} ({error})") from error
    _check_num_pixels(image, path)
    return image


def _check_num_pixels(image: Image.Image, path: Location | str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            "too_large_image",
            f"{path} has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; make it smaller",
        )


@contextmanager
def _decode(content: bytes, path: Location | str) -> Iterator[Image.Image]:
    """Yield an opened image; an error in the block means that it does not decode."""
    broken = _translate_errors("truncated_image", f"{path} does not decode to its end")
    with _open(io.BytesIO(content), path) as image, broken:
        yield image


def get_fast_path(folder: Location) -> Location:
    """Return a local folder as a ``Path``, which is five times as fast as a ``UPath``."""
    folder = resolve_location(folder)
    return Path(str(folder)) if isinstance(folder, Path) else folder


def resolve_image_path(root: Location, name: str, *, allow_links: bool = False) -> Location:
    """Return the path of an image in a folder.

    Args:
        root: folder of the images, or a prefix of an object store.
        name: path below ``root``, as the annotations give it.
        allow_links: whether symbolic links may lead out of ``root``.

    Raises:
        ImageError: the name leads out of ``root``, or there is no such file.
    """
    path = root / name
    if "\0" in name or PurePath(name).is_absolute() or "://" in name or ".." in PurePath(name).parts:
        raise ImageError("outside_images", f"{name!r} leads out of {root}")
    try:
        is_there = path.is_file()
    except OSError as error:  # a name longer than file systems allow
        raise ImageError("missing_image", f"{name[:80]!r}... is no name of a file ({error.strerror})") from error
    if not is_there:
        raise ImageError("missing_image", f"{path} does not exist")
    if not allow_links and isinstance(path, Path) and isinstance(root, Path) and not _is_inside(path, root):
        raise ImageError(
            "outside_images", f"{path} is a link that leads out of {root}; pass --allow-links if the folder is yours"
        )
    return path


def _is_inside(path: Path, root: Path) -> bool:
    """Return whether the file lies in the folder once links are followed."""
    if path.is_symlink():
        return _resolve_folder(root) in path.resolve().parents
    return _resolve_folder(path.parent).is_relative_to(_resolve_folder(root))


@lru_cache(maxsize=4096)  # one system call for each folder, not for each file
def _resolve_folder(folder: Path) -> Path:
    return folder.resolve()


def read_upright_size(path: Location) -> tuple[int, int]:
    """Read (width, height) after the EXIF rotation from the header alone.

    Raises:
        ImageError: the file is no image, or has too many pixels.
    """
    with (
        path.open("rb") as file,
        _open(file, path) as image,
        _translate_errors("unreadable_image", f"{path} has a damaged header"),
    ):
        return (
            (image.height, image.width)
            if _read_orientation(image) in _TRANSPOSED_ORIENTATIONS
            else (image.width, image.height)
        )


def read_image(path: Location) -> tuple[bytes, tuple[int, int]]:
    """Read an image as upright JPEG or PNG, RGB or grayscale.

    A file that is so already keeps its bytes. Any other is encoded again as RGB: a JPEG as JPEG of quality 95, the
    rest as PNG. 16-bit grayscale is scaled to 8 bits, and transparent parts become white.

    Returns:
        The encoded image and its (width, height).

    Raises:
        ImageError: the file is no image, has too many pixels, or is truncated.
    """
    content = path.read_bytes()
    with _decode(content, path) as image:
        size = image.size
        is_plain = image.mode in ("RGB", "L") and "transparency" not in image.info
        is_jpeg = image.format in ("JPEG", "MPO")  # MPO: many phones append further images to a JPEG
        kept = (is_jpeg or image.format == "PNG") and is_plain and _read_orientation(image) == 1
        if kept:
            image.draft("L", (1, 1))  # still reads a JPEG to its end, in gray and at an eighth of its size
            image.load()
            return content, size
        upright = _convert_to_upright_rgb(image)
        if not is_jpeg:
            return encode_png(upright), upright.size
        buffer = io.BytesIO()
        upright.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue(), upright.size


def decode_rgb_image(content: bytes, path: Location | str = "the image") -> Image.Image:
    """Decode an image to upright RGB; transparent parts become white.

    Args:
        content: encoded image of any of ``IMAGE_FORMATS``.
        path: origin of the image, for errors.

    Raises:
        ImageError: it is no image, has too many pixels, or is truncated.
    """
    with _decode(content, path) as image:
        return _convert_to_upright_rgb(image)


def read_rgba_image(path: Location) -> Image.Image:
    """Read an image file with transparency as RGBA.

    Raises:
        ImageError: the file is no image, has too many pixels, is truncated, or has no transparency.
    """
    with _translate_errors("unreadable_image", f"{path} cannot be read"):
        content = path.read_bytes()
    with _decode(content, path) as image:
        image.load()
        if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
            raise ImageError("no_transparency", f"{path} is {image.mode} without transparency; save it as RGBA")
        return image.convert("RGBA")


def _read_orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 if absent."""
    if image.format == "TIFF":  # Pillow turns it when it loads it, and gives the size of the upright image before
        return 1
    if image.format == "PNG" and "exif" not in image.info:  # EXIF behind the pixels would need all of them decoded
        return 1
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def convert_to_upright_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode and EXIF orientation to upright RGB, in a copy without an orientation.

    16-bit grayscale is scaled to 8 bits, and transparent parts become white.

    Raises:
        ImageError: it has too many pixels, or its file is damaged.
    """
    _check_num_pixels(image, "the image")
    with _translate_errors("truncated_image", "the image does not decode to its end"):
        return _convert_to_upright_rgb(image)


def _convert_to_upright_rgb(image: Image.Image) -> Image.Image:
    operation = _UPRIGHT.get(_read_orientation(image))  # before the pixels, as in read_upright_size
    image.load()
    image = image if operation is None else image.transpose(operation)
    if image.mode.startswith("I") or image.mode == "F":
        brightest = image.convert("F").getextrema()[1]
        scale = 255 / 65535 if isinstance(brightest, float) and brightest > 255 else 1.0
        image = image.convert("F").point(lambda value: value * scale).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    upright = image.convert("RGB")
    for name in _ORIENTATION_HOLDERS:  # else the next conversion would turn it again
        upright.info.pop(name, None)
    return upright


def encode_png(image: Image.Image) -> bytes:
    """Encode an image losslessly as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
