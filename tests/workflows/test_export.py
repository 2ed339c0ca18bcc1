from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from upath import UPath

from shards.reader import SampleReader
from shards.sources.features import read_features
from shards.sources.grounding import read_grounding
from shards.sources.transvg import read_transvg
from shards.sources.validation import validate_samples
from tests.workflows.transvg_rows import pack_features
from workflows import export
from workflows.cli.console import UserError


def _export(folder: Path, **options: object) -> Path:
    output = folder / "exported"
    values = {"dataset": "unc", "data": UPath(folder / "data"), "output": output, **options}
    export.main(export.ExportConfig(**values))  # type: ignore[arg-type]
    return output


def test_samples_come_back_from_transvg_files_with_their_features(transvg: Path) -> None:
    torch.save(torch.arange(12.0).reshape(3, 4), transvg / "val_fea.pth")
    (packed,) = pack_features(transvg, transvg)
    output = _export(transvg, to="transvg", source="packed-samples")
    images = output / "other" / "images" / "mscoco" / "images" / "train2014"  # of data_root, as those trainers read it
    (back,) = validate_samples(read_transvg(output / "unc", "unc", "unc"), images).samples
    assert [(q.text, q.box_xyxy) for q in back.queries] == [(q.text, q.box_xyxy) for q in packed.queries]
    assert (images / back.image_name).read_bytes() == packed.image
    assert packed.priors is not None
    np.testing.assert_array_equal(read_features(output / "unc" / "val_fea.pth"), packed.priors)
    rows = torch.load(output / "unc" / "unc_val.pth", weights_only=True)  # as other trainers read it
    assert rows[1] == ("unc-a-val.png", "", [5.5, 0, 3, 4], "right cup", [])


@pytest.mark.parametrize("name", ["", "flickr"])
def test_samples_come_back_from_grounding_json(transvg: Path, name: str) -> None:
    output = _export(transvg, to="grounding", source="samples", name=name)
    (sample,) = SampleReader(UPath(transvg / "data" / "unc" / "samples"))
    (back,) = validate_samples(read_grounding(output, "unc", "train"), output / "images").samples
    assert [(q.text, q.box_xyxy, q.split) for q in back.queries] == [
        (q.text, q.box_xyxy, q.split) for q in sample.queries
    ]


def test_an_export_does_not_touch_what_is_there(transvg: Path) -> None:
    (transvg / "exported").mkdir()
    with pytest.raises(UserError, match="exists; pass a new folder"):
        _export(transvg, to="grounding", source="samples")
    with pytest.raises(ValueError, match="name must be one of unc"):
        _export(transvg, to="transvg", source="samples", name="mine")


def test_what_ingest_and_augment_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    config = export.ExportConfig(dataset="toy", data=UPath(tmp_path), output=tmp_path / "exported", to="hf")
    with pytest.raises(UserError, match=r"yield\.json does not exist; run `make augment"):
        export.count_left_out(config)
    config.paths.scene_rounds.mkdir(parents=True)
    composers = {"a": {"rejected": {"touching": 3}, "failed": {"timeout": 1}}, "b": {"rejected": {"touching": 1}}}
    selection = {"near_duplicate": 2, "quota_full": 0}
    record = {"composers": {name: {"failed": {}, **one} for name, one in composers.items()}, "selection": selection}
    (config.paths.scene_rounds / "yield.json").write_text(json.dumps(record))
    assert export.count_left_out(config) == {"touching": 4, "timeout": 1, "near_duplicate": 2}
    config.paths.problems.write_text('{"rule": "no_box"}\n' * 2)
    assert export.count_left_out(replace(config, source="packed-samples")) == {"no_box": 2}


def test_an_export_that_fails_leaves_nothing(transvg: Path) -> None:
    shard = next((transvg / "data" / "unc" / "samples" / "shards").glob("*.tar"))
    record = json.dumps(["no sample"]).encode()
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) - len(record)] + record)
    before = sorted(transvg.iterdir())
    with pytest.raises(Exception, match="hash"):
        _export(transvg, to="grounding", source="samples")
    assert sorted(transvg.iterdir()) == before
