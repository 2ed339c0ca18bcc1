from __future__ import annotations

from collections import Counter

from augmentation.relations import programs as p
from shards.schema import Query, Sample
from workflows.study.scenes import BalanceStage, find_decision_type

CUP = p.Category(name="cup")
RED_CUP = p.WithAttribute(base=CUP, attribute="color", value="red")


def _make_sample(*programs: p.Program) -> Sample:
    box = (0.0, 0.0, 5.0, 5.0)
    queries = tuple(
        Query(query_id=str(i), text="cup", boxes_xyxy=(box,), split="train", source="toy", program=p.to_json(one))
        for i, one in enumerate(programs)
    )
    return Sample(key="a", width=10, height=10, image_name="a", image=b"", instances=(), queries=queries)


def test_appearance_a_place_or_both_decide_a_query() -> None:
    assert find_decision_type(RED_CUP) == "appearance"
    assert find_decision_type(p.Extreme(base=CUP, side="left")) == "place"
    assert find_decision_type(p.NextTo(base=p.Extreme(base=RED_CUP, side="left"), anchor=CUP)) == "both"


def test_balanced_queries_are_equally_many_of_each_decision_type() -> None:
    places = [p.Ordinal(base=CUP, rank=rank, side="left") for rank in range(1, 8)]
    boths = [p.Extreme(base=RED_CUP, side=side) for side in ("left", "right", "top")]
    (balanced,) = BalanceStage({"a": 5}).process([_make_sample(*places, RED_CUP, *boths)])
    assert isinstance(balanced, Sample)
    kinds = Counter(find_decision_type(p.from_json(query.program or {})) for query in balanced.queries)
    assert kinds == {"appearance": 1, "place": 2, "both": 2}
