"""Compiled programs and objects that are kept, in $KILOTUNE_CACHE (default ~/.cache/kilotune).

An entry is a file, and beside it the SHA-256 of its bytes. Both are written aside, brought to the disk and renamed, so that processes may share
the folder; an entry whose bytes are not those of its digest (cut off, damaged, or without one) is missing, and made again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from .errors import DeviceError
from .files import put_whole

_KEEP_DAYS = 30
_DIGEST = ".sha256"


def cache_directory() -> Path:
    """Where results are kept; created on demand."""
    given = os.environ.get("KILOTUNE_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "kilotune"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(str(folder), f"the cache cannot be created: {error}", "set KILOTUNE_CACHE to a writable folder") from error
    return folder


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A folder in the cache that goes with the block. DeviceError where the disk does not take what is written in it."""
    folder = cache_directory()
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            yield Path(scratch)
    except OSError as error:
        hint = "make room, or set KILOTUNE_CACHE to a folder that has some"
        raise DeviceError(str(folder), f"the cache cannot be written: {error.strerror or error}", hint) from error


def cached(name: str, make: Callable[[Path], Path]) -> Path:
    """The entry of this name; where it is missing or damaged, the file that `make` leaves in the folder it is given."""
    _prune(cache_directory())
    path = cache_directory() / name
    if _whole(path):
        return path
    with scratch_directory() as scratch:
        made = make(scratch)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        put_whole(path, lambda temporary: os.replace(made, temporary))
        put_whole(_digest_of(path), lambda temporary: temporary.write_text(digest, encoding="ascii"))
    return path


class Templates(jinja2.BytecodeCache):
    """Compiled templates. What cannot be read or kept is compiled again."""

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError, DeviceError):
            path = cache_directory() / f"template-{bucket.key}"
            if _whole(path):
                bucket.bytecode_from_string(path.read_bytes())

    def dump_bytecode(self, bucket: Bucket) -> None:
        def make(scratch: Path) -> Path:
            (scratch / "template").write_bytes(bucket.bytecode_to_string())
            return scratch / "template"

        with suppress(OSError, DeviceError):
            cached(f"template-{bucket.key}", make)


def _whole(path: Path) -> bool:
    """Whether the entry is there and its bytes are those that were written; it counts as used then."""
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != _digest_of(path).read_text(encoding="ascii", errors="replace"):
            return False
        for used in (path, _digest_of(path)):
            os.utime(used)
    except OSError:
        return False
    return True


def _digest_of(path: Path) -> Path:
    return path.with_name(path.name + _DIGEST)


@cache
def _prune(folder: Path) -> None:
    """Forget, once a process, what nobody has used for a month."""
    oldest = time.time() - _KEEP_DAYS * 86400
    for path in folder.iterdir():
        with suppress(OSError):  # another process was faster
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
