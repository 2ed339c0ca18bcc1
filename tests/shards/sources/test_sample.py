"""Samples between a reader and its plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shards.errors import SchemaError
from shards.sources.refer import read_refer
from shards.sources.sample import SourceSample, make_image_key
from tests.shards.annotation_files import write_refer
from tests.shards.toy_samples import make_sample


def test_a_source_sample_survives_its_plan(tmp_path: Path) -> None:
    (sample,) = read_refer(write_refer(tmp_path), "unc", "toy")
    assert SourceSample.from_payload(json.loads(json.dumps(sample.to_payload()))) == sample


def test_long_names_of_images_give_short_keys_of_their_own() -> None:
    first, second = (make_image_key("own", f"{'folder/' * 40}{i}.jpg", "train") for i in (1, 2))
    assert first != second
    assert len(make_sample(key=first).key) <= 80
    with pytest.raises(SchemaError, match="1 to 88"):
        make_sample(key="a" * 89)
