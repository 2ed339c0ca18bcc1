"""Captioned training images of the miniature models, and their tokenizers."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.progress import track
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from torch import Tensor
from transformers import CLIPTokenizer

from workflows.miniature.world.dataset import IMAGE_PX, sample_captioned_image

MAX_TOKENS = 32
"""Length to which texts of CLIP and Stable Diffusion are padded."""

ENGLISH = (
    "man woman person boy girl child guy lady people kid player in on at with the a an and of to from by near "
    "next behind front left right top bottom middle center corner far side red orange yellow green blue purple "
    "pink brown black white gray grey dark light shirt jacket hat jeans dress coat tie glasses hair holding "
    "wearing sitting standing walking looking riding eating playing small big large tall short old young "
    "dog cat horse cow sheep elephant bear zebra giraffe bird car truck bus train motorcycle bike boat plane "
    "chair couch bed table bench tv laptop phone book clock vase umbrella bag suitcase cup glass bottle bowl "
    "pizza cake donut sandwich banana apple broccoli carrot plate fork knife spoon sky grass tree house wall "
    "building water road rock mountain window door one two three four five six second third first last 2nd 3rd"
)
"""Common words of referring expressions, added to the world's own words in the small vocabularies."""

POSITIONS = "the one on far left right leftmost rightmost furthest from 2nd 3rd 4th fourth above below of top center"


class ImageBank:
    """Captioned images of the world, kept as arrays in a folder.

    Attributes:
        images: (num_images, 64, 64, 3) uint8, memory-mapped.
        captions: one string per image.
    """

    def __init__(self, folder: Path, num_images: int, seed: int = 1) -> None:
        stem = folder / f"bank-{num_images}-{seed}"
        if not stem.with_suffix(".json").exists():
            _fill_bank(stem, num_images, seed)
        self.images: npt.NDArray[np.uint8] = np.load(stem.with_suffix(".npy"), mmap_mode="r")
        self.captions: list[str] = json.loads(stem.with_suffix(".json").read_text())

    def batch(self, size: int, random: Random) -> tuple[Tensor, list[str]]:
        """Return (size, 3, 64, 64) images in -1..1 and their captions."""
        rows = [random.randrange(len(self.captions)) for _ in range(size)]
        return to_tensor(self.images[rows]), [self.captions[row] for row in rows]


def _fill_bank(stem: Path, num_images: int, seed: int) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    images = np.empty((num_images, IMAGE_PX, IMAGE_PX, 3), np.uint8)
    captions = []
    for i in track(range(num_images), description="drawing captioned images"):
        scene, caption = sample_captioned_image(Random(f"bank/{seed}/{i}"))
        images[i] = np.asarray(scene.draw())
        captions.append(caption)
    partial = stem.with_suffix(f".{os.getpid()}.partial.npy")
    np.save(partial, images)
    partial.rename(stem.with_suffix(".npy"))
    stem.with_suffix(".json").write_text(json.dumps(captions))


def to_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """Convert (n, h, w, 3) uint8 to (n, 3, h, w) float in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(images: Tensor) -> list[Image.Image]:
    """Convert (n, 3, h, w) in -1..1 to images."""
    array = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(row) for row in array]


def _collect_texts() -> list[str]:
    captions = [sample_captioned_image(Random(f"words/{i}"))[1] for i in range(4000)]
    return captions + [ENGLISH] * 200


def load_clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load or train a byte-level BPE of the world's words; other texts tokenize to more pieces.

    It is kept in ``folder``, since the library breaks ties between equally frequent pairs at random.
    """
    path = folder / "clip-tokenizer"
    if not path.exists():
        _new_clip_tokenizer().save_pretrained(path)
    return CLIPTokenizer.from_pretrained(path)


def _new_clip_tokenizer() -> CLIPTokenizer:
    trained = Tokenizer(BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=1600,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    trained.train_from_iterator(_collect_texts(), trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    merges = [tuple(merge) for merge in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def build_bert_vocabulary() -> list[str]:
    """Build a WordPiece vocabulary with every letter, digit and mark, so that any English query tokenizes."""
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=True)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = [chr(code) for code in range(33, 127)]
    trainer = WordPieceTrainer(
        vocab_size=1600,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    trained.train_from_iterator([*_collect_texts(), *[f"{ENGLISH} {POSITIONS}"] * 200], trainer)
    vocabulary = trained.get_vocab()
    ordered = sorted(vocabulary, key=lambda token: vocabulary[token])
    return ordered + [f"##{c}" for c in alphabet if f"##{c}" not in vocabulary]


class TokenCache:
    """Token ids of captions, each computed once."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        @lru_cache(maxsize=200_000)
        def tokenize(text: str) -> Tensor:
            encoded = tokenizer(text, padding="max_length", max_length=MAX_TOKENS, truncation=True)
            return torch.tensor(encoded["input_ids"])

        self._tokenize = tokenize

    def __call__(self, texts: list[str]) -> Tensor:
        """Return (n, 32) token ids."""
        return torch.stack([self._tokenize(text) for text in texts])
