"""Pruning removes what nobody asks for and nothing else; the contact sheet shows what the store holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from generation.priors.store import PriorStore
from pipeline import ExecutorConfig, list_runs, read_receipts
from shards.tiles import GAP_PX
from workflows import contact_sheet, generate_priors
from workflows.cli.console import UserError
from workflows.cli.paths import get_prior_store_path
from workflows.miniature import WEIGHTS
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path

HERE = ExecutorConfig(isolate=False)


def _ask(data: Path, *queries: str, dataset: str = "miniature", prune: bool = False) -> None:
    """Draw the priors of a data set of just these queries."""
    folder = data / dataset
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"query_id": f"{dataset}-{i}", "text": text} for i, text in enumerate(queries)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    config = miniature.prior_config()
    prior = replace(config, render=replace(config.render, num_inference_steps=1))
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(
            dataset=dataset, prior=prior, data=UPath(data), priors_per_shard=2, prune=prune, executor=HERE
        )
    )


def _contents(data: Path) -> dict[str, dict[str, bytes]]:
    store = PriorStore.open(find_prior_store_path("miniature", UPath(data)))
    return {store.prompt(prior_id): dict(store.read_prior(prior_id).members) for prior_id in store}


def test_pruning_removes_what_no_query_asks_for_and_keeps_the_rest_byte_for_byte(tmp_path: Path) -> None:
    _ask(tmp_path, "red cup", "blue hat", "left green star")
    _ask(tmp_path, "yellow ball", dataset="other")
    before = _contents(tmp_path)
    _ask(tmp_path, "green star on the right", "pink fish", prune=True)
    after = _contents(tmp_path)
    assert sorted(after) == ["a green star", "a pink fish", "a yellow ball"]
    assert {prompt: after[prompt] for prompt in ("a green star", "a yellow ball")} == {
        prompt: before[prompt] for prompt in ("a green star", "a yellow ball")
    }
    assert all(read_receipts(run) for run in list_runs(find_prior_store_path("miniature", UPath(tmp_path))))
    _ask(tmp_path, "green star on the right", "pink fish", prune=True)
    assert _contents(tmp_path) == after


def test_nothing_is_pruned_while_a_data_set_is_without_priors(tmp_path: Path) -> None:
    _ask(tmp_path, "red cup", "blue hat")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "queries.jsonl").write_text('{"query_id": "1", "text": "blue hat"}\n')
    with pytest.raises(UserError, match=r"new has queries, but its priors are not finished.*--dataset new"):
        _ask(tmp_path, "red cup", prune=True)
    assert len(PriorStore.open(find_prior_store_path("miniature", UPath(tmp_path)))) == 2


def test_what_cannot_be_read_keeps_its_run(tmp_path: Path) -> None:
    _ask(tmp_path, "red cup", "blue hat")
    (tar,) = (tmp_path / "priors").glob("*/*/shards/*.tar")
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(Exception, match=r"has \d+ bytes"):
        _ask(tmp_path, "red cup", prune=True)
    assert tar.exists()
    assert len(PriorStore.open(find_prior_store_path("miniature", UPath(tmp_path)))) == 2


def test_a_contact_sheet_has_a_row_of_pictures_for_its_slice(tmp_path: Path) -> None:
    _ask(tmp_path, "red cup", "left red cup", "blue hat", "green star", "pink fish")
    config = contact_sheet.ContactSheetConfig(
        data=UPath(tmp_path), matching="red|blue|green", columns=2, order="worst", output=tmp_path / "sheet.png"
    )
    rows = contact_sheet.select_rows(config)
    assert [row.text for row in rows] == ["red cup", "blue hat", "green star"]
    contact_sheet.main(config)
    store = PriorStore.open(find_prior_store_path("miniature", UPath(tmp_path)))
    scores = [store.clip_score(row.prior_id) for row in contact_sheet.pick_rows(config, store, rows)]
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


def test_a_data_set_with_another_encoder_has_a_store_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "clip", tmp_path / "clip")
    (tmp_path / "clip" / "remark.txt").write_text("another model by its fingerprint")
    _ask(tmp_path, "red cup")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "queries.jsonl").write_text('{"query_id": "1", "text": "red cup"}\n')
    prior = miniature.prior_config()
    render, encoder = (
        replace(prior.render, num_inference_steps=1),
        replace(prior.encoder, checkpoint=str(tmp_path / "clip")),
    )
    config = generate_priors.GeneratePriorsConfig(
        dataset="other",
        prior=replace(prior, render=render, encoder=encoder),
        data=UPath(tmp_path),
        prune=True,
        executor=HERE,
    )
    generate_priors.main(config)
    first, second = (find_prior_store_path(name, UPath(tmp_path)) for name in ("miniature", "other"))
    assert first != second and {len(PriorStore.open(first)), len(PriorStore.open(second))} == {1}


def test_stores_are_named_by_their_encoder(tmp_path: Path) -> None:
    data = UPath(tmp_path)
    assert get_prior_store_path("openai/clip-vit-base-patch32@main", data).name == "openai--clip-vit-base-patch32@main"
    assert get_prior_store_path("sha256:" + "0123456789abcdef" * 4, data).name == "0123456789abcdef"
