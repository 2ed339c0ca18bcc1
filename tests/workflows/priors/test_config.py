from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from upath import UPath

from generation.priors.store import PriorStore
from pipeline import ExecutorConfig
from shards.query_table import write_query_table
from workflows import generate_priors
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
    write_query_table(folder / "queries.parquet", records)
    config = miniature.prior_config()
    prior = replace(config, render=replace(config.render, num_inference_steps=1))
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(
            dataset=dataset, prior=prior, data=UPath(data), priors_per_shard=2, prune=prune, executor=HERE
        )
    )


def test_a_data_set_with_another_encoder_has_a_store_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "clip", tmp_path / "clip")
    (tmp_path / "clip" / "remark.txt").write_text("another model by its fingerprint")
    _ask(tmp_path, "red cup")
    (tmp_path / "other").mkdir()
    write_query_table(tmp_path / "other" / "queries.parquet", [{"query_id": "1", "text": "red cup"}])
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
