from __future__ import annotations

import pytest

from augmentation.planning.scene_spec import make_scene_specs, make_uniform_requests
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig
from workflows.presets import coco, miniature


@pytest.mark.parametrize("vocabulary", [miniature.vocabulary(), coco.vocabulary()], ids=["miniature", "coco"])
def test_prompts_say_number_and_category_alone(vocabulary: VocabularyConfig) -> None:
    words = {count: word for word, count in QUANTIFIERS.items()}
    specs = list(make_scene_specs(vocabulary, make_uniform_requests(vocabulary, 200, seed=0), seed=0))
    assert [one.prompt for one in specs] == [
        f"{words[one.count]} {vocabulary.categories[one.category]}" for one in specs
    ]
