"""Files of an annotation folder, their splits, and JSON lines."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.sources.errors import SourceError, format_value

KNOWN_SPLITS = ("train", "val", "valid", "validation", "test", "testA", "testB", "testC")
MAX_BLANK_BYTES = 1024
"""Bytes in which an array must begin."""


def list_files(path: Path, suffix: str) -> list[Path]:
    """List the file itself, or the files of the folder.

    Raises:
        SourceError: there is none.
    """
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise SourceError(f"{path} is no {suffix} file and no folder of them")
    return files


def infer_splits(files: list[Path], default: str) -> dict[Path, str]:
    """Infer each file's split from its name.

    Examples are ``finetune_refcoco_testA.json``, ``flickr_train_vg.jsonl``, ``validation-00000-of-00001.parquet`` and
    ``instances_val2017.json``.

    Args:
        files: files of one dataset.
        default: split of a single file whose name has none.

    Raises:
        SourceError: there are several files, and the name of one has no split.
    """
    splits = {file: _infer_split(file) for file in files}
    unclear = [file for file, split in splits.items() if split is None]
    if unclear and len(files) > 1:
        raise SourceError(
            f"{unclear[0]}: several files, and the name of this one has no split; put one of "
            f"{', '.join(KNOWN_SPLITS)} into it, or read each file by itself with --split"
        )
    return {file: split or default for file, split in splits.items()}


def _infer_split(file: Path) -> str | None:
    words = [re.sub(r"20\d\d\Z", "", word) for word in re.split(r"[^A-Za-z0-9]+", file.stem)]
    named = {word for word in words if word in KNOWN_SPLITS}
    return named.pop() if len(named) == 1 else None


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


def read_csv(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (file and line, for errors; number of the line; fields) of each row of a file with a line of names.

    Raises:
        SourceError: naming the file and the line.
    """
    with path.open("rb") as file:
        head = file.readline().decode("utf-8-sig", errors="replace")
        file.seek(0)
        lines = (line.decode("utf-8" if number else "utf-8-sig") for number, line in enumerate(file))
        # The separator of the first line: a comma, or a semicolon or tab, as spreadsheets write in some languages.
        reader = csv.DictReader(lines, strict=True, delimiter=max(",;\t", key=head.count))
        try:
            repeated = [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]
            if repeated:
                raise SourceError(f"{path}, line 1: two columns are named {repeated[0]!r}; rename one of them")
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                if None in record or None in record.values():
                    raise SourceError(f"{where}: the row must have as many fields as the first line")
                yield where, str(reader.line_num), {name: _parse_cell(cell) for name, cell in record.items()}
        except (csv.Error, ValueError) as error:
            raise SourceError(
                f"{path}, line {reader.line_num + 1}: not CSV in UTF-8 ({error}); save it as such"
            ) from error


def _parse_cell(cell: str) -> Any:
    """Parse a list from JSON; anything else is text, and an empty cell None."""
    if not cell.startswith("["):
        return cell or None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell
