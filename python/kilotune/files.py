"""Files and folders that appear whole or not at all, and JSON that says what is wrong with it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kiloc import CompileError

_ELSEWHERE = "make room or choose another place; what was there before is unchanged"


def put_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file beside its place by `write`, bring it to the disk, and rename it: at every moment the old file is there or the new one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], data: bytes | str) -> None:
    """A file of these bytes, or of text as UTF-8. CompileError where it cannot be written; what was there stays then."""
    content, target = data.encode() if isinstance(data, str) else data, Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a device or a pipe: it cannot be replaced, a directory refuses
        else:
            put_whole(target.resolve() if target.is_symlink() else target, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise CompileError(os.fspath(path), f"cannot be written: {error.strerror}", _ELSEWHERE) from None


def read_json(path: Path) -> Any:
    """What a JSON file holds. OSError where it cannot be read, ValueError naming the place where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A file of JSON as our folders hold it."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextmanager
def whole_directory(target: Path, replaceable: Callable[[Path], bool], otherwise: str = "exists and is not a build directory") -> Iterator[Path]:
    """A temporary folder that takes the place of `target` when the block ends well, and vanishes when it does not.

    CompileError where there is something that may not be replaced, as `otherwise` says, or where the disk does not take it.
    """
    shown, target = str(target), target.absolute()
    recover(target)
    if target.exists() and not replaceable(target):
        raise CompileError(shown, otherwise, "choose another directory, or remove it")
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        folder = temporary / "build"
        folder.mkdir()
        yield folder
        _put_in_place(folder, target)
    except OSError as error:
        raise CompileError(shown, f"cannot be written: {error.strerror or error}", _ELSEWHERE) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        recover(target)


def recover(target: Path) -> None:
    """Bring back a directory that was set aside by a replacement which was cut off before the next one took its name.

    What was set aside is removed where the replacement was done. Does nothing where there is none, or where the disk refuses.
    """
    aside = _aside(target.absolute())
    with suppress(OSError):
        if aside.is_dir():
            if target.exists():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.rename(target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _put_in_place(folder: Path, target: Path) -> None:
    """Rename the finished directory to the target's name. Between the two renames the old one waits under a name that `recover` knows."""
    if target.exists():
        target.rename(_aside(target))
    folder.rename(target)
