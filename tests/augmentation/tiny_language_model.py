"""Tiny language models with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertTokenizer, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "left", "right", "cup", "the", "red", "on")


def save_language_model(folder: Path, kind: str) -> Path:
    """Save a language model of one layer, ``causal`` or ``text-to-text``."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    if kind == "causal":
        GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, **sizes)).save_pretrained(folder)
    else:
        config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0, **sizes)
        T5ForConditionalGeneration(config).save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder
