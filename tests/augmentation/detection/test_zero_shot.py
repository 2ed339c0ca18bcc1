"""Detectors that are asked in words: tiny ones of the real classes, loaded as the full ones are."""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    BertConfig,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    OmDetTurboConfig,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    SwinConfig,
)

from augmentation.composers.composed import ComposedScene
from augmentation.detection.config import DetectorConfig
from augmentation.detection.detector import DetectedScene, Detection, Detector, DetectStage
from augmentation.detection.zero_shot import ZeroShotModel
from augmentation.errors import AugmentationError
from augmentation.planning.scene_spec import SceneSpec
from augmentation.planning.vocabulary import VocabularyConfig
from shards.boxes import iou

LETTERS = string.ascii_lowercase
WORDS = ("a", "cup", "ball", "hot", "dog", "photo", "of")


def _images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Of noise, by (height, width)."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def _owl(folder: Path, config: type[Any], model: type[Any], images: Any) -> Path:
    """An OWL that spells its questions, of 16 x 16 patches of 8 px."""
    torch.manual_seed(0)
    spelled = ["<pad>", "<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(spelled), "max_position_embeddings": 24, "bos_token_id": 1, "eos_token_id": 2}
    vision = {"image_size": 64, "patch_size": 8}
    made = model(
        config(text_config={**tower, **text, "pad_token_id": 0}, vision_config={**tower, **vision}, projection_dim=16)
    )
    made.save_pretrained(folder)
    tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(spelled)}, merges=[], model_max_length=24, pad_token="<pad>"
    )
    tokenizer.save_pretrained(folder)
    images(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def owlvit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _owl(tmp_path_factory.mktemp("owlvit"), OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor)


@pytest.fixture(scope="module")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _owl(tmp_path_factory.mktemp("owlv2"), Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Grounding DINO whose tokenizer knows a few words, with BERT's numbers for the marks that end a phrase."""
    torch.manual_seed(0)
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    vocabulary |= {word: 200 + i for i, word in enumerate(WORDS)}
    taken = set(vocabulary.values())
    vocabulary |= {f"[unused{i}]": i for i in range(1030) if i not in taken}
    text = BertConfig(vocab_size=1030, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2, out_indices=[2, 3, 4]
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        num_queries=8,
        num_feature_levels=3,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        max_text_len=16,
    )
    folder = tmp_path_factory.mktemp("dino")
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    GroundingDinoImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(params=["owlvit", "owlv2", "dino"])
def any_family(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


def _wide(checkpoint: Path, **changes: Any) -> DetectorConfig:
    """Everything is sure, and nothing is a duplicate."""
    wide: dict[str, Any] = {"confident_score": 1e-6, "min_score": 1e-6, "min_area_share": 0, "max_area_share": 1}
    return DetectorConfig(checkpoint=str(checkpoint), **{**wide, "nms_iou": 1.0, **changes})


def test_what_is_asked_for_is_found_inside_the_picture_best_first(any_family: Path) -> None:
    detector = Detector(_wide(any_family), ["cup", "hot dog"])
    assert detector.categories == ["cup", "hot dog"]
    for (width, height), things in zip([(80, 48), (40, 64)], detector.detect(_images((48, 80), (64, 40))), strict=True):
        assert {one.category for one in things} == {"cup", "hot dog"}
        assert [one.score for one in things] == sorted((one.score for one in things), reverse=True)
        assert all(one.is_confident for one in things)
        for x1, y1, x2, y2 in (one.box_xyxy for one in things):
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert detector.detect([]) == []


def test_a_picture_alone_and_in_a_batch_shows_the_same(any_family: Path) -> None:
    images = _images((64, 64), (64, 64))
    detector = Detector(_wide(any_family), ["cup", "ball"])
    together, alone = detector.detect(images)[1], detector.detect(images[1:])[0]
    np.testing.assert_allclose([one.score for one in together], [one.score for one in alone], atol=2e-4)


@pytest.mark.parametrize("family", ["owlvit", "owlv2"])
def test_the_best_categories_of_an_owls_boxes_are_those_of_its_own_processor(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    image, texts = _images((48, 80))[0], ["a photo of a cup", "a photo of a ball"]
    processor: Any = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(**processor(text=[texts], images=[image], return_tensors="pt"))
    theirs = processor.post_process_grounded_object_detection(output, 0.0, [(48, 80)], [texts])[0]
    questions = ZeroShotModel(
        str(folder), None, model.config, {"cup": "cup", "ball": "ball"}, None, torch.device("cpu")
    )
    with torch.inference_mode():
        ours = questions.detect([image], 0.0)[0]
    best = [max(ours[i : i + 2], key=lambda one: one[2]) for i in range(0, len(ours), 2)]  # two of each box
    np.testing.assert_allclose([box for box, _, _ in best], theirs["boxes"], atol=1e-3)
    np.testing.assert_allclose([score for _, _, score in best], theirs["scores"], atol=1e-5)
    assert [f"a photo of a {category}" for _, category, _ in best] == theirs["text_labels"]


def _dino_scores(folder: Path, of_words: dict[str, float], categories: Sequence[str], min_score: float) -> list[float]:
    """What becomes of one box whose tokens have these probabilities (0 for the others), by category."""
    processor: Any = AutoProcessor.from_pretrained(folder)
    config: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).config
    named = {category: category for category in categories}
    model = ZeroShotModel(str(folder), None, config, named, "a {category}", torch.device("cpu"))
    text = model._prompter.texts(1)[0]
    words = processor.tokenizer.convert_ids_to_tokens(processor.tokenizer(text)["input_ids"])
    logits = torch.tensor([[[torch.logit(torch.tensor(of_words.get(word, 0.0))) for word in words]]])
    scores: list[float] = model._prompter.scores(logits, min_score)[0, 0].tolist()
    return scores


def test_a_score_of_grounding_dino_is_the_mean_over_the_words_of_the_category(dino: Path) -> None:
    detections = _dino_scores(dino, {"a": 0.9, "hot": 0.5, "dog": 0.7, "cup": 0.1, ".": 0.9}, ["cup", "hot dog"], 0.3)
    assert detections == pytest.approx([0.1, 0.6])


def test_a_category_of_which_grounding_dino_sees_a_part_is_in_doubt(dino: Path) -> None:
    assert _dino_scores(dino, {"dog": 0.5}, ["hot dog"], 0.3) == pytest.approx([0.3])
    assert _dino_scores(dino, {"dog": 0.2}, ["hot dog"], 0.3)[0] < 0.3


def test_a_box_that_may_be_two_things_is_found_as_both(any_family: Path) -> None:
    things = Detector(_wide(any_family), ["cup", "ball"]).detect(_images((64, 64)))[0]
    cups, balls = ({one.box_xyxy for one in things if one.category == name} for name in ("cup", "ball"))
    assert cups and cups == balls


def test_labels_of_class_names_are_asked_for_instead_of_their_category(any_family: Path) -> None:
    named = _wide(any_family, class_names={"dog": "animal", "hot dog": "animal"})
    detector = Detector(named, ["cup", "animal"])
    assert detector.categories == ["animal", "cup"]
    plain = Detector(_wide(any_family), ["dog", "hot dog", "cup"])
    image = _images((64, 64))
    theirs = {one.score for one in plain.detect(image)[0] if one.category != "cup"}
    assert {one.score for one in detector.detect(image)[0] if one.category == "animal"} == theirs


def test_the_gates_are_those_of_every_detector(any_family: Path) -> None:
    image = _images((64, 64))
    everything = Detector(_wide(any_family), ["cup"]).detect(image)[0]
    between = (everything[0].score + everything[-1].score) / 2
    doubted = Detector(_wide(any_family, confident_score=between), ["cup"]).detect(image)[0]
    assert [one.is_confident for one in doubted] == [one.score >= between for one in everything]
    assert not doubted[-1].is_confident
    sure = tuple(one for one in doubted if one.is_confident)
    assert Detector(_wide(any_family, confident_score=between, min_score=between), ["cup"]).detect(image)[0] == sure
    fewer = Detector(_wide(any_family, nms_iou=0.01), ["cup"]).detect(image)[0]
    assert fewer and all(iou(a.box_xyxy, b.box_xyxy) <= 0.01 for a, b in combinations(fewer, 2))


def test_the_stage_asks_for_its_categories(owlvit: Path) -> None:
    stage = DetectStage(_wide(owlvit), VocabularyConfig(categories={"ball": "balls", "cup": "cups"}))
    stage.setup()
    spec = SceneSpec(key="s", category="cup", count=2, attributes={}, prompt="two cups")
    composed = ComposedScene(key="s", seed=1, spec=spec, composer="prompted", image=_images((64, 64))[0])
    detections = stage.process([composed])[0]
    assert isinstance(detections, DetectedScene) and {one.category for one in detections.detections} == {"ball", "cup"}
    assert all(isinstance(one, Detection) for one in detections.detections)


def test_another_wording_is_another_question(owlvit: Path) -> None:
    image = _images((64, 64))
    one, other = (
        Detector(_wide(owlvit, prompt=prompt), ["cup"]).detect(image) for prompt in (None, "many {category}s")
    )
    said = Detector(_wide(owlvit, prompt="a photo of a {category}"), ["cup"]).detect(image)
    assert one == said != other


@pytest.mark.parametrize(
    "prompt", ["a photo", "{category} and {category}", "a {object}", "{category} {", "{category!r}"]
)
def test_a_wording_without_just_the_slot_is_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match="prompt"):
        DetectorConfig(checkpoint="x", prompt=prompt)


def test_a_detector_that_is_asked_for_nothing_is_refused(any_family: Path) -> None:
    with pytest.raises(AugmentationError, match="needs categories, got none; give at least one"):
        Detector(_wide(any_family))


def test_a_label_of_a_category_that_is_not_asked_for_is_refused(owlvit: Path) -> None:
    with pytest.raises(AugmentationError, match=r"to 'mug', which is not among the categories .cup"):
        Detector(_wide(owlvit, class_names={"teacup": "mug"}), ["cup"])


def test_questions_that_are_longer_than_the_model_reads_are_refused(owlvit: Path, dino: Path) -> None:
    with pytest.raises(AugmentationError, match=r"'a photo of a long haired cats' has 25 tokens, of which .* reads 24"):
        Detector(_wide(owlvit), ["long haired cats"])
    with pytest.raises(AugmentationError, match=r"5 categories make a text of 17 tokens, of which .* reads 16"):
        Detector(_wide(dino), [f"{word} cup" for word in ("hot", "dog", "ball", "photo", "cup")])


def test_a_mark_that_ends_a_phrase_of_grounding_dino_is_refused(dino: Path) -> None:
    with pytest.raises(AugmentationError, match=r"'st\. bernard' holds a mark at which"):
        Detector(_wide(dino), ["st. bernard"])


def test_checkpoints_that_are_no_detector_or_of_an_unknown_family_are_refused(tmp_path: Path) -> None:
    CLIPTextModel(
        CLIPTextConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    ).save_pretrained(tmp_path / "clip")
    with pytest.raises(AugmentationError, match="has model type clip_text_model, which is no detector; give"):
        Detector(_wide(tmp_path / "clip"), ["cup"])
    OmDetTurboConfig().save_pretrained(tmp_path / "omdet")
    with pytest.raises(AugmentationError, match=r"has model type omdet-turbo, for which .* give one of owlvit, owlv2"):
        Detector(_wide(tmp_path / "omdet"), ["cup"])


def test_a_tokenizer_without_words_is_refused(owlvit: Path, tmp_path: Path) -> None:
    for file in owlvit.iterdir():
        if not file.name.startswith("token"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(AugmentationError, match=r"the tokenizer of .* has no token for 'cup'; its vocabulary"):
        Detector(_wide(tmp_path), ["cup"])
