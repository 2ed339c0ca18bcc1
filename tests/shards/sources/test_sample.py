"""Samples between a reader and its plan."""

from __future__ import annotations

import json
from pathlib import Path

from shards.sources.refer import read_refer
from shards.sources.sample import SourceSample
from tests.shards.annotation_files import write_refer


def test_a_source_sample_survives_its_plan(tmp_path: Path) -> None:
    (sample,) = read_refer(write_refer(tmp_path), "unc", "toy")
    assert SourceSample.from_payload(json.loads(json.dumps(sample.to_payload()))) == sample
