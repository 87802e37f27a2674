"""Constants of ONNX files as arrays, those in files beside the model included. Nothing that the file says of them is believed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from ..errors import CompileError
from .limits import FILE_BYTES, NAME_BYTES, RANK

DAMAGED = (
    DecodeError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError, MemoryError,
    UnicodeDecodeError, NotImplementedError, onnx.checker.ValidationError,
)  # fmt: skip
EXPORT_AGAIN = "export the model again"
ONE_FILE = "save the model as one file: onnx.save(onnx.load(path), path, save_as_external_data=False)"

CONSTANT_ELEMENTS = 1 << 25
"""Of a constant, which may be float."""
WIDEST = 8
"""Bytes of an element."""
_HALVES = {int(onnx.TensorProto.INT4): np.int8, int(onnx.TensorProto.UINT4): np.uint8}
"""Types of 4 bits, and what they are held in."""


def text(value: str | bytes) -> str:
    """A string of the file: protobuf hands over bytes where it is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


@dataclass
class Folder:
    """Where files with the data of constants may lie. left: bytes that may still be read."""

    path: Path
    left: int = FILE_BYTES


def constant_data(tensor: onnx.TensorProto, folder: Folder | None = None) -> NDArray[Any]:
    """The array of a tensor. folder: None where there can be no other files."""
    where = f"tensor '{text(tensor.name)[:NAME_BYTES]}'"
    count = 1
    for extent in tensor.dims:
        count *= max(extent, 1)
    if any(d < 0 for d in tensor.dims) or count > CONSTANT_ELEMENTS or len(tensor.dims) > RANK:
        raise CompileError(where, f"shape {tuple(tensor.dims)} is beyond any microcontroller", EXPORT_AGAIN)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor = _with_external_data(tensor, where, folder, count)
    try:
        data = np.asarray(onnx.numpy_helper.to_array(tensor))
    except DAMAGED as error:
        raise CompileError(where, f"its data is damaged ({error})", "copy or export the model again") from None
    if tensor.data_type in _HALVES:
        data = data.astype(_HALVES[tensor.data_type])
    if data.dtype.kind not in "iufb" or data.shape != tuple(tensor.dims):
        raise CompileError(where, f"holds {data.dtype} of shape {data.shape}", "store weights as int8, and what else is constant as float32 or int64")
    return data


def _with_external_data(tensor: onnx.TensorProto, where: str, folder: Folder | None, count: int) -> onnx.TensorProto:
    """The tensor with its bytes, which a file beside the model holds. count: of its elements."""
    entries = {text(e.key): text(e.value) for e in tensor.external_data}
    location = entries.get("location", "")
    inside = bool(location) and "\0" not in location and len(location) <= NAME_BYTES
    parts = Path(location).parts if inside else ()
    if not inside or Path(location).is_absolute() or "\\" in location or ".." in parts:
        what = f"its data is in another file, '{location[:NAME_BYTES]}', which does not lie beside the model"
        raise CompileError(where, what, ONE_FILE)
    if folder is None:
        raise CompileError(where, f"its data is in another file, '{location}'", ONE_FILE)
    numbers = [entries.get(name, default) for name, default in (("offset", "0"), ("length", "-1"))]
    if not all(n.removeprefix("-").isascii() and n.removeprefix("-").isdigit() and len(n) < 20 for n in numbers):
        raise CompileError(where, f"its data has offset '{numbers[0][:40]}' and length '{numbers[1][:40]}'", EXPORT_AGAIN)
    offset, length = int(numbers[0]), int(numbers[1])
    if not 0 <= offset <= FILE_BYTES or length > WIDEST * count:
        raise CompileError(where, f"its data lies at {offset} and is {length} bytes long, for shape {tuple(tensor.dims)}", EXPORT_AGAIN)
    found = onnx.TensorProto()
    found.CopyFrom(tensor)
    found.ClearField("external_data")
    found.data_location = onnx.TensorProto.DEFAULT
    found.raw_data = _read(folder.path, location, offset, min(length if length >= 0 else WIDEST * count, folder.left + 1), where)
    folder.left -= len(found.raw_data)
    if folder.left < 0:
        raise CompileError(where, f"the data beside the model is longer than {FILE_BYTES >> 20} MiB, more than any microcontroller holds", ONE_FILE)
    return found


def _read(folder: Path, location: str, offset: int, length: int, where: str) -> bytes:
    """Bytes of a regular file in the folder, reached over no link that leads out of it."""
    path = folder / location
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise CompileError(where, f"its data is in '{location}', a link to another folder", ONE_FILE)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CompileError(where, f"its data is in '{location}', which is not a regular file", ONE_FILE)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                file.seek(offset)
                return file.read(length)
        finally:
            os.close(descriptor)
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CompileError(where, f"its data in '{location}' cannot be read: {reason}", f"put the file beside the model, or {ONE_FILE}") from None
