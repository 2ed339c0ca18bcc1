from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from generation.priors.store import PriorStore
from pipeline import ExecutorConfig
from shards.query_table import write_query_table
from shards.tiles import GAP_PX
from workflows import contact_sheet, generate_priors
from workflows.cli.console import UserError
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path

HERE = ExecutorConfig(isolate=False)


def _ask(data: Path, *queries: str, dataset: str = "miniature", prune: bool = False) -> None:
    """Draw the priors of a data set of just these queries."""
    folder = data / dataset
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"query_id": f"{dataset}-{i}", "text": text} for i, text in enumerate(queries)]
    write_query_table(folder / "queries.parquet", records)
    config = miniature.prior_config()
    prior = replace(config, render=replace(config.render, num_inference_steps=1))
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(
            dataset=dataset, prior=prior, data=UPath(data), priors_per_shard=2, prune=prune, executor=HERE
        )
    )


def test_a_contact_sheet_has_a_row_of_images_for_its_slice(tmp_path: Path) -> None:
    _ask(tmp_path, "red cup", "left red cup", "blue hat", "green star", "pink fish")
    config = contact_sheet.ContactSheetConfig(
        data=UPath(tmp_path), matching="red|blue|green", columns=2, order="worst", output=tmp_path / "sheet.png"
    )
    selection = contact_sheet.select_rows(config)
    assert sorted(row.text for row in selection.rows) == ["blue hat", "green star", "red cup"]
    assert (selection.num_matched, selection.num_available) == (3, 3)
    contact_sheet.main(config)
    store = PriorStore.open(find_prior_store_path("miniature", UPath(tmp_path)))
    scores = [store.clip_score(row.prior_id) for row in selection.rows]
    assert scores == sorted(scores, key=lambda score: score or 0.0)
    with Image.open(tmp_path / "sheet.png") as sheet:
        cell = config.image_px + GAP_PX
        assert sheet.width == 2 * cell
        assert sheet.height > 2 * cell


def test_an_empty_slice_and_a_bad_expression_are_one_line(tmp_path: Path) -> None:
    _ask(tmp_path, "red cup")
    with pytest.raises(UserError, match="no prior to show"):
        contact_sheet.main(contact_sheet.ContactSheetConfig(data=UPath(tmp_path), matching="zebra"))
    with pytest.raises(UserError, match=r"'\(' is not a regular expression"):
        contact_sheet.ContactSheetConfig(matching="(")
