"""JSON lines: one object a line; empty lines are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.sources.errors import SourceError, format_value


def read_json_lines(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (file and line, for errors; number of the line; its object).

    Raises:
        SourceError: naming the file and the line.
    """
    with path.open("rb") as file:
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
