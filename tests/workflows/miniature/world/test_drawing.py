from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from workflows.miniature.world.drawing import CATEGORIES, COLORS, PATTERNS, compute_object_size, draw_sprite


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("extent_px", [14, 31])
def test_an_object_touches_all_four_sides_of_its_box(category: str, extent_px: int) -> None:
    alpha = np.asarray(draw_sprite(category, "red", "plain", extent_px))[:, :, 3]
    width, height = compute_object_size(category, extent_px)
    assert alpha.shape == (height, width)
    for side in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert side.max() > 0


def test_every_combination_looks_different() -> None:
    images = {draw_sprite(*c, 30).tobytes() for c in product(CATEGORIES, COLORS, PATTERNS)}
    assert len(images) == 12 * 10 * 3
