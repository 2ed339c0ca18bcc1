"""The choice among candidates, by hand and by random candidates; hashes on images of the miniature world."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from upath import UPath

from augmentation.planning.quotas import QuotaConfig, QuotaKey
from augmentation.planning.selection import (
    NO_TARGET,
    SEVERAL_TARGETS,
    Candidate,
    CandidateQuery,
    CandidateSink,
    SelectionConfig,
    SelectionDecision,
    SelectStage,
    compute_image_hash,
    count_kept_queries,
    find_near_duplicates,
    make_candidate,
    read_candidates,
    select,
)
from augmentation.relations.types import RELATION_TYPES, RelationType
from pipeline import ExecutorConfig, Item, Job, PlanRow, Rejected, Stage, run_job
from shards.reader import SampleReader
from shards.schema import Instance, Query, Sample
from workflows.miniature.world.dataset import sample_scene

CELLS = [
    QuotaKey(category=category, count=count, relation_type=relation_type)
    for category in ("cup", "ball")
    for count in (2, 3)
    for relation_type in RELATION_TYPES
]


def _cell(relation_type: RelationType) -> QuotaKey:
    return QuotaKey(category="cup", count=3, relation_type=relation_type)


def _candidate(key: str, image_hash: int, *queries: tuple[RelationType, int]) -> Candidate:
    """Queries by family and object."""
    return Candidate(
        key=key,
        image_hash=image_hash,
        queries=tuple(
            CandidateQuery(query_id=f"{key}-{i}", quota_key=_cell(relation_type), target=target)
            for i, (relation_type, target) in enumerate(queries)
        ),
    )


def _far(number: int) -> int:
    """Hashes of which any two differ in 8 bits or more."""
    return int(f"{1 << number % 8:02x}" * 8, 16)


def _select(candidates: list[Candidate], distance: int = 2, **quotas: Any) -> list[SelectionDecision]:
    return select(candidates, CELLS, QuotaConfig(**quotas), SelectionConfig(max_distance=distance))


def test_a_near_duplicate_of_an_earlier_picture_goes_and_names_it() -> None:
    images = [_candidate("a", 0b0000, ("side", 0)), _candidate("b", 0b0011, ("side", 0))]
    assert _select(images)[1] == SelectionDecision(
        key="b", reason="near_duplicate", detail="2 of 64 bits differ from a"
    )
    assert [choice.reason for choice in _select(images, distance=1)] == [None, None]


def test_what_resembles_a_duplicate_but_no_original_stays() -> None:
    """0 and 0b11 differ in 2 bits, 0b11 and 0b1111 too, 0 and 0b1111 in 4."""
    assert find_near_duplicates([0b0, 0b11, 0b1111], 2) == {1: 0}
    assert find_near_duplicates([5, 5, 5], 0) == {1: 0, 2: 0}
    assert find_near_duplicates([5, 5], -1) == find_near_duplicates([], 2) == {}


def test_no_cell_gets_more_than_its_quota_and_what_is_not_needed_is_dropped() -> None:
    candidates = [_candidate(f"s{i}", _far(i), ("side", 0)) for i in range(3)]
    choices = _select(candidates, queries_per_quota=2)
    assert [choice.query_ids for choice in choices] == [("s0-0",), ("s1-0",), ()]
    assert choices[2] == SelectionDecision(key="s2", reason="quota_full", detail="side of 3 cup")


def test_a_cell_takes_as_many_queries_as_its_weight_says_and_is_filled_by_what_it_lacks() -> None:
    """Four say a side and three a middle; with weight 3 the middle is scarcer, and takes the object with both."""
    candidates = [_candidate(f"s{i}", _far(i), ("side", 0)) for i in range(3)]
    candidates += [_candidate(f"m{i}", _far(3 + i), ("middle", 0)) for i in range(2)]
    candidates.insert(0, _candidate("both", _far(5), ("side", 0), ("middle", 0)))
    options = {"queries_per_quota": 2, "max_queries_per_object": 1}
    weighted = _select(candidates, weights={"middle": 1.5, "side": 0.5}, **options)
    assert [one.query_ids for one in weighted] == [("both-1",), ("s0-0",), (), (), ("m0-0",), ("m1-0",)]
    none = _select(candidates, weights={"side": 0}, **options)
    assert [one.query_ids for one in none] == [("both-1",), (), (), (), ("m0-0",), ()]


def test_scarce_cells_are_served_first_at_a_thing_that_has_room_for_one_query() -> None:
    """Three could say a side, one alone a middle: that one says the middle."""
    candidates = [_candidate(f"s{i}", _far(i), ("side", 0)) for i in range(2)]
    candidates.insert(0, _candidate("both", _far(5), ("side", 0), ("middle", 0)))
    choices = _select(candidates, queries_per_quota=2, max_queries_per_object=1)
    assert [choice.query_ids for choice in choices] == [("both-1",), ("s0-0",), ("s1-0",)]


def test_a_thing_has_at_most_so_many_queries_and_other_things_their_own() -> None:
    one = _candidate("s", 0, ("side", 0), ("middle", 0), ("region", 0), ("region", 1))
    (choice,) = _select([one], max_queries_per_object=2)
    assert [one.queries[int(name[-1])].target for name in choice.query_ids] == [0, 0, 1]


def test_what_belongs_to_no_cell_is_not_kept() -> None:
    seven = CandidateQuery(query_id="s-0", quota_key=QuotaKey(category="cup", count=7, relation_type="side"), target=0)
    (choice,) = _select([Candidate(key="s", image_hash=0, queries=(seven,))])
    assert (choice.reason, choice.detail) == ("quota_full", "side of 7 cup")


@st.composite
def _candidates(draw: st.DrawFn) -> list[Candidate]:
    random = draw(st.randoms(use_true_random=False))
    return [_random_candidate(f"s{i}", random) for i in range(draw(st.integers(0, 25)))]


def _random_candidate(key: str, random: Random) -> Candidate:
    queries = tuple(
        CandidateQuery(query_id=f"{key}-{i}", quota_key=random.choice(CELLS), target=random.randrange(3))
        for i in range(random.randint(1, 8))
    )
    return Candidate(key=key, image_hash=random.choice((0, 1, 7, 2**63, 2**64 - 1)), queries=queries)


@given(_candidates(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_whatever_the_candidates_the_limits_hold(
    candidates: list[Candidate], per_cell: int, per_thing: int, distance: int
) -> None:
    choices = _select(candidates, distance, queries_per_quota=per_cell, max_queries_per_object=per_thing)
    assert [choice.key for choice in choices] == [one.key for one in candidates]
    assert all(bool(choice.query_ids) != bool(choice.reason) for choice in choices)
    assert max(count_kept_queries(candidates, choices).values(), default=0) <= per_cell
    for one, choice in zip(candidates, choices, strict=True):
        things = Counter(query.target for query in one.queries if query.query_id in choice.query_ids)
        assert max(things.values(), default=0) <= per_thing
    kept = [one.image_hash for one, choice in zip(candidates, choices, strict=True) if choice.query_ids]
    assert all((a ^ b).bit_count() > distance for i, a in enumerate(kept) for b in kept[:i])


@given(_candidates(), st.integers(1, 4))
def test_the_scarcest_cell_gets_all_that_the_things_allow(candidates: list[Candidate], per_cell: int) -> None:
    choices = _select(candidates, distance=-1, queries_per_quota=per_cell, max_queries_per_object=1)
    offered = Counter(query.quota_key for one in candidates for query in one.queries)
    if offered:
        scarcest = min(offered, key=lambda quota_key: (offered[quota_key], quota_key))
        things = {(one.key, query.target) for one in candidates for query in one.queries if query.quota_key == scarcest}
        assert count_kept_queries(candidates, choices)[scarcest] == min(per_cell, len(things))


@given(_candidates())
def test_the_same_candidates_give_the_same_choice(candidates: list[Candidate]) -> None:
    assert _select(candidates) == _select(list(candidates))


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Different scenes of the miniature world, with distractors."""
    return [sample_scene("testA", Random(seed)).draw() for seed in range(60)]


