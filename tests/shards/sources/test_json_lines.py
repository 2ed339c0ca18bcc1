"""JSON lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards.sources.errors import SourceError
from shards.sources.json_lines import read_json_lines


def test_lines_keep_their_numbers_beside_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": 2}')  # with a byte order mark
    assert list(read_json_lines(path)) == [(f"{path}, line 1", "1", {"a": 1}), (f"{path}, line 4", "4", {"a": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [(b"[1]", "line 2: a line is a JSON object, got"), (b"{", "line 2: a line is one JSON object, in UTF-8")],
)
def test_a_line_without_an_object_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" + line)
    with pytest.raises(SourceError, match=message):
        list(read_json_lines(tmp_path / "a.jsonl"))
