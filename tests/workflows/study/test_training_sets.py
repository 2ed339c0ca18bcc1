from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards.schema import Query, Sample
from workflows.cli.console import UserError
from workflows.study.__main__ import StudyConfig
from workflows.study.sample_stages import SampleQueriesStage
from workflows.study.training_sets import KeepQueriesStage, prepare_data, select_queries_by_words, shuffle_priors


def test_shuffled_priors_are_never_the_query_s_own_and_each_as_often_as_before() -> None:
    ids = {f"q{i}": f"prior-{min(i, 6)}" for i in range(12)}  # one of them six times, which is half of all
    given = shuffle_priors(list(ids), ids)
    assert len({given[query] for query, prior in ids.items() if prior == "prior-6"}) > 2  # drawn, not renamed
    assert all(given[query] != own for query, own in ids.items())
    assert Counter(given.values()) == Counter(ids.values())


def test_queries_leave_training_with_their_priors() -> None:
    texts = {"the pink cup": "train", "left cup": "train", "purple ball": "testA"}
    sample = Sample(
        key="a",
        width=10,
        height=10,
        image_name="a",
        image=b"",
        instances=(),
        queries=tuple(
            Query(query_id=text, text=text, boxes_xyxy=((0, 0, 5, 5),), split=split, source="toy")
            for text, split in texts.items()
        ),
        priors=np.arange(6, dtype=np.float16).reshape(3, 2),
    )
    (kept,) = KeepQueriesStage({"a": [1, 2]}).process([sample])
    assert isinstance(kept, Sample) and kept.priors is not None
    assert [one.text for one in kept.queries] == ["left cup", "purple ball"]
    assert kept.priors.tolist() == [[2, 3], [4, 5]]
    (fewer,) = SampleQueriesStage({"a": 2}).process([sample])
    assert isinstance(fewer, Sample) and fewer.priors is not None and len(fewer.queries) == 2
    rows = {query.text: row for query, row in zip(sample.queries, sample.priors.tolist(), strict=True)}
    assert [rows[one.text] for one in fewer.queries] == fewer.priors.tolist()


def test_the_first_queries_are_taken_until_a_word_is_used_up() -> None:
    texts = [("a", ["pink cup", "pink hat", "cup"]), ("b", ["purple cup"]), ("c", ["pink kite", "hat"]), ("d", ["cup"])]
    assert select_queries_by_words(texts, 3, "all words") == {"a": [0, 1, 2]}
    assert select_queries_by_words(texts, 3, "held-out colors") == {"a": [2], "c": [1], "d": [0]}
    assert select_queries_by_words(texts, 4, "rare words") == {"a": [0, 2], "c": [1], "d": [0]}  # one pink, one hat
    with pytest.raises(UserError, match="only 3 training queries, 4 are needed"):
        select_queries_by_words(texts, 4, "held-out colors")


@pytest.mark.slow
def test_the_study_refuses_the_world_of_another_one_and_may_be_moved(tmp_path: Path) -> None:
    config = StudyConfig(
        output=tmp_path / "here", sizes=(8,), control_size=8, num_scenes=1, num_val=1, num_test=1, variants=("base",)
    )
    prepare_data(config, [])
    with pytest.raises(UserError, match=r"has the data of another study .* choose another --output"):
        prepare_data(replace(config, num_test=2), [])
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    prepare_data(replace(config, output=tmp_path / "there"), [])
