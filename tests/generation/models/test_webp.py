"""WebP files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from generation.models.webp import encode_webp


def test_a_lossless_file_keeps_every_pixel_and_a_lossy_one_is_smaller() -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    lossless, lossy = encode_webp(image, None), encode_webp(image, 10)
    with Image.open(io.BytesIO(lossless)) as opened:
        np.testing.assert_array_equal(np.asarray(opened), image)
    assert len(lossy) < len(lossless)
