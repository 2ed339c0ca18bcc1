from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from workflows.app.__main__ import open_examples

pytest.importorskip("gradio", reason="the extra app is not installed")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "red").save(path)
    return path


def test_examples_are_drawn_scenes_or_those_of_a_folder(photo: Path) -> None:
    with open_examples(None) as drawn:
        assert len(drawn) >= 4 and all(path.is_file() and phrase for path, phrase in drawn)
    assert not drawn[0][0].exists()
    (photo.parent / "queries.jsonl").write_text(json.dumps({"image": photo.name, "query": "left cup"}))
    with open_examples(photo.parent) as given:
        assert list(given) == [(photo.resolve(), "left cup")]
