"""Memory that a model on the host runs in: buffers with a guard behind them, and what one thread needs to infer by itself."""

from __future__ import annotations

import math
from typing import Any

import cffi

from .errors import check_status

_GUARD = b"\xa5" * 16
"""Follows every buffer: a model that writes beyond its end is caught at the next call."""


class Buffer:
    """Memory of exactly `size` bytes, aligned, with a guard behind it."""

    def __init__(self, ffi: cffi.FFI, what: str, size: int) -> None:
        self.what = what
        self.size = size
        self._words = ffi.new("uint64_t[]", math.ceil((size + len(_GUARD)) / 8))
        self.pointer = ffi.cast("void *", self._words)
        self._bytes = ffi.buffer(self._words)
        self._behind = slice(size, size + len(_GUARD))
        self._bytes[self._behind] = _GUARD
        self._guard = memoryview(self._bytes)[self._behind]

    def get(self, length: int | None = None) -> bytes:
        return bytes(self._bytes[: self.size if length is None else length])

    def set(self, content: bytes) -> None:
        self._bytes[: len(content)] = content

    def put(self, at: int, content: bytes) -> None:
        """Change some bytes, from `at` on."""
        self._bytes[at : at + len(content)] = content

    def intact(self) -> bool:
        return self._guard == _GUARD


class Context:
    """A copy of a model with memory of its own: a thread infers with it while others do.

    ready: whether the model took the copy of its state.
    """

    def __init__(self, ffi: cffi.FFI, model: Any, arena_bytes: int, state: bytes, input_bytes: int, output_bytes: int, name: str) -> None:
        self._model, self._name = model, name
        self._storage = Buffer(ffi, "model", model.model_bytes)
        self._arena = Buffer(ffi, "arena", arena_bytes)
        self._state = Buffer(ffi, "state", len(state))
        self._input = Buffer(ffi, "input", input_bytes)
        self._output = Buffer(ffi, "output", output_bytes)
        self._state.set(state)
        start = model.resume if state and model.resume != ffi.NULL else model.init
        self.ready = int(start(self._storage.pointer, self._arena.pointer, arena_bytes, self._state.pointer, len(state))) == 0
        if state and self._state.get() != state:
            self.ready = False

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """What the model may not write beyond."""
        return self._storage, self._arena, self._state, self._input, self._output

    def infer(self, sample: bytes) -> bytes:
        """The bytes of all outputs."""
        self._input.set(sample)
        check_status(int(self._model.infer(self._storage.pointer, self._input.pointer, self._output.pointer)), f"{self._name}, infer")
        return self._output.get()
