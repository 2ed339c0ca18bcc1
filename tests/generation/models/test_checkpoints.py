"""Fingerprints of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from generation.errors import GenerationError
from generation.models.checkpoints import compute_fingerprint, suggest_download


def test_a_fingerprint_changes_with_one_byte_of_the_weights_and_not_with_the_folder(tmp_path: Path) -> None:
    for name, content in (("a", b"12345"), ("b", b"12345"), ("c", b"12346")):
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "unet" / "model.safetensors").write_bytes(content)
        (tmp_path / name / "README.md").write_text(f"folder {name}")
    a, b, c = (compute_fingerprint(str(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_a_hub_id_is_its_own_fingerprint_with_the_revision() -> None:
    assert compute_fingerprint("openai/clip-vit-base-patch32", "abc") == "openai/clip-vit-base-patch32@abc"


def test_a_path_without_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"no checkpoint folder .*nowhere"):
        compute_fingerprint(str(tmp_path / "nowhere"))


def test_the_download_is_named_for_hub_ids_alone(tmp_path: Path) -> None:
    assert "run `hf download openai/clip-vit-base-patch32`" in suggest_download("openai/clip-vit-base-patch32")
    assert suggest_download(str(tmp_path)) == ""
