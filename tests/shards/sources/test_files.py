"""Files of an annotation folder and their splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shards.sources.errors import SourceError
from shards.sources.files import infer_splits
from shards.sources.grounding import read_grounding


def _lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"height": 80, "width": 100, **line}) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("finetune_refcoco_testA.json", "testA"),
        ("final_flickr_separateGT_val_vg.json", "val"),
        ("instances_val2017.json", "val"),
        ("validation-00000-of-00001.json", "validation"),
        ("mine.json", "other"),
        ("train_val.json", "other"),
    ],
)
def test_the_split_stands_in_the_name_of_a_file(name: str, split: str) -> None:
    assert infer_splits([Path(name)], "other") == {Path(name): split}


def test_several_files_must_say_which_split_they_are(tmp_path: Path) -> None:
    for name in ("a_train.json", "a_minival.json"):
        (tmp_path / name).write_text('{"images": [], "annotations": []}')
    with pytest.raises(SourceError, match=r"a_minival\.json: several files"):
        list(read_grounding(tmp_path, "f", "train"))
