from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.model.config import ExemplarScoringConfig, NetworkConfig, make_miniature_config, make_published_config


def test_presets_have_the_sizes_they_say() -> None:
    assert make_published_config().grid == 20 and make_published_config().backbone.stride_px == 32
    assert make_miniature_config().grid == 8 and make_miniature_config().prior_dim == 128
    with pytest.raises(ValueError, match="multiple of the backbone's stride 32, got 100"):
        NetworkConfig(image_size_px=100)


def test_exemplar_scoring_of_an_earlier_version_has_one_margin() -> None:
    config = replace(make_miniature_config(), exemplar_scoring=ExemplarScoringConfig(margin=0.25, place_margin=0.5))
    record = config.to_json()
    assert NetworkConfig.from_json(record, "config.json") == config
    del record["exemplar_scoring"]["place_margin"]
    earlier = NetworkConfig.from_json(record, "config.json").exemplar_scoring
    assert earlier == ExemplarScoringConfig(margin=0.25, place_margin=0.25)
