"""JSON lines: one object a line; empty lines are skipped. A file may also be one JSON array of objects."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.sources.errors import SourceError, format_value

MAX_BLANK_BYTES = 1024
"""Bytes in which an array must begin."""


def read_json_lines(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (file and line, for errors; number of the line; its object).

    Raises:
        SourceError: naming the file and the line.
    """
    with path.open("rb") as file:
        if file.read(MAX_BLANK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[":
            yield from _read_array(path)
            return
        file.seek(0)
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                record = json.loads(text) if text else None
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{where}: a line is one JSON object, in UTF-8 ({error})") from error
            if text and not isinstance(record, dict):
                raise SourceError(f"{where}: a line is a JSON object, got {format_value(record)}")
            if record is not None:
                yield where, str(number), record


def _read_array(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    try:
        records = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not one JSON array, nor one JSON object a line, in UTF-8 ({error})") from error
    for number, record in enumerate(records, start=1):
        where = f"{path}, entry {number}"
        if not isinstance(record, dict):
            raise SourceError(f"{where}: an entry is a JSON object, got {format_value(record)}")
        yield where, str(number), record
