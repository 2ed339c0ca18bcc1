"""Configuration files: a configuration as JSON, with overrides from the command line on top."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trainer.command_line import parse_options
from trainer.errors import TrainerError
from trainer.files import write_atomic

CONFIG_VERSION = 1
"""Version of the format; a file of another version is refused."""

Config = TypeVar("Config")


def convert_to_record(config: Any) -> dict[str, Any]:
    """Convert a configuration dataclass to JSON values; paths become strings, tuples become lists."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return record


def write_config(config: Any, path: Path) -> None:
    """Write a configuration dataclass as JSON, with its type and the version of the format."""
    header = {"type": type(config).__name__, "version": CONFIG_VERSION}
    write_atomic(path, json.dumps({**header, **convert_to_record(config)}, indent=1) + "\n")


def read_config(kind: type[Config], path: Path) -> Config:
    """Read a configuration of type ``kind``; fields that the file leaves out have their defaults.

    Raises:
        TrainerError: the file is missing or damaged, has another type or version, an unknown key or a wrong value.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainerError(f"{path} does not exist; give a configuration file that training has saved") from error
    except ValueError as error:
        raise TrainerError(f"{path} is not JSON ({error}); write it again") from error
    header = (record.pop("type", None), record.pop("version", None)) if isinstance(record, dict) else None
    if header != (kind.__name__, CONFIG_VERSION):
        raise TrainerError(
            f"{path} is not a {kind.__name__} of version {CONFIG_VERSION}, its (type, version) is {header}; "
            "write it again with this version of the project"
        )
    try:
        config = TypeAdapter(kind).validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or kind.__name__
        raise TrainerError(f"{path}: {name}: {first['msg']}, got {first['input']!r}") from error
    known = dict(flatten_record(convert_to_record(config)))
    unknown = [name for name, _ in flatten_record(record) if name not in known]
    if unknown:
        raise TrainerError(f"{path}: unknown keys {', '.join(unknown)}; remove them, or correct their names")
    return config


def flatten_record(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested records with dotted names, such as ``network.width``."""
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from flatten_record(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def parse_overrides(config: Config, arguments: Sequence[str], description: str | None = None) -> Config:
    """Return ``config`` with the options of a command line on top, such as ``--epochs 3``.

    Raises:
        SystemExit: an option is unknown, or a value breaks a rule; tyro has printed the reason.
    """
    return parse_options(type(config), arguments, description, config)


def split_config_option(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Split a command line into the file after ``--config`` (None without it) and the other options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    known, rest = parser.parse_known_args(list(arguments))
    return known.config, rest
