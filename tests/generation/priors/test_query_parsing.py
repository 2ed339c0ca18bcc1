"""Parsing of queries as a stage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from generation.priors.config import PriorConfig, build_image_settings, compute_prior_id
from generation.priors.query_parsing import ParsedQuery, ParsedSink, ParseStage
from pipeline import Item, Rejected

# -- jobs -----------------------------------------------------------------------------------------------------------


def _item(key: str, **payload: object) -> Item:
    return Item(key=key, seed=0, payload=payload)


def test_the_parse_stage_gives_queries_of_one_appearance_one_id_and_rejects_symbols(prior_config: PriorConfig) -> None:
    stage = ParseStage(prior_config, build_image_settings(prior_config))
    stage.setup()
    left, symbols, right = stage.process(
        [_item("q1", text="left red cup"), _item("q2", text="?!"), _item("q3", text="red cup on the right")]
    )
    assert isinstance(left, ParsedQuery)
    assert isinstance(right, ParsedQuery)
    assert left.prior_id == right.prior_id == compute_prior_id("a red cup", build_image_settings(prior_config))
    assert symbols == Rejected(key="q2", reason="empty_query", detail="'?!' has neither a letter nor a digit")


def test_parsed_queries_are_written_as_parquet(prior_config: PriorConfig, tmp_path: Path) -> None:
    stage = ParseStage(prior_config, build_image_settings(prior_config))
    stage.setup()
    parsed = stage.process([_item("q1", text="left red cup"), _item("q2", text="the one"), _item("q3", text="red cup")])
    written = ParsedSink().write([one for one in parsed if isinstance(one, ParsedQuery)], tmp_path)
    assert written.summary == {"queries": 3, "unique_prompts": 2, "without_head": 1, "shortened": 0}
    rows = pq.read_table(written.files["queries"]).to_pylist()
    assert [row["head"] for row in rows] == ["cup", "", "cup"]
    assert json.loads(rows[0]["attributes"])["absolute_location"] == ["left"]


def test_a_prompt_without_appearance_has_more_images_and_another_id_if_asked(prior_config: PriorConfig) -> None:
    one, five = prior_config, replace(prior_config, num_plain_images=5)
    texts = {"q1": "left red cup", "q2": "second cup"}
    parsed = []
    for config in (one, five):
        stage = ParseStage(config, build_image_settings(config))
        stage.setup()
        parsed.append(stage.process([_item(key, text=text) for key, text in texts.items()]))
    (red, cup), (red_of_five, cup_of_five) = parsed
    assert isinstance(cup, ParsedQuery) and isinstance(cup_of_five, ParsedQuery)
    assert red == red_of_five
    assert (cup.num_images, cup_of_five.num_images) == (1, 5)
    assert cup.prior_id != cup_of_five.prior_id
    assert cup_of_five.prior_id == compute_prior_id("a cup", build_image_settings(replace(one, num_images=5)))
