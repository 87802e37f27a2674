"""Front ends: a model file to a Graph. Nothing downstream knows which format it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import CompileError
from ..ir.graph import Graph
from .limits import FILE_BYTES
from .names import identifier

FORMATS = (".tflite", ".onnx")


def load(path: Path) -> Graph:
    """Read a model by its suffix: a regular file of at most 64 MiB (`limits.FILE_BYTES`). Raises CompileError."""
    data = _read(path)
    name = identifier(path.stem, "model")
    if path.suffix == ".tflite":
        from . import tflite

        return tflite.load(data, name, path.name)
    if path.suffix == ".onnx":
        from . import onnx

        return onnx.load(data, name, path.name, path.parent)
    raise CompileError(str(path), f"unknown model format {path.suffix!r}", f"supported are {', '.join(FORMATS)}")


def _read(path: Path) -> bytes:
    """The bytes of a file that ends: a pipe may wait for ever, a device may never end."""
    where = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CompileError(where, "is not a regular file", "pass a .tflite or .onnx file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CompileError(where, f"cannot be read: {error.strerror}", "check the path") from None
    except ValueError as error:  # a path with a NUL in it
        raise CompileError(where, f"cannot be read: {error}", "check the path") from None
    if len(data) > FILE_BYTES:
        what = f"is longer than {FILE_BYTES >> 20} MiB, more than any microcontroller holds"
        raise CompileError(where, what, "quantise the model to INT8, or use a smaller one")
    return data
