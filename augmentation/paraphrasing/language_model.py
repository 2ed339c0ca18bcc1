"""A language model of transformers that paraphrases queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from augmentation.errors import AugmentationError
from augmentation.paraphrasing.config import ParaphraseConfig
from generation.errors import GenerationError
from generation.models.checkpoints import find_local_folder, resolve_device


class LanguageModel:
    """A loaded language model.

    Args:
        config: checkpoint and settings of sampling; ``model`` must be given.

    Raises:
        AugmentationError: the checkpoint cannot be loaded, or it is no language model.
    """

    def __init__(self, config: ParaphraseConfig) -> None:
        self._config, self._device = config, resolve_device(config.device)
        with _explain_errors(config):
            model = _find_class(config).from_pretrained(config.model, **_make_arguments(config))
            self._tokenizer = _load_tokenizer(config)
        self._model = model.to(self._device).eval()

    @torch.inference_mode()
    def paraphrase(self, texts: Sequence[str], seed: int) -> list[list[str]]:
        """Return the candidates of each text; the seed and the texts decide them."""
        prompts = [self._config.prompt.format(query=text) for text in texts]
        num_prompts = max(1, self._config.batch_size // self._config.candidates)
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            answers = [
                answer
                for start in range(0, len(prompts), num_prompts)
                for answer in self._sample(prompts[start : start + num_prompts])
            ]
        count = self._config.candidates
        return [answers[i : i + count] for i in range(0, len(answers), count)]

    def _sample(self, prompts: list[str]) -> Iterator[str]:
        config = self._config
        inputs = self._tokenizer(prompts, return_tensors="pt", padding=True).to(self._device)
        is_sampled = config.temperature > 0
        tokens = self._model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=config.max_new_tokens,
            do_sample=is_sampled,
            **({"temperature": config.temperature, "num_return_sequences": config.candidates} if is_sampled else {}),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        if not self._model.config.is_encoder_decoder:
            tokens = tokens[:, inputs["input_ids"].shape[1] :]
        for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True):
            line = (text.strip().splitlines() or [""])[0]
            yield from [line] * (1 if is_sampled else config.candidates)


def check_language_model(config: ParaphraseConfig) -> None:
    """Check that the checkpoint is a language model with a tokenizer, without loading its weights.

    Raises:
        AugmentationError: it is none.
    """
    with _explain_errors(config):
        _load_tokenizer(config)


@contextmanager
def _explain_errors(config: ParaphraseConfig) -> Iterator[None]:
    assert config.model is not None
    try:
        yield
    except (OSError, ValueError, KeyError, GenerationError) as error:
        raise AugmentationError(
            f"{config.model} cannot be loaded as a language model ({str(error).splitlines()[0]}); give "
            "--paraphrase.model the folder or hub id of a causal or text-to-text model with its tokenizer"
        ) from error


def _make_arguments(config: ParaphraseConfig) -> dict[str, Any]:
    assert config.model is not None
    return {"revision": config.revision, "local_files_only": find_local_folder(config.model) is not None}


def _find_class(config: ParaphraseConfig) -> Any:
    """Find the class of the model."""
    kind = AutoConfig.from_pretrained(config.model, **_make_arguments(config))
    if type(kind) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return AutoModelForSeq2SeqLM
    if type(kind) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    raise ValueError(f"its model type {kind.model_type} writes no text")


def _load_tokenizer(config: ParaphraseConfig) -> Any:
    """Load the tokenizer; for a causal model it pads on the left, since the answer follows the prompt."""
    side = "left" if _find_class(config) is AutoModelForCausalLM else "right"
    tokenizer: Any = AutoTokenizer.from_pretrained(config.model, padding_side=side, **_make_arguments(config))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer
