from __future__ import annotations

from random import Random

from workflows.miniature.models.attribute_classifier import count_objects
from workflows.miniature.world.dataset import (
    sample_captioned_image,
)


def test_captioned_images_hold_as_many_objects_as_a_count_without_models_finds() -> None:
    scenes = [sample_captioned_image(Random(i))[0] for i in range(150)]
    assert sum(count_objects(scene.draw()) == len(scene.objects) for scene in scenes) >= 148
