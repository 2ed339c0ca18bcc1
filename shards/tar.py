"""Members of a tar of samples: files with plain names, and nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shards.errors import SchemaError

_BLOCK = 512
_NAME = re.compile(rb"[A-Za-z0-9_-]+(\.[a-z0-9]+)+")
_SIZE = re.compile(rb"[0-7]{1,11}")
_FILE = (b"0", b"\0")


@dataclass(frozen=True, slots=True)
class Member:
    """File in a tar, with offset and size of its content."""

    name: str
    offset: int
    size_bytes: int


def iterate_members(tar: Path) -> Iterator[Member]:
    """Yield the members in order without reading their contents.

    Raises:
        SchemaError: a member is a link, a device or a folder, or its name is a path, so that unpacking would write
            elsewhere; names the file and the member.
    """
    with tar.open("rb") as file:
        while (header := file.read(_BLOCK)).strip(b"\0"):
            name, size = header[:100].rstrip(b"\0"), header[124:136].strip(b"\0 ")
            is_plain = header[156:157] in _FILE and not header[345:500].strip(b"\0")  # no folder in the prefix
            if not is_plain or not _NAME.fullmatch(name) or not _SIZE.fullmatch(size):
                raise SchemaError(
                    f"{tar}: member {name.decode('ascii', 'replace')!r} is a link, a device or a path, and "
                    "shards of samples hold none; do not unpack it, get the shards from a source that you trust"
                )
            member = Member(name.decode("ascii"), file.tell(), int(size, 8))
            yield member
            file.seek(member.offset + -(-member.size_bytes // _BLOCK) * _BLOCK, io.SEEK_SET)


def locate_members(tar: Path) -> dict[str, tuple[int, int]]:
    """Return name to (offset, bytes) of the members' contents."""
    return {member.name: (member.offset, member.size_bytes) for member in iterate_members(tar)}
