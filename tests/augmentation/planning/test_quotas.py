"""Quotas by hand: which cells there are, what is missing, what is asked for next, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from augmentation.planning.quotas import (
    MAX_UNPRODUCTIVE_SCENES,
    MIN_ROUND_SCENES,
    SERVED_RELATION_TYPES,
    Outcome,
    QuotaConfig,
    QuotaKey,
    Quotas,
    QuotaStatus,
    Yields,
    list_quota_keys,
)
from augmentation.planning.scene_spec import Arrangement, Composer, SceneRequest
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.types import RELATION_TYPES, TARGET_TYPES, RelationType

CUPS: dict[str, Any] = {"categories": {"cup": "cups"}, "quantifiers": ("two", "three", "four")}


def _cell(relation_type: RelationType, count: int = 3, category: str = "cup") -> QuotaKey:
    return QuotaKey(category=category, count=count, relation_type=relation_type)


def _outcomes(
    number: int,
    brought: Mapping[QuotaKey, int],
    arrangement: Arrangement | None = "row",
    composer: Composer = "pasted",
    count: int = 3,
) -> list[Outcome]:
    """So many scenes of cups, each with the same candidates."""
    request = SceneRequest(category="cup", count=count, arrangement=arrangement)
    return [Outcome(composer=composer, request=request, candidates=brought)] * number


def _quotas(*quota_keys: QuotaKey, **changes: Any) -> Quotas:
    return Quotas(QuotaConfig(**changes), quota_keys)


def test_cells_are_those_that_can_exist() -> None:
    quota_keys = list_quota_keys(VocabularyConfig(**CUPS), RELATION_TYPES)
    by_count = {
        count: sorted(quota_key.relation_type for quota_key in quota_keys if quota_key.count == count)
        for count in (2, 3, 4)
    }
    assert by_count[2] == ["beside", "between", "depth", "near", "region", "side", "size"]
    assert by_count[3] == sorted([*by_count[2], "ordinal", "middle"])
    assert by_count[4] == sorted([*by_count[2], "ordinal", "line"])  # of four none is in the middle


def test_queries_of_no_and_of_several_targets_have_cells_that_every_arrangement_serves() -> None:
    quota_keys = list_quota_keys(VocabularyConfig(**CUPS), TARGET_TYPES)
    assert [(key.count, key.relation_type) for key in quota_keys] == [
        (2, "absent"), (2, "pair"), (3, "absent"), (3, "group"), (3, "pair"), (4, "absent"), (4, "group"), (4, "pair"),
    ]  # fmt: skip
    key = QuotaKey(category="cup", count=3, relation_type="pair")
    served = {
        arrangement: Yields([key], []).estimate_queries(
            "pasted", SceneRequest(category="cup", count=3, arrangement=arrangement)
        )[key]
        for arrangement in SERVED_RELATION_TYPES
    }
    assert set(served.values()) == {0.5}


def test_attributes_make_cells_where_the_vocabulary_has_words_for_them() -> None:
    colored = VocabularyConfig(**CUPS, attributes={"color": ("red",)})
    assert _cell("attribute", 2) in list_quota_keys(colored, RELATION_TYPES)
    assert {quota_key.relation_type for quota_key in list_quota_keys(colored, ("attribute", "size"))} == {
        "attribute",
        "size",
    }


def test_contacts_make_cells_of_the_categories_that_stand_on_others() -> None:
    vocabulary = VocabularyConfig(categories={"cup": "cups", "box": "boxes"}, supports={"box": ("cup",)})
    assert {key.category for key in list_quota_keys(vocabulary, ("contact",))} == {"cup"}


def test_every_family_is_served_by_an_arrangement() -> None:
    assert frozenset().union(*SERVED_RELATION_TYPES.values()) == frozenset(RELATION_TYPES)


def test_a_cell_is_reached_with_85_of_100_queries() -> None:
    side = _cell("side")
    assert QuotaConfig(queries_per_quota=100).count_min_queries(side) == 85
    assert QuotaConfig(queries_per_quota=8).count_min_queries(side) == 7
    assert QuotaConfig(queries_per_quota=1).count_min_queries(side) == 1
    assert QuotaConfig(queries_per_quota=8, tolerance=0).count_min_queries(side) == 8


def test_a_weight_is_a_factor_of_the_quotas_of_its_relation_type() -> None:
    config = QuotaConfig(queries_per_quota=8, weights={"attribute": 2.5, "depth": 0})
    attribute, side, depth = (_cell(name) for name in ("attribute", "side", "depth"))
    assert [config.count_queries(one) for one in (attribute, side, depth)] == [20, 8, 0]
    quotas = Quotas(config, [attribute, side, depth])
    assert [(one.min_queries, one.is_open) for one in quotas.statuses([], {})] == [(17, True), (7, True), (0, False)]
    weighted, plain = (
        _quotas(attribute, weights=weights).plan_requests({"pasted": 900}, _outcomes(400, {attribute: 1}), {})
        for weights in ({"attribute": 20}, {})
    )
    assert len(weighted["pasted"]) > 64 == len(plain["pasted"])  # 160 queries are missing, or 8: the smallest round


def test_a_standing_counts_the_scenes_that_were_to_serve_the_cell() -> None:
    quota_key = _cell("ordinal")
    outcomes = [
        *_outcomes(4, {quota_key: 2}, "row"),
        *_outcomes(3, {}, "column"),
        *_outcomes(5, {quota_key: 1}, "scatter"),
        *_outcomes(2, {}, None, "prompted"),
        *_outcomes(6, {}, "row", count=4),
    ]
    (status,) = _quotas(quota_key).statuses(outcomes, {quota_key: 3})
    assert (status.requested, status.candidates, status.kept) == (4 + 3 + 2, 4 * 2 + 5, 3)


def test_what_a_kind_of_scene_brought_replaces_the_guess_the_more_of_it_was_seen() -> None:
    """The guess of 0.5 counts as 4 scenes. 4 rows of balls without one make 0.25 of it for all categories; 12 rows of
    cups with one each then give (12 + 0.8125 x 4) / 16, since pooled they are (12 + 0.5 x 4) / (16 + 4) = 0.7."""
    cup, ball = _cell("ordinal"), _cell("ordinal", category="ball")
    rows, balls = (SceneRequest(category=name, count=3, arrangement="row") for name in ("cup", "ball"))
    assert Yields([cup], []).estimate_queries("pasted", rows) == {cup: 0.5}
    none = [Outcome(composer="pasted", request=balls, candidates={})] * 4
    assert Yields([cup, ball], none).estimate_queries("pasted", rows) == {cup: 0.25}
    seen = Yields([cup, ball], [*none, *_outcomes(12, {cup: 1})])
    assert seen.estimate_queries("pasted", rows)[cup] == pytest.approx((12 + 0.7 * 4) / 16)
    assert seen.estimate_queries("prompted", SceneRequest(category="cup", count=3)) == {cup: 0.5}


def test_what_comes_of_another_number_of_things_than_asked_for_counts_where_it_belongs() -> None:
    three, four = _cell("side", 3), _cell("side", 4)
    seen = Yields([three, four], _outcomes(36, {four: 1}, None, "prompted"))
    expected = seen.estimate_queries("prompted", SceneRequest(category="cup", count=3))
    assert expected[four] > 0.9 and expected[three] < 0.1


def test_requests_are_so_many_as_the_deficit_needs_by_the_yield_seen() -> None:
    """300 queries are missing and a scene gives two, so it takes 150; for 100 it takes 50, filled up to a round."""
    quota_key = _cell("ordinal")
    outcomes = _outcomes(400, {quota_key: 2})
    requested = _quotas(quota_key, queries_per_quota=400).plan_requests({"pasted": 1000}, outcomes, {quota_key: 100})[
        "pasted"
    ]
    assert {request.arrangement for request in requested} == {"row"}
    assert len(requested) == pytest.approx(150, abs=3)
    fewer = _quotas(quota_key, queries_per_quota=200).plan_requests({"pasted": 1000}, outcomes, {quota_key: 100})[
        "pasted"
    ]
    assert len(fewer) == MIN_ROUND_SCENES


def test_requests_never_exceed_the_budget_and_fill_a_round() -> None:
    quotas = _quotas(_cell("ordinal"), _cell("size"), queries_per_quota=1)
    for budget in (1, 5, MIN_ROUND_SCENES, 500):
        assert len(quotas.plan_requests({"pasted": budget}, [], {})["pasted"]) <= budget
    assert len(quotas.plan_requests({"pasted": 10}, [], {})["pasted"]) == 10
    assert len(quotas.plan_requests({"pasted": 500}, [], {})["pasted"]) >= MIN_ROUND_SCENES


def test_only_what_is_missing_is_asked_for() -> None:
    ordinal, size, other = _cell("ordinal"), _cell("size"), _cell("size", category="ball")
    requested = _quotas(ordinal, size, other).plan_requests({"pasted": 64}, [], {ordinal: 8, other: 8})["pasted"]
    assert {(request.category, request.arrangement) for request in requested} == {("cup", "scatter")}


def test_composers_share_what_is_missing() -> None:
    quota_key = _cell("ordinal")
    outcomes = [*_outcomes(400, {quota_key: 1}), *_outcomes(400, {quota_key: 1}, None, "prompted")]
    requested = _quotas(quota_key, queries_per_quota=400).plan_requests({"pasted": 900, "prompted": 900}, outcomes, {})
    assert [len(requested[name]) for name in ("pasted", "prompted")] == [pytest.approx(200, abs=5)] * 2
    assert {request.arrangement for request in requested["prompted"]} == {None}


def test_nothing_is_asked_for_a_cell_that_never_came() -> None:
    quotas = _quotas(_cell("ordinal"))
    outcomes = _outcomes(MAX_UNPRODUCTIVE_SCENES, {})
    assert quotas.plan_requests({"pasted": 100}, outcomes, {}) == {"pasted": []}
    (status,) = quotas.statuses(outcomes, {})
    assert quotas.find_stop_reason([status], [], 100) == "every quota with any candidate is reached"
    assert (
        status.explain_shortfall("budget spent")
        == f"none of {MAX_UNPRODUCTIVE_SCENES} requested scenes yielded a query"
    )


def test_what_hardly_ever_came_for_any_category_is_not_asked_for() -> None:
    """After 200 rows of other categories without one, 2 % of a query and less are expected of a row of cups, too."""
    cup, ball = _cell("ordinal"), _cell("ordinal", category="ball")
    every: tuple[Arrangement, ...] = get_args(Arrangement)
    outcomes = [
        Outcome(composer="pasted", request=SceneRequest(category="ball", count=3, arrangement=one), candidates={})
        for one in every
        for _ in range(200)
    ]
    assert _quotas(cup, ball).plan_requests({"pasted": 100}, outcomes, {}) == {"pasted": []}


def _standing(kept: int, candidates: int = 9, requested: int = 9) -> QuotaStatus:
    return QuotaStatus(quota_key=_cell("side"), kept=kept, min_queries=7, candidates=candidates, requested=requested)


@pytest.mark.parametrize(
    ("kept", "before", "num_left", "reason"),
    [
        (7, 2, 100, "every quota is reached"),
        (3, 2, 0, "budget spent"),
        (2, 2, 100, "the last round yielded no missing query"),
        (3, 2, 100, None),
    ],
)
def test_rounds_stop_for_a_reason(kept: int, before: int, num_left: int, reason: str | None) -> None:
    quotas = _quotas(_cell("side"))
    assert quotas.find_stop_reason([_standing(kept)], [_standing(before)], num_left) == reason


def test_a_first_round_that_brought_nothing_is_the_last() -> None:
    quotas = _quotas(_cell("side"))
    nothing = [_standing(0, candidates=0)]
    assert quotas.find_stop_reason(nothing, [], 100) == "the last round yielded no missing query"


def test_a_cell_that_was_not_reached_says_why() -> None:
    assert (
        _standing(0, candidates=0, requested=0).explain_shortfall("budget spent")
        == "no scene was requested: budget spent"
    )
    assert _standing(2, candidates=3).explain_shortfall("budget spent") == (
        "budget spent: 9 requested scenes yielded 3 candidate queries"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries_per_quota": 0}, "queries_per_quota must be at least 1, got 0"),
        ({"max_queries_per_object": 0}, "max_queries_per_object must be at least 1, got 0"),
        ({"tolerance": 1.0}, r"tolerance must lie in \[0, 1\), got 1.0"),
        ({"weights": {"side": -1.0}}, "weights must be 0 or more, got -1.0 for side"),
        ({"weights": {"side": float("nan")}}, "weights must be 0 or more, got nan for side"),
    ],
)
def test_quotas_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QuotaConfig(**changes)
