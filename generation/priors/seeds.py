"""Seeds of images, which depend on the prompt and not on batch, worker or order."""

from __future__ import annotations

import hashlib


def compute_image_seed(prompt: str, seed: int, index: int) -> int:
    """Compute the seed of a prompt's ``index``-th image: 63 bits of a hash."""
    digest = hashlib.sha256(f"{seed}\0{index}\0{prompt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
