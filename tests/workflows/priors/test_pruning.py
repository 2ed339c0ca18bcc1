from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from generation.priors.store import PriorStore
from pipeline import ExecutorConfig, list_runs, read_receipts
from shards.query_table import write_query_table
from workflows import generate_priors
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
    write_query_table(tmp_path / "new" / "queries.parquet", [{"query_id": "1", "text": "blue hat"}])
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