def test_different_pictures_are_no_near_duplicates_and_copies_are(images: list[Image.Image]) -> None:
    limit = SelectionConfig().max_distance
    hashes = [compute_image_hash(_encoded(image)) for image in images]
    assert find_near_duplicates(hashes, limit) == {}
    compressed = [compute_image_hash(_encoded(image, "JPEG", quality=90)) for image in images]
    brighter = [compute_image_hash(_encoded(ImageEnhance.Brightness(image).enhance(1.05))) for image in images]
    for copies in (compressed, brighter):
        found = find_near_duplicates([*hashes, *copies], limit)
        assert sum(found.get(60 + i) == i for i in range(60)) >= 57


def _sample(key: str, image: Image.Image) -> Sample:
    """Three cups and a ball; a query by side and one by attribute of the first cup."""
    boxes = ((1.0, 5.0, 11.0, 15.0), (21.0, 5.0, 31.0, 15.0), (41.0, 5.0, 51.0, 15.0), (21.0, 30.0, 31.0, 40.0))
    category = {"op": "category", "name": "cup"}
    programs: list[dict[str, Any]] = [
        {"op": "extreme", "base": category, "side": "left"},
        {"op": "with_attribute", "base": category, "attribute": "color", "value": "red"},
    ]
    return Sample(
        key=key,
        width=image.width,
        height=image.height,
        image_name=key,
        image=_encoded(image),
        instances=tuple(
            Instance(box_xyxy=box, category=name)
            for box, name in zip(boxes, ("cup", "cup", "cup", "ball"), strict=True)
        ),
        queries=tuple(
            Query(
                query_id=f"{key}-{i}",
                text="cup",
                boxes_xyxy=(boxes[0],),
                split="train",
                source="pasted",
                instances=(0,),
                program=program,
            )
            for i, program in enumerate(programs)
        ),
    )  # fmt: skip


