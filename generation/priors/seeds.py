"""Seeds of images: from the prompt alone, so that no batch, worker or order can change a image."""

from __future__ import annotations

import hashlib


def compute_image_seed(prompt: str, seed: int, index: int) -> int:
    """The seed of a prompt's ``index``-th image, as 63 bits of a hash."""
    digest = hashlib.sha256(f"{seed}\0{index}\0{prompt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
