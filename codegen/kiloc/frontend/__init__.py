"""Front ends: a model file to a Graph. Nothing downstream knows which format it was."""

from __future__ import annotations

from pathlib import Path

from ..errors import CompileError
from ..ir.graph import Graph
from .names import identifier

FORMATS = (".tflite", ".onnx")


def load(path: Path) -> Graph:
    """Read a model by its suffix. Raises CompileError."""
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CompileError(where, f"cannot be read: {error.strerror}", "check the path") from None
    name = identifier(path.stem, "model")
    if path.suffix == ".tflite":
        from . import tflite

        return tflite.load(data, name, path.name)
    if path.suffix == ".onnx":
        from . import onnx

        return onnx.load(data, name, path.name)
    raise CompileError(where, f"unknown model format {path.suffix!r}", f"supported are {', '.join(FORMATS)}")
