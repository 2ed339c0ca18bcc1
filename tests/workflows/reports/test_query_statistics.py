from __future__ import annotations

import pytest

from workflows.reports.dataset_statistics import compute_jensen_shannon_divergence, compute_word_statistics
from workflows.reports.query_statistics import compare_texts


def test_word_figures_of_three_queries() -> None:
    figures = compute_word_statistics(["left cup", "the red cup", "left cup"])
    assert figures["mean_words"] == pytest.approx(7 / 3)
    assert figures["article_share"] == pytest.approx(1 / 3)
    assert figures["spatial_share"] == pytest.approx(2 / 3)
    assert figures["color_share"] == pytest.approx(1 / 3)
    assert figures["distinct_1"] == pytest.approx(4 / 7)  # left, cup, the, red
    assert figures["distinct_2"] == pytest.approx(3 / 4)  # left cup twice, the red, red cup


def test_equally_many_of_each_kind_are_compared_and_a_kind_without_any_is_left_out() -> None:
    figures = compare_texts({"scenes": ["left cup"] * 5, "val": ["a b", "c d"], "test": []})
    assert {kind: values["queries"] for kind, values in figures.items()} == {"scenes": 2, "val": 2}
    assert figures["scenes"]["distinct_1"] == 0.5 and figures["val"]["distinct_1"] == 1
    assert compare_texts({"scenes": []}) == {}


def test_divergence_is_0_of_equal_words_1_of_different_ones_and_between_of_shared_ones() -> None:
    assert compute_jensen_shannon_divergence(["left cup"], ["cup left"]) == 0
    assert compute_jensen_shannon_divergence(["left cup"], ["red ball"]) == pytest.approx(1)
    assert compute_jensen_shannon_divergence(["left cup"], ["left ball"]) == pytest.approx(0.5)
