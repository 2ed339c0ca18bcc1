"""Every reader, fed with damaged files: it reads them or names the file, in time, whatever the damage.

``make fuzz`` runs many more cases than the test suite.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import SchemaError
from shards.images import ImageError, read_image, read_upright_size
from shards.sources.errors import SourceError
from shards.sources.features import read_features
from shards.sources.registry import AnnotationFormat, read_annotations
from shards.sources.sample import SourceSample
from shards.sources.validation import validate_samples
from shards.tar import iterate_members
from shards.writer import write_tar
from tests.fuzzing import damaged, fuzzed, time_limit
from tests.shards.annotation_files import SOUND, encoded

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def with_another_value(data: st.DataObject, record: Any) -> Any:
    """The same JSON with one value somewhere in it replaced, or one field left out."""
    inner = list(record) if isinstance(record, dict) else list(range(len(record))) if isinstance(record, list) else []
    if not inner or data.draw(st.integers(0, 4)) == 0:
        return data.draw(JSON_VALUES)
    place = data.draw(st.sampled_from(inner))
    changed = record.copy()
    if data.draw(st.integers(0, 7)) == 0:
        del changed[place]
    else:
        changed[place] = with_another_value(data, record[place])
    return changed


def mutated(data: st.DataObject, path: Path, content: bytes) -> bytes:
    """Damaged as bytes, or as JSON of other values."""
    if path.suffix not in (".json", ".jsonl") or data.draw(st.booleans()):
        return damaged(data, content)
    lines = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
    number = data.draw(st.integers(0, len(lines) - 1))
    lines[number] = json.dumps(with_another_value(data, json.loads(lines[number])))
    return "\n".join(lines).encode()


def test_every_format_is_fuzzed() -> None:
    assert {format for format, _ in SOUND.values()} == set(get_args(AnnotationFormat))


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    format, write = SOUND[name]
    samples = list(read_annotations(format, write(tmp_path)))
    assert sum(len(sample.queries) for sample in samples) >= 1


@pytest.mark.parametrize("name", SOUND)
def test_a_mutated_file_is_read_or_named(name: str) -> None:
    format, write = SOUND[name]
    with TemporaryDirectory() as folder:
        asked = write(Path(folder))
        files = {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
        images = Path(folder) / "images"
        images.mkdir()
        (images / "photo.png").write_bytes(encoded("PNG"))

        @fuzzed
        @given(st.data())
        def run(data: st.DataObject) -> None:
            path = data.draw(st.sampled_from(sorted(files)))
            path.write_bytes(mutated(data, path, files[path]))
            try:
                with time_limit():
                    samples = list(read_annotations(format, asked))
                    for sample in samples:
                        SourceSample.from_payload(json.loads(json.dumps(sample.to_payload())))
                    validate_samples((replace(sample, size=None) for sample in samples), images)
            except SourceError as error:
                assert f"{folder}/" in str(error)  # the file, not only where it lies
            finally:
                path.write_bytes(files[path])

        run()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_mutated_image_is_read_or_named(kind: str) -> None:
    content = encoded(kind)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo"

        @fuzzed
        @given(st.data())
        def run(data: st.DataObject) -> None:
            path.write_bytes(damaged(data, content))
            try:
                with time_limit():
                    read_upright_size(path)
                    read_image(path)
            except ImageError as error:
                assert str(path) in str(error)

        run()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True])
def test_mutated_features_are_read_or_named(legacy: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "val_fea.pth"
        torch.save(torch.arange(12.0).reshape(3, 4), path, _use_new_zipfile_serialization=not legacy)
        content = path.read_bytes()

        @fuzzed
        @given(st.data())
        def run(data: st.DataObject) -> None:
            path.write_bytes(damaged(data, content))
            try:
                with time_limit():
                    assert read_features(path).ndim == 2
            except SourceError as error:
                assert str(path) in str(error)

        run()


def test_a_mutated_tar_is_walked_through_or_named() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "samples.tar"
        with path.open("wb") as file:
            write_tar(file, [{"a.jpg": b"x" * 700, "a.json": b"{}"}, {"b.jpg": b"", "b.priors.npy": b"z"}])
        content = path.read_bytes()

        @fuzzed
        @given(st.data())
        def run(data: st.DataObject) -> None:
            path.write_bytes(damaged(data, content))
            try:
                with time_limit():
                    assert all(member.offset > 0 for member in iterate_members(path))
            except SchemaError as error:
                assert str(path) in str(error)

        run()
