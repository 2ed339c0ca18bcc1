from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer

from trainer.config import DEFAULT_TEXT_ENCODER, TrainConfig, add_exemplars
from trainer.data.processor import Processor
from trainer.errors import TrainerError
from trainer.model.state_dict import read_safetensors
from trainer.train import train
from trainer.training.loop import Trainer
from trainer.training.setup import build_network

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=4, val=2)


@pytest.fixture
def base(run: Path, tiny_config: MakeConfig, tmp_path: Path) -> TrainConfig:
    """Configuration of a network without priors."""
    config = tiny_config(train=(run,), output=tmp_path / "base", steps=1, validate_split=None, tracker="none")
    return replace(config, network=replace(config.network, use_prior=False))


@pytest.fixture
def fine(base: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Configuration of a training that starts from that network, which is trained."""
    train(base)
    return replace(base, output=tmp_path / "fine", start=str(base.output / "best"), text_encoder=DEFAULT_TEXT_ENCODER)


def test_a_started_network_has_the_weights_and_lists_what_is_new(
    fine: TrainConfig, base: TrainConfig, make_crops: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(fine, network=replace(fine.network, use_prior=True))
    config = add_exemplars(config, tuple(make_crops(Path(run)) for run in config.train), ())
    trainer = Trainer(config)
    given = read_safetensors(base.output / "best" / "model.safetensors")
    own = trainer.network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in given.items())
    new = sorted(own.keys() - given.keys())
    assert new and all(name.startswith("exemplar_scoring.") for name in new)
    printed = "".join("".join(capsys.readouterr()).split())  # lines may be broken anywhere
    line = f"box_head start from {config.start} ({len(given)} tensors; new are exemplar_scoring.appearance"
    assert "".join(line.split()) in printed
    assert not trainer.optimizer.state and trainer.progress.step == 0
    trained = Trainer(replace(config, output=config.output.with_name("again"))).run()
    assert trained["finished"]


def test_parts_that_the_network_does_not_have_are_listed(fine: TrainConfig, tmp_path: Path) -> None:
    with_priors = replace(fine, network=replace(fine.network, use_prior=True), output=tmp_path / "priors")
    loaded = build_network(with_priors)[1]
    assert loaded is not None and {name.rsplit(".", 2)[0] for name in loaded.missing} == {"decoder.prior"}
    train(with_priors)
    back = replace(fine, start=str(with_priors.output / "best"), output=tmp_path / "back")
    loaded = build_network(back)[1]
    assert loaded is not None and not loaded.missing and len(loaded.unexpected) == 4
    assert all(name.startswith("decoder.prior.") for name in loaded.unexpected)


def test_a_started_network_must_fit_in_vocabulary_sizes_and_images(fine: TrainConfig, tmp_path: Path) -> None:
    larger = replace(fine, network=replace(fine.network, image_size_px=96, num_heads=4))
    with pytest.raises(TrainerError, match=r"does not fit: image_size_px is 64 there, 96 here; num_heads is 2 there"):
        build_network(larger)
    dim = replace(fine, network=replace(fine.network, prior_dim=7))
    assert build_network(dim)[1] is not None  # it has no priors
    mean = replace(fine, processor=replace(fine.processor, image_mean=(0.0, 0.0, 0.0)))
    with pytest.raises(TrainerError, match=r"takes images of image_mean .*pass --processor.image-mean 0\.485 0\.456"):
        build_network(mean)
    words = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "person", "red"))}
    BertTokenizer(vocab=words).save_pretrained(tmp_path / "other")
    with pytest.raises(TrainerError, match=r"another vocabulary than .*\(24 tokens, 7 here, 5 of them the same\)"):
        build_network(replace(fine, text_encoder=str(tmp_path / "other")))
    with pytest.raises(TrainerError, match="holds no trained network"):
        build_network(replace(fine, start=str(tmp_path / "missing")))


def test_a_resumed_run_needs_the_same_start_but_not_its_files(fine: TrainConfig, base: TrainConfig) -> None:
    whole = replace(fine, output=fine.output.with_name("whole"), steps=2)
    train(whole)
    parts = replace(fine, steps=2, stop_after_steps=1)
    assert not train(parts)["finished"]
    with pytest.raises(TrainerError, match=r"holds a run with another configuration \(start: .*'elsewhere' now"):
        train(replace(parts, start="elsewhere"))
    with pytest.raises(TrainerError, match=r"holds a run with another configuration \(.*start: .* None now"):
        train(replace(parts, start=None, text_encoder=base.text_encoder))
    with pytest.raises(TrainerError, match=r"holds a run with another configuration \(.*start: None then"):
        train(replace(fine, output=base.output))
    shutil.rmtree(base.output)
    assert train(parts)["finished"]
    expected, found = (read_safetensors(one.output / "last" / "model.safetensors") for one in (whole, parts))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    words = Processor.from_pretrained(parts.output / "best").tokenizer.get_vocab()
    assert "square" in words


def test_a_network_records_the_words_of_its_queries_and_of_its_start(fine: TrainConfig, base: TrainConfig) -> None:
    recorded = Processor.from_pretrained(base.output / "best")
    assert {"square", "the"} <= set(recorded.config.training_words) and not recorded.config.known_words
    assert recorded.find_unseen_words("the red square of a person")[-2:] == ("a", "person")
    settings = base.output / "best" / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace('"square"', '"square", "zebra"'))
    train(replace(fine, stop_after_steps=1, steps=2))
    assert "zebra" in Trainer(replace(fine, steps=2)).processor.config.training_words  # a resumed run has them, too
    assert not Processor.from_pretrained(fine.output / "last").find_unseen_words("zebra square")


def test_words_that_the_started_network_reads_stay_known(
    run: Path, base: TrainConfig, make_crops: Callable[[Path], Path], tmp_path: Path
) -> None:
    exemplars = add_exemplars(replace(base, network=replace(base.network, use_prior=True)), (make_crops(run),), ())
    train(exemplars)
    settings = exemplars.output / "best" / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace('"square"', '"square", "zebra"'))
    fine = replace(exemplars, output=tmp_path / "fine", start=str(exemplars.output / "best"))
    assert {"zebra", "square"} <= set(Trainer(fine).processor.config.known_words)
