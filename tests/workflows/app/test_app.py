from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from workflows.app.__main__ import AppConfig, main, open_examples
from workflows.cli.console import UserError

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


def test_the_missing_extra_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "workflows.app.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"the page needs gradio; install it: pip install .resvg-grounding\[app\]"):
        main(AppConfig(checkpoint=str(checkpoint)))
