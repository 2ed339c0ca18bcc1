"""Storage of a run: a local folder, or a prefix of an object store (``s3://``, ``gs://``) through fsspec.

Both offer three properties for exactly-once commits. A file appears completely or not at all. ``create`` never
overwrites: it uses a hard link or a conditional put. One listing names all files of a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
from upath import UPath

from pipeline.errors import PipelineError

Location = Path | UPath


def resolve_location(path: Location | str) -> UPath:
    """Return a path or URI, made absolute.

    Raises:
        PipelineError: the URI's protocol needs a package that is not installed.
    """
    try:
        found = UPath(path)
        return found.absolute() if get_local_path(found) else UPath(found, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise PipelineError(
            f"{path} cannot be reached: {error}; object stores need `pip install s3fs` (s3://) or `gcsfs` (gs://)"
        ) from error


def get_local_path(path: Location) -> Path | None:
    """Return the path on this machine; None in an object store."""
    return path if isinstance(path, Path) else None


def create(path: UPath, content: bytes) -> bool:
    """Create a file in one step, and return whether there was none; an existing file stays as it is."""
    if here := get_local_path(path):
        draft = _write_draft(here, content)
        try:
            os.link(draft, here)
        except OSError:
            if here.exists():  # then another run may also have removed the draft
                return False
            raise
        finally:
            draft.unlink(missing_ok=True)
        sync(here.parent)
        return True
    try:
        path.fs.pipe_file(path.path, content, mode="create")
    except FileExistsError:
        # A put whose answer was lost is sent again, and then finds its own file.
        return path.read_bytes() == content
    return True


def write_atomic(path: Location | str, content: str | bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new one, never a part.

    Args:
        path: local file, whose folder is created, or object of a store.
        content: bytes, or text that is written as UTF-8.
    """
    encoded = content.encode() if isinstance(content, str) else content
    for tries_left in (2, 1, 0):
        try:
            with replace_file(path) as draft:
                draft.write_bytes(encoded)
        except FileNotFoundError:  # another run took the draft for one that a dead run left
            if not tries_left:
                raise
        else:
            return


@contextmanager
def replace_file(path: Location | str) -> Iterator[Path]:
    """Give a local path to write to; the file takes the place of ``path`` when the block ends without an error.

    Args:
        path: local file, whose folder is created, or object of a store.
    """
    path = resolve_location(path)
    here = get_local_path(path)
    folder = here.parent if here else _make_temporary_folder(path.name)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{path.name}.{uuid4().hex[:12]}.tmp"
    try:
        yield draft
        sync(draft)
        if here:
            draft.replace(here)
            sync(folder)
        else:
            path.fs.put_file(str(draft), path.path)
    finally:
        draft.unlink(missing_ok=True)
        if not here:
            shutil.rmtree(folder, ignore_errors=True)


def publish_file(file: Path, path: UPath) -> None:
    """Move a local file to a unique name; ``sync`` its folder after the last file."""
    if here := get_local_path(path):
        sync(file)
        file.rename(here)
    else:
        path.fs.put_file(str(file), path.path)


def make_staging_folder(run: UPath, name: str) -> Path:
    """Make a local folder for files before they are published."""
    here = get_local_path(run)
    if here is None:
        return _make_temporary_folder(name)
    folder = here / "attempts" / name  # on the disk of the run, so that moving costs nothing
    folder.mkdir(parents=True)
    return folder


def list_sizes(folder: UPath) -> dict[str, int]:
    """Return the size in bytes of each entry of a folder, by name; empty if there is no folder."""
    if here := get_local_path(folder):
        if not here.is_dir():
            return {}
        with os.scandir(here) as entries:
            return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
    try:
        found = folder.fs.ls(folder.path, detail=True, refresh=True)
    except FileNotFoundError:
        return {}
    return {entry["name"].rsplit("/", 1)[-1]: int(entry["size"]) for entry in found if entry["type"] == "file"}


def read_files(folder: UPath, names: Iterable[str]) -> dict[str, bytes]:
    """Read files of a folder, by name; from an object store many at a time."""
    if here := get_local_path(folder):
        return {name: (here / name).read_bytes() for name in names}
    paths = [f"{folder.path}/{name}" for name in names]
    found = folder.fs.cat(paths) if paths else {}
    return {path.rsplit("/", 1)[-1]: content for path, content in found.items()}


def remove(folder: UPath, names: Iterable[str]) -> None:
    """Remove files, and folders of a local run; missing ones are no error."""
    here = get_local_path(folder)
    if here is None:
        paths = [f"{folder.path}/{name}" for name in names]
        with suppress(FileNotFoundError):
            folder.fs.rm(paths) if paths else None
        return
    for name in names:
        path = here / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_tree(folder: UPath) -> None:
    """Remove a folder and its contents."""
    folder.fs.rm(folder.path, recursive=True)


def fetch_local_copy(path: UPath, sha256: str) -> Path:
    """Return a local file itself, or a copy by its hash in ``RESVG_CACHE`` (default ``~/.cache/resvg``)."""
    if here := get_local_path(path):
        return here
    copy = Path(os.environ.get("RESVG_CACHE", "~/.cache/resvg")).expanduser() / sha256[:2] / sha256
    if not copy.exists() or compute_sha256(copy) != sha256:
        copy.parent.mkdir(parents=True, exist_ok=True)
        draft = copy.with_name(f".{uuid4().hex[:12]}.tmp")
        try:
            path.fs.get_file(path.path, str(draft))
            draft.replace(copy)
        finally:
            draft.unlink(missing_ok=True)
    return copy


def lock_descriptor(descriptor: int, folder: Location) -> None:
    """Lock an open file until it is closed, so that no other process works in its folder.

    Raises:
        PipelineError: another process has the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PipelineError(f"another process is running into {folder}; wait for it or stop it") from error
    except OSError:
        pass  # a file system without locks


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def compute_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_temporary_folder(name: str) -> Path:
    """Make a folder below the system's temporary one, and remove those of dead processes of this machine."""
    top, owner = Path(tempfile.gettempdir()), f"resvg.{socket.gethostname()}"
    for left in top.glob(f"{owner}.*"):
        process = left.name.removeprefix(f"{owner}.").split(".")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{owner}.{os.getpid()}.{name}."))


def _write_draft(path: Path, content: bytes) -> Path:
    """Write and flush a file beside ``path``, under a name that readers ignore."""
    draft = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        draft.write_bytes(content)
        sync(draft)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft
