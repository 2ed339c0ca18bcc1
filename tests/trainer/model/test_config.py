from __future__ import annotations

import pytest

from trainer.model.config import NetworkConfig, make_miniature_config, make_published_config


def test_presets_have_the_sizes_they_say() -> None:
    assert make_published_config().grid == 20 and make_published_config().backbone.stride_px == 32
    assert make_miniature_config().grid == 8 and make_miniature_config().prior_dim == 128
    with pytest.raises(ValueError, match="multiple of the backbone's stride 32, got 100"):
        NetworkConfig(image_size_px=100)