def test_a_sample_is_a_candidate_for_the_cells_of_what_was_found(images: list[Image.Image]) -> None:
    one = make_candidate(_sample("s", images[0]))
    assert one.image_hash == compute_image_hash(_encoded(images[0]))
    assert [(query.query_id, query.quota_key, query.target) for query in one.queries] == [
        ("s-0", _cell("side"), 0),
        ("s-1", _cell("attribute"), 0),
    ]


def test_queries_of_no_and_of_several_targets_have_quotas_of_their_own(images: list[Image.Image]) -> None:
    sample = _sample("s", images[0])
    query = sample.queries[0]
    targets = [tuple(range(count)) for count in (0, 2, 3)]
    queries = tuple(
        replace(
            query,
            query_id=str(len(some)),
            boxes_xyxy=tuple(sample.instances[i].box_xyxy for i in some),
            instances=some,
            program={"op": "category", "name": "cup"},
        )
        for some in targets
    )
    of_absent_category = replace(queries[0], query_id="hat", program={"op": "category", "name": "hat"})
    one = make_candidate(replace(sample, queries=(*queries, of_absent_category)))
    assert {query.quota_key.category for query in one.queries} == {"cup"}
    assert [(query.quota_key.relation_type, query.quota_key.count, query.target) for query in one.queries] == [
        ("absent", 3, NO_TARGET), ("pair", 3, SEVERAL_TARGETS), ("group", 3, SEVERAL_TARGETS),
        ("absent", 3, NO_TARGET),
    ]  # fmt: skip


class _SamplesStage(Stage[Item, Sample]):
    def process(self, items: list[Item]) -> list[Sample | Rejected]:
        images = [Image.fromarray(np.full((64, 64, 3), item.payload["grey"], np.uint8)) for item in items]
        return [_sample(item.key, image) for item, image in zip(items, images, strict=True)]


def test_the_stage_reads_a_sample_with_the_chosen_queries_or_says_why_it_is_dropped(tmp_path: Any) -> None:
    rows = [PlanRow(key=f"s{i}", payload={"grey": 10 * i}) for i in range(3)]
    job = Job(
        name="scenes", fingerprint={}, inputs=lambda: rows, items_per_shard=2, seed=0, stages=[_SamplesStage()],
        sink=CandidateSink(),
    )  # fmt: skip
    run_job(job, tmp_path / "01-pasted", ExecutorConfig(isolate=False))
    assert read_candidates(tmp_path / "01-pasted") == [
        make_candidate(sample) for sample in SampleReader(tmp_path / "01-pasted")
    ]
    stage = SelectStage(UPath(tmp_path))
    stage.setup()
    decisions = {
        2: SelectionDecision(key="s2", query_ids=("s2-1",)),
        0: SelectionDecision(key="s0", reason="quota_full", detail="side of 3 cup"),
    }
    items = [Item(key=one.key, seed=0, payload=one.to_payload("01-pasted", i)) for i, one in decisions.items()]
    sample, rejected = stage.process(items)
    assert isinstance(sample, Sample)
    before = SampleReader(tmp_path / "01-pasted").read(2)
    assert sample.image == before.image and sample.queries == (before.queries[1],)
    assert rejected == Rejected(key="s0", reason="quota_full", detail="side of 3 cup")


def test_a_distance_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_distance must lie in \[-1, 64\), got 64"):
        SelectionConfig(max_distance=64)
