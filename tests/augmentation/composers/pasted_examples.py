"""Pasted scenes of a small folder of cut-outs and backgrounds."""

from __future__ import annotations

import pickle
from typing import Any

from augmentation.composers.blending import BlendConfig
from augmentation.composers.composed import ComposedScene
from augmentation.composers.held_out import HeldOut
from augmentation.composers.pasted import PastedComposer, PastedConfig
from augmentation.planning.scene_spec import SceneSpec
from augmentation.planning.vocabulary import VocabularyConfig
from pipeline import Item, Rejected

PLAIN = BlendConfig(feather_px=0, lighting=0, cast=0, shadow=0, max_contrast=1)
COLORS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 200, 60)}
VOCABULARY = VocabularyConfig(categories={"cup": "cups", "ball": "balls"})


def make_item(seed: int = 1, **changes: Any) -> Item:
    values: dict[str, Any] = {"category": "cup", "count": 3, "attributes": {}, "prompt": "three cups", **changes}
    spec = SceneSpec(key=f"scene-{seed}", **values)
    return Item(key=spec.key, seed=seed, payload=spec.to_payload())


def compose(config: PastedConfig, *items: Item, held_out: HeldOut | None = None) -> list[ComposedScene | Rejected]:
    stage: PastedComposer = pickle.loads(pickle.dumps(PastedComposer(config, held_out)))
    stage.setup()
    return stage.process(list(items))
