"""Paraphrases by language models: a tiny one with random weights, and a scripted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from augmentation.errors import AugmentationError
from augmentation.paraphrasing.config import ParaphraseConfig
from augmentation.paraphrasing.language_model import LanguageModel, check_language_model
from augmentation.paraphrasing.stage import ParaphraseStage
from augmentation.paraphrasing.verification import ParaphraseVerifier
from augmentation.queries.generator import VerifiedQuery
from augmentation.queries.labeled import LabeledScene, ParaphrasedSample
from augmentation.queries.realizer import PhraseRealizer
from augmentation.relations import programs as p
from augmentation.relations.scene import Scene, SceneObject
from shards.boxes import Box
from shards.schema import Instance, Query, Sample
from tests.augmentation.tiny_language_model import save_language_model

CUP, BALL = p.Category(name="cup"), p.Category(name="ball")
RED_CUP = p.WithAttribute(base=CUP, attribute="color", value="red")
BOXES: tuple[Box, ...] = ((5, 30, 20, 50), (48, 30, 63, 50), (80, 30, 95, 50))
REALIZER = PhraseRealizer(plurals={"cup": "cups", "ball": "balls"}, nouns={"cup": ("mug",)})


@pytest.mark.parametrize("kind", ["causal", "text-to-text"])
def test_a_language_model_gives_the_same_paraphrases_for_the_same_seed(tmp_path: Path, kind: str) -> None:
    config = ParaphraseConfig(
        model=str(save_language_model(tmp_path, kind)), candidates=3, max_new_tokens=4, batch_size=4
    )
    check_language_model(config)
    model = LanguageModel(config)
    state = torch.get_rng_state()
    first = model.paraphrase(["left cup", "the cup on the right"], 7)
    assert [len(some) for some in first] == [3, 3]
    assert first == model.paraphrase(["left cup", "the cup on the right"], 7)
    assert first != model.paraphrase(["left cup", "the cup on the right"], 8)
    assert torch.equal(state, torch.get_rng_state())  # other users of torch's randomness see no change
    greedy = LanguageModel(ParaphraseConfig(model=str(tmp_path), temperature=0, candidates=2, max_new_tokens=4))
    ((one, same),) = greedy.paraphrase(["left cup"], 7)
    assert one == same


def test_a_folder_without_a_language_model_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match=r"/nowhere cannot be loaded as a language model \(there is no"):
        check_language_model(ParaphraseConfig(model="/nowhere"))
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    CLIPVisionModelWithProjection(vision).save_pretrained(tmp_path)
    with pytest.raises(AugmentationError, match="model type clip_vision_model writes no text") as caught:
        LanguageModel(ParaphraseConfig(model=str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prompt", ["say it", "{text} =>", "{query} {query}", "{query"])
def test_a_prompt_has_one_slot(prompt: str) -> None:
    with pytest.raises(ValueError, match="prompt"):
        ParaphraseConfig(prompt=prompt)


def _scene(*extra: SceneObject) -> Scene:
    """Make a scene of three cups in a row, the first two red, and a ball above the second."""
    cups = (
        SceneObject(box_xyxy=box, category="cup", attributes={"color": color})
        for box, color in zip(BOXES, ("red", "red", "blue"), strict=True)
    )
    ball = SceneObject(box_xyxy=(50, 10, 61, 20), category="ball", attributes={"color": "green"})
    return Scene(width=100, height=80, objects=(*cups, ball, *extra))


LEFT = VerifiedQuery(text="left cup", target=0, program=p.Extreme(base=CUP, side="left"))
SECOND = VerifiedQuery(text="2nd cup from left", target=1, program=p.Ordinal(base=CUP, rank=2, side="left"))
BLUE = VerifiedQuery(text="blue cup", target=2, program=p.WithAttribute(base=CUP, attribute="color", value="blue"))
CLOSEST = VerifiedQuery(text="cup closest to ball", target=1, program=p.Nearest(base=CUP, anchor=BALL))


@pytest.mark.parametrize(
    ("query", "paraphrase", "fault"),
    [
        (LEFT, "the leftmost cup", ""),
        (LEFT, "the cup that is located on the left", ""),
        (LEFT, "the mug on the left", ""),
        (LEFT, "left cup", "unchanged"),
        (LEFT, "...", "empty"),
        (LEFT, "the cup never on the left", "unknown_words"),
        (LEFT, "left ball", "other_target"),
        (LEFT, "left red cup", "other_attributes"),
        (LEFT, "the right cup", "other_place"),
        (LEFT, "left cup below the ball", "other_relations"),
        (LEFT, "the cup not on the left", "other_negation"),
        (SECOND, "the second cup from the left", ""),
        (SECOND, "the cup that is second from the left", ""),
        (SECOND, "the third cup from the left", "other_place"),
        (BLUE, "the cup that is blue", ""),
        (BLUE, "red cup", "other_attributes"),
        (BLUE, "the cup that is not blue", "other_attributes"),
        (CLOSEST, "the cup that is closest to a ball", ""),
        (CLOSEST, "the cup above the ball", "other_relations"),
    ],
)
def test_a_paraphrase_is_verified_or_rejected_with_a_reason(query: VerifiedQuery, paraphrase: str, fault: str) -> None:
    assert ParaphraseVerifier(REALIZER).find_fault(paraphrase, query, _scene()) == fault


def test_a_paraphrase_that_may_mean_another_object_of_the_scene_is_rejected() -> None:
    verifier = ParaphraseVerifier(REALIZER)
    far = VerifiedQuery(text="leftmost cup", target=0, program=p.Extreme(base=CUP, side="left"))
    assert verifier.find_fault("cup on the left", far, _scene()) == ""
    near = SceneObject(box_xyxy=(26, 30, 34, 50), category="cup", attributes={"color": "red"})
    assert verifier.find_fault("cup on the left", far, _scene(near)) == "other_meaning"  # two cups are on the left


class _Script:
    """Language model that says what a script has for each text."""

    def __init__(self, script: Mapping[str, Sequence[str]]) -> None:
        self._script = script

    def paraphrase(self, texts: Sequence[str], seed: int) -> list[list[str]]:
        return [list(self._script[text]) for text in texts]


def _labeled(*queries: VerifiedQuery) -> LabeledScene:
    scene = _scene()
    instances = tuple(Instance(box_xyxy=one.box_xyxy, category=one.category) for one in scene.objects)
    made = (
        Query(
            query_id=str(i),
            text=query.text,
            boxes_xyxy=(instances[query.target].box_xyxy,),
            split="train",
            source="pasted",
            instances=(query.target,),
            program=p.to_json(query.program),
        )
        for i, query in enumerate(queries)
    )
    absent = Query(
        query_id="absent", text="fourth cup from left", boxes_xyxy=(), split="train", source="pasted", instances=()
    )
    sample = Sample(
        key="a", width=100, height=80, image_name="a", image=b"", instances=instances, queries=(*made, absent)
    )
    return LabeledScene(sample=sample, scene=scene)


def test_the_first_verified_paraphrase_replaces_the_text_and_all_are_counted() -> None:
    script = {
        "left cup": ["the right cup", " The cup on the left. ", "the leftmost cup"],
        "2nd cup from left": ["the third cup from the left", "2nd cup from left"],
        "blue cup": ["the cup on the left", "nonsense"],
    }
    stage = ParaphraseStage(ParaphraseConfig(model="script"), REALIZER, load=lambda config: _Script(script))
    stage.setup()
    labeled = _labeled(LEFT, SECOND, BLUE)
    (sample,) = stage.process([labeled])
    assert isinstance(sample, ParaphrasedSample)
    texts = ["the cup on the left", "2nd cup from left", "blue cup", "fourth cup from left"]
    assert [query.text for query in sample.queries] == texts
    assert [query.program for query in sample.queries] == [query.program for query in labeled.sample.queries]
    assert sample.paraphrases == {
        "queries": 3,
        "kept": 1,
        "other_place": 2,
        "unchanged": 1,
        "other_attributes": 1,
        "unknown_words": 1,
    }


def test_a_random_language_model_paraphrases_hardly_anything_and_changes_nothing_else(tmp_path: Path) -> None:
    config = ParaphraseConfig(model=str(save_language_model(tmp_path, "causal")), max_new_tokens=3)
    stage = ParaphraseStage(config, REALIZER)
    stage.setup()
    labeled = _labeled(LEFT, BLUE)
    first, again = stage.process([labeled, labeled])
    assert first == again
    assert isinstance(first, ParaphrasedSample) and first.paraphrases["queries"] == 2
