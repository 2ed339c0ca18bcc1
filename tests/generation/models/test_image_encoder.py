"""Encoding with a tiny random model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from generation.errors import GenerationError
from generation.models.config import EncoderConfig
from generation.models.image_encoder import ImageEncoder

DIM = 12


# -- features -------------------------------------------------------------------------------------------------------


def _images(number: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(number)]


def test_features_have_length_1_and_do_not_depend_on_the_batch(encoder: ImageEncoder) -> None:
    images = _images(5)
    together = encoder.encode_images(images)
    assert together.shape == (5, DIM) == (5, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[3], encoder.encode_images(images[3:4])[0], atol=1e-5)


def test_features_and_scores_of_several_images_are_their_means(encoder: ImageEncoder) -> None:
    images = _images(3)
    singles = encoder.encode_images(images)
    mean = singles[:2].mean(0)
    (feature, score), (other, _) = encoder.encode([images[:2], images[2:]], ["a cup", "a ball"])
    np.testing.assert_allclose(feature, mean, atol=1e-3)
    np.testing.assert_allclose(other, singles[2], atol=1e-3)
    cosines = singles[:2] @ encoder.encode_texts(["a cup"])[0]
    assert score == pytest.approx(max(0.0, 100 * float(cosines.mean())), abs=0.01)


def test_a_mean_is_the_shorter_the_less_the_images_agree(encoder: ImageEncoder) -> None:
    image, other = _images(2)
    (same, _), (different, _) = encoder.encode([[image, image], [image, other]], ["a cup", "a cup"])
    assert np.linalg.norm(same.astype(float)) == pytest.approx(1, abs=2e-3)
    expected = float(np.linalg.norm(encoder.encode_images([image, other]).mean(0)))
    assert np.linalg.norm(different.astype(float)) == pytest.approx(expected, abs=2e-3) and expected < 0.999


def test_the_feature_of_one_image_has_length_1(encoder: ImageEncoder) -> None:
    images = _images(20)
    singles = encoder.encode_images(images)
    expected = (singles / np.linalg.norm(singles, axis=1, keepdims=True)).astype(np.float16)
    features = np.stack([feature for feature, _ in encoder.encode([[image] for image in images], ["a cup"] * 20)])
    np.testing.assert_array_equal(features, expected)


def test_a_prompt_longer_than_the_text_tower_reads_is_cut(encoder: ImageEncoder) -> None:
    assert encoder.encode_texts(["word " * 200]).shape == (1, DIM)


def test_a_vision_tower_alone_gives_features_without_a_score(checkpoints: Path, tmp_path: Path) -> None:
    CLIPVisionModelWithProjection.from_pretrained(checkpoints / "clip").save_pretrained(tmp_path)
    CLIPImageProcessor.from_pretrained(checkpoints / "clip").save_pretrained(tmp_path)
    alone = ImageEncoder(EncoderConfig(checkpoint=str(tmp_path), device="cpu"))
    whole = ImageEncoder(EncoderConfig(checkpoint=str(checkpoints / "clip"), device="cpu"))
    ((feature, score),) = alone.encode([_images(1)], ["a cup"])
    np.testing.assert_allclose(feature, whole.encode_images(_images(1))[0], atol=1e-3)
    assert score is None


def test_a_folder_that_is_no_clip_is_named(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="is no CLIP"):
        ImageEncoder(EncoderConfig(checkpoint=str(tmp_path)))
