from __future__ import annotations

import json
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
from workflows.priors.config import find_prior_store_path, load_prior_config, save_prior_config

HERE = ExecutorConfig(isolate=False)


def _ask(
    data: Path,
    *queries: str,
    dataset: str = "miniature",
    prune: bool = False,
    num_plain_images: int | None = None,
) -> None:
    """Draw the priors of a data set of just these queries."""
    folder = data / dataset
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"query_id": f"{dataset}-{i}", "text": text} for i, text in enumerate(queries)]
    write_query_table(folder / "queries.parquet", records)
    config = miniature.prior_config()
    render = replace(config.render, num_inference_steps=1)
    prior = replace(config, render=render, num_plain_images=num_plain_images)
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


def test_prompts_without_appearance_alone_are_rendered_again_with_more_images(tmp_path: Path) -> None:
    queries = ("left red cup", "second cup", "blue ball")
    _ask(tmp_path, *queries)
    root = find_prior_store_path("miniature", UPath(tmp_path))
    before = set(PriorStore.open(root))
    _ask(tmp_path, *queries, num_plain_images=3)
    store = PriorStore.open(root)
    (new,) = set(store) - before
    assert store.prompt(new) == "a cup"
    assert store.record(new)["settings"]["num_images"] == 3
    assert [name.split(".", 1)[1] for name in store.read_prior(new).members] == [
        "webp",
        "1.webp",
        "2.webp",
        "json",
        "feature.npy",
    ]
    _ask(tmp_path, *queries, num_plain_images=3, prune=True)
    assert len(PriorStore.open(root)) == 3


def test_a_prior_configuration_of_an_earlier_version_has_one_number_of_images(tmp_path: Path) -> None:
    config = replace(miniature.prior_config(), num_plain_images=None)
    save_prior_config(tmp_path / "prior.json", config)
    record = json.loads((tmp_path / "prior.json").read_text())
    del record["num_plain_images"]
    (tmp_path / "prior.json").write_text(json.dumps(record))
    assert load_prior_config(UPath(tmp_path / "prior.json")) == config


def test_stores_are_named_by_their_encoder(tmp_path: Path) -> None:
    data = UPath(tmp_path)
    assert get_prior_store_path("openai/clip-vit-base-patch32@main", data).name == "openai--clip-vit-base-patch32@main"
    assert get_prior_store_path("sha256:" + "0123456789abcdef" * 4, data).name == "0123456789abcdef"
