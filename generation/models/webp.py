"""Images as WebP files in memory."""

from __future__ import annotations

import io

from PIL import Image

from generation.models.config import RgbImage


def encode_webp(image: RgbImage, quality: int | None) -> bytes:
    """Encode a (height, width, 3) image as WebP of ``quality`` 1 to 100; None for lossless."""
    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(image).save(buffer, "WEBP", lossless=True, exact=True)
    else:
        Image.fromarray(image).save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
