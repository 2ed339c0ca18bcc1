"""Members of a tar of samples."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from shards.errors import SchemaError
from shards.tar import iterate_members


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/etc/passwd", tarfile.REGTYPE),
        ("../a.jpg", tarfile.REGTYPE),
        ("a.jpg", tarfile.SYMTYPE),
        ("a.jpg", tarfile.LNKTYPE),
        ("a.jpg", tarfile.CHRTYPE),
        ("a", tarfile.DIRTYPE),
        ("a" * 120 + ".jpg", tarfile.REGTYPE),  # its name stands in a header of its own
    ],
)
def test_a_tar_with_links_or_paths_is_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    path = tmp_path / "samples.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("toy-1.json"), io.BytesIO(b""))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(SchemaError, match=r"samples\.tar: member .* do not unpack it"):
        list(iterate_members(path))


def test_a_folder_in_a_members_prefix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO(b""))
    content = bytearray(path.read_bytes())
    content[345:354] = b"../../etc"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="do not unpack it"):
        list(iterate_members(path))
