"""JSON lines: one object a line, empty lines skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.sources.errors import SourceError


def json_lines(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, for errors; number of the line; its object).

    Raises:
        SourceError: naming the file and the line.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", errors="strict") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise SourceError(f"{path}, line {number}: a line is a JSON object, got {line.strip()[:60]!r}")
                yield f"{path}, line {number}", str(number), record
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}, line {max(number, 1)}: not JSON lines in UTF-8 ({error})") from error
