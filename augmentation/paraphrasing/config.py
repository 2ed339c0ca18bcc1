"""Configuration of paraphrasing, apart from it so that it loads no library of models."""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter

from pipeline import LimitedConfig, NotNegativeFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class ParaphraseConfig(LimitedConfig):
    """Language model that paraphrases the queries, and settings of its sampling."""

    model: str | None = None
    """Hub id or local folder of a language model of transformers, causal (GPT) or from text to text (T5), with its
    tokenizer. None, the default, paraphrases nothing."""

    revision: str | None = None
    """Branch, tag or commit on the hub; ignored for folders."""

    prompt: str = "Say it in other words.\nred cup on the left => the left red cup\n{query} =>"
    """Prompt with the slot ``{query}``. The first line of the answer is the paraphrase."""

    candidates: PositiveInt = 4
    """Number of paraphrases to sample of each query; the first that is verified replaces its text."""

    temperature: NotNegativeFloat = 0.9
    """Temperature of sampling, at least 0; 0 always takes the most likely token, so all candidates are the same."""

    max_new_tokens: PositiveInt = 24
    """Maximum length of a paraphrase in tokens."""

    batch_size: PositiveInt = 64
    """Maximum number of sequences that are sampled at once."""

    device: str = "auto"
    """Device of torch, or ``auto``: the first GPU, or the CPU without one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            slots = [slot for _, slot, _, _ in Formatter().parse(self.prompt) if slot is not None]
        except ValueError as error:
            raise ValueError(f"prompt {self.prompt!r} has unbalanced braces ({error})") from error
        if slots != ["query"]:
            raise ValueError(
                f"prompt must hold the slot {{query}} once and no other, got {self.prompt!r}; "
                "try 'paraphrase: {query}'"
            )
