from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from augmentation.composers.composed import ComposedScene
from augmentation.composers.pasted import PastedComposer, PastedConfig
from augmentation.queries.labeled import LabeledScene
from augmentation.relations import programs as p
from augmentation.relations.scene import Scene, SceneObject
from shards.schema import Instance, Query, Sample
from tests.augmentation.composers.pasted_examples import compose, make_item
from workflows.study.scenes import AddAttributesStage, BalanceStage, ComposeAgainStage, find_decision_type

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


def test_a_pasted_scene_composed_again_is_the_same_with_its_objects(tmp_path: Path) -> None:
    config = PastedConfig(cutouts=tmp_path / "cutouts", backgrounds=tmp_path / "backgrounds", sizes_px=((160, 120),))
    for path, mode in ((config.cutouts / "cup/color=red_1.png", "RGBA"), (config.backgrounds / "1.png", "RGB")):
        path.parent.mkdir(parents=True)
        Image.effect_noise((60, 60), 90).convert(mode).save(path)
    Image.merge("RGB", [Image.effect_noise((160, 120), 90) for _ in range(3)]).save(config.backgrounds / "1.png")
    item = make_item(seed=5)
    (first,) = compose(config, item)
    stage = ComposeAgainStage(PastedComposer(config))
    stage.setup()
    (again,) = stage.process([replace(item, seed=99, payload={"spec": item.payload, "seed": item.seed})])
    assert isinstance(first, ComposedScene) and isinstance(again, ComposedScene)
    assert np.array_equal(first.image, again.image) and again.requested == first.requested and len(again.requested) == 3


def test_targets_that_a_place_alone_decides_get_their_attributes() -> None:
    sample = _make_sample(p.Extreme(base=CUP, side="left"), RED_CUP, p.Extreme(base=RED_CUP, side="left"))
    texts = ("cup left of the cup", "red cup", "left red cup")
    queries = tuple(replace(one, text=text, instances=(0,)) for one, text in zip(sample.queries, texts, strict=True))
    cup = SceneObject(box_xyxy=(0, 0, 5, 5), category="cup", attributes={"color": "red", "pattern": "striped"})
    instances = (Instance(box_xyxy=cup.box_xyxy, category="cup"),)
    labeled = replace(sample, instances=instances, queries=queries)
    item = LabeledScene(sample=labeled, scene=Scene(width=10, height=10, objects=(cup,)))
    (added,) = AddAttributesStage({"0", "1"}, ("pattern", "color")).process([item])
    assert isinstance(added, Sample)
    assert [query.text for query in added.queries] == ["striped red cup left of the cup", "red cup"]
