from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainer.data.config import ProcessorConfig
from trainer.data.processor import Processor, fit_placement, load_tokenizer
from trainer.errors import TrainerError

BOX = (40.0, 10.0, 60.0, 30.0)


def _targets() -> torch.Tensor:
    return torch.tensor([BOX])


def test_a_box_comes_back_from_the_canvas() -> None:
    placement = fit_placement((99, 50), 200)
    torch.testing.assert_close(placement.map_to_image(placement.map_to_canvas(_targets())), _targets())


def test_words_that_training_has_not_said_are_read_as_the_unknown_word(text_encoder: str, tmp_path: Path) -> None:
    processor = Processor(ProcessorConfig(known_words=("red", "square", "the")), load_tokenizer(text_encoder))
    assert processor.unknown_word == "[UNK]"
    found, expected = (
        processor.tokenize([text])[0].tolist() for text in ("The red square, left [UNK]", "the red square, [UNK] [UNK]")
    )
    assert found == expected
    processor.save_pretrained(tmp_path)
    again = Processor.from_pretrained(tmp_path)
    assert again.config == processor.config and again.tokenize(["blue"])[0].tolist() == [[2, 1, 3]]
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    del values["known_words"]  # of an earlier version
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    assert Processor.from_pretrained(tmp_path).tokenize(["blue"])[0].tolist() != [[2, 1, 3]]


@pytest.mark.parametrize("field", ["known_words", "training_words"])
def test_words_that_no_training_query_had_are_found(field: str, text_encoder: str, tmp_path: Path) -> None:
    words = {field: ("cup", "left", "the")}
    Processor(ProcessorConfig(**words), load_tokenizer(text_encoder)).save_pretrained(tmp_path)
    processor = Processor.from_pretrained(tmp_path)
    assert processor.find_unseen_words("The LEFT cup, person! cups; person") == ("person", "cups")
    assert processor.find_unseen_words("left cup") == ()
    unrecorded = Processor(ProcessorConfig(), load_tokenizer(text_encoder))
    assert unrecorded.find_unseen_words("person") == ()
    (red,) = (Processor(ProcessorConfig(training_words=("cup",)), unrecorded.tokenizer).tokenize(["red"])[0].tolist(),)
    assert red == unrecorded.tokenize(["red"])[0].tolist()  # recorded words hide no other


def test_a_tokenizer_without_an_unknown_word_is_refused(text_encoder: str) -> None:
    tokenizer = load_tokenizer(text_encoder)
    tokenizer.unk_token = None
    with pytest.raises(TrainerError, match="the tokenizer has no unknown word"):
        Processor(ProcessorConfig(known_words=("red",)), tokenizer)
