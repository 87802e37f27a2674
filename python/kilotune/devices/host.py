"""HostDevice: the model as a shared library in this process."""

from __future__ import annotations

import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from queue import SimpleQueue
from typing import Any

import cffi
import numpy as np
from numpy.typing import NDArray

from kiloc.emit import Written

from .. import toolchain
from ..host_runtime import KERNELS
from .base import Device
from .context import Buffer, Context
from .errors import DeviceError, check_status
from .host_noise import HostNoise
from .manifest import Manifest

_slow_memory = threading.Lock()
"""Held while a model that keeps pages runs: all models of a library share one file (boards/host/posix/pages.c)."""


_WORTH_THREADS = 20_000_000
"""Nanoseconds of inference from which on threads are worth their start."""

_MEASURED = frozenset({"infer", "train_step", "train_slice", "remember", "replay_step", "replay_slice", "add_class", "apply"})
"""Calls whose time `stats` tells."""

_BLOCK = 8
"""Samples that a thread takes at a time."""


class HostDevice(Device):
    """Runs at the host's speed and counts nanoseconds; the bits are those of every other device.

    kernels: "vector" for the vectors of this computer, "portable" for the C that every core without instructions of its own runs; None: vectors,
    where the runtime of the build is that of this kilotune. threads: that many samples may go through inference at once; None: as this computer
    has cores. Neither changes a bit.
    """

    def __init__(self, manifest: Manifest, kernels: str | None = None, threads: int | None = None) -> None:
        super().__init__(manifest, "host")
        if kernels not in (None, *KERNELS):
            raise DeviceError("host", f"there are no kernels {kernels!r}", f"kernels: {', '.join(KERNELS)}")
        if threads is not None and threads < 1:
            raise DeviceError("host", f"threads is {threads}", "pass 1 or more")
        self.threads = threads or _cores()
        possible = toolchain.host_kernels(manifest.directory)
        if kernels == "vector" and possible != kernels:
            hint = "build the model again, or open it without kernels: it runs the portable C that it brings"
            raise DeviceError(str(manifest.directory), "its runtime is not that of this kilotune, which the kernels for vectors are made for", hint)
        self.kernels = kernels or possible
        self._ffi = cffi.FFI()
        self._ffi.cdef(_declarations(manifest, "model") + f"\nextern kt_model_interface {manifest.name}_interface;")
        if manifest.steps:
            self._ffi.cdef(_declarations(manifest, "sliced_step") + f"\nextern kt_sliced_step {manifest.name}_sliced_step;")
        if manifest.private_updates:
            for header in ("adapter", "adapter_slots", "state_store", "private_update"):
                self._ffi.cdef(_declarations(manifest, header))
        path = toolchain.host_library(manifest.directory, self.kernels)
        try:
            self._library: Any = self._ffi.dlopen(str(path))
        except OSError as error:
            raise DeviceError(str(path), f"the library cannot be loaded: {error}", "remove the file: it is built again") from error
        self._model: Any = getattr(self._library, f"{manifest.name}_interface")
        self._sliced: Any = getattr(self._library, f"{manifest.name}_sliced_step") if manifest.steps else None
        self._check_manifest()

        self._storage = self._buffer("model", self._model.model_bytes)
        self._arena = self._buffer("arena", manifest.arena_bytes)
        self._state = self._buffer("state", manifest.state_bytes)
        self._input = self._buffer("input", manifest.input_bytes)
        self._output = self._buffer("output", manifest.output_bytes)
        self._target = self._buffer("target", manifest.target_values * 4)
        self._adapter = self._buffer("adapter", manifest.adapter_bytes)
        self._buffers = (self._storage, self._arena, self._state, self._input, self._output, self._target, self._adapter)
        self._functions: dict[str, Any] = {}
        self._loss = self._ffi.new("float *")
        self._asked: Any = self._ffi.new("kt_target *")
        self._measured: tuple[str | None, int] = (None, 0)
        self._reset()

    def _buffer(self, what: str, size: int) -> Buffer:
        return Buffer(self._ffi, what, size)

    def _check_manifest(self) -> None:
        m, model = self.manifest, self._model
        compare_with_manifest(
            m,
            self.name,
            {
                "base_hash": bytes(self._ffi.buffer(model.base_hash, 8)),
                "input_bytes": model.input_bytes,
                "output_bytes": model.output_bytes,
                "target_values": model.target_values,
                "arena_infer": model.arena_bytes_infer,
                "arena_train": model.arena_bytes_train,
                "state_bytes": model.state_bytes,
                "adapter_bytes": model.adapter_bytes,
                "training": model.train_step != self._ffi.NULL,
            },
        )

    def _function(self, name: str) -> Any:
        """A function of the model's interface, looked up once."""
        found = self._functions.get(name)
        if found is None:
            found = getattr(self._sliced if self._sliced is not None and name in ("train_slice", "replay_slice") else self._model, name)
            if found == self._ffi.NULL:
                check_status(7, f"{self.name}, {name}")
            self._functions[name] = found
        return found

    def _call(self, name: str, *arguments: Any) -> Any:
        function = self._function(name)
        if self.manifest.page_bytes:
            with _slow_memory:
                start = time.perf_counter_ns()
                result = function(self._storage.pointer, *arguments)
                elapsed = time.perf_counter_ns() - start
        else:
            start = time.perf_counter_ns()
            result = function(self._storage.pointer, *arguments)
            elapsed = time.perf_counter_ns() - start
        if name in _MEASURED:
            self._measured = (name, elapsed)
        if name != "set_learning_rate":  # before nearly every step of a rate that falls, and one float of the state is all that it writes
            self._check_guards(self._buffers, name)
        return result

    def _check_guards(self, buffers: tuple[Buffer, ...], name: str) -> None:
        for buffer in buffers:
            if not buffer.intact():
                self._closed = True
                raise DeviceError(f"{self.name}, {name}", f"the model wrote beyond the end of its {buffer.what}", "this is a bug of kilotune")

    def _do(self, name: str, *arguments: Any) -> None:
        check_status(int(self._call(name, *arguments)), f"{self.name}, {name}")

    def _memory(self) -> tuple[Any, int, Any, int]:
        return self._arena.pointer, self._arena.size, self._state.pointer, self._state.size

    def _reset(self) -> None:
        self._do("init", *self._memory())
        self._measured = (None, 0)

    def _infer(self, sample: bytes) -> bytes:
        self._input.set(sample)
        self._do("infer", self._input.pointer, self._output.pointer)
        return self._output.get()

    def _infer_each(self, samples: NDArray[Any], outputs: NDArray[np.uint8], advance: Callable[[], None]) -> None:
        """Several at once, where samples do not depend on each other and are worth it: each thread has memory of its own."""
        if len(samples) == 0:
            return
        super()._infer_each(samples[:1], outputs[:1], advance)
        rest = len(samples) - 1
        count = min(self.threads, -(-rest // _BLOCK)) if self._measured[1] * rest > _WORTH_THREADS else 1
        contexts: list[Context] = [] if count < 2 or self.manifest.kept or self.manifest.page_bytes else self._contexts(count)
        if not contexts:
            super()._infer_each(samples[1:], outputs[1:], advance)
            return
        free: SimpleQueue[Context] = SimpleQueue()
        for context in contexts:
            free.put(context)

        def infer(first: int) -> int:
            context = free.get()
            last = min(first + _BLOCK, len(samples))
            for i in range(first, last):
                outputs[i] = np.frombuffer(context.infer(samples[i].tobytes()), np.uint8)
            free.put(context)
            return last - first

        with ThreadPoolExecutor(len(contexts)) as pool:
            for done in pool.map(infer, range(1, len(samples), _BLOCK)):
                for _ in range(done):
                    advance()
        for context in contexts:
            self._check_guards(context.buffers, "infer")

    def _contexts(self, count: int) -> list[Context]:
        """Memory for threads that infer with the values of now; empty where the model takes no copy of its state, as a signed build does not."""
        m, state = self.manifest, self._state.get()
        found = [Context(self._ffi, self._model, m.arena_bytes, state, m.input_bytes, m.output_bytes, self.name) for _ in range(count)]
        return found if all(context.ready for context in found) else []

    def _train_step(self, sample: bytes, label: int, values: bytes) -> float:
        self._input.set(sample)
        self._target.set(values)
        self._asked.label, self._asked.values = label, self._target.pointer
        self._do("train_step", self._input.pointer, self._asked, self._loss)
        return float(self._loss[0])

    def _train_slice(self, sample: bytes, label: int, values: bytes, instructions: int) -> float | None:
        self._input.set(sample)
        self._target.set(values)
        target, done = self._ffi.new("kt_target *", (label, self._target.pointer)), self._ffi.new("int *")
        self._do("train_slice", self._input.pointer, target, instructions, self._loss, done)
        return float(self._loss[0]) if done[0] else None

    def _checksums(self, ranges: Sequence[Written]) -> list[int]:
        areas = {"arena": self._arena, "state": self._state}
        return [zlib.crc32(areas[w.area].get(w.offset + w.bytes)[w.offset :]) for w in ranges]

    def _read_arena(self, offset: int, length: int) -> bytes:
        return self._arena.get(offset + length)[offset:]

    def _remember(self, sample: bytes, label: int, values: bytes) -> None:
        self._input.set(sample)
        self._target.set(values)
        self._do("remember", self._input.pointer, self._ffi.new("kt_target *", (label, self._target.pointer)))

    def _replay_step(self) -> float:
        self._do("replay_step", self._loss)
        return float(self._loss[0])

    def _replay_slice(self, instructions: int) -> float | None:
        done = self._ffi.new("int *")
        self._do("replay_slice", instructions, self._loss, done)
        return float(self._loss[0]) if done[0] else None

    def _add_class(self, sample: bytes) -> int:
        self._input.set(sample)
        label = self._ffi.new("int32_t *")
        self._do("add_class", self._input.pointer, label)
        return int(label[0])

    def _apply(self) -> None:
        self._do("apply")

    def _set_learning_rate(self, learning_rate: float) -> None:
        self._do("set_learning_rate", struct.unpack("<f", struct.pack("<f", learning_rate))[0])

    def _read_state(self) -> bytes:
        return self._state.get()

    def _write_state(self, state: bytes) -> None:
        self._state.set(state)
        self._do("resume", *self._memory())

    def _read_part(self, at: int, length: int) -> bytes:
        return self._state.get()[at : at + length]

    def _write_sums(self, at: int, content: bytes) -> None:
        part = self.manifest.shard
        assert part is not None
        self._state.put(part.at + at, content)

    def _export_adapter(self) -> bytes:
        return self._adapter.get(int(self._call("adapter_export", self._adapter.pointer, self._adapter.size)))

    def _load_adapter(self, adapter: bytes) -> None:
        self._adapter.set(adapter)
        self._do("adapter_load", self._adapter.pointer, len(adapter))

    def _seed_noise(self, entropy: bytes) -> int:
        return self._noise.seed(entropy)

    def _private_update(self, since: bytes, clip: int, sigma: int) -> bytes:
        layout = self._model.adapter_layout
        return self._noise.update(since, self._export_adapter(), 128 + layout.table_bytes + 4, clip, sigma)

    @cached_property
    def _noise(self) -> HostNoise:
        return HostNoise(self._ffi, self._library, self._model.adapter_layout, self.manifest.private_updates, self.name)

    def _stats(self) -> dict[str, Any]:
        call, elapsed = self._measured
        return {
            "call": call,
            "instructions": None,
            "cycles": None,
            "nanoseconds": elapsed if call else None,
            "stack_bytes": None,
            "stack_size": None,
            "arena_bytes": self._arena.size,
            "state_bytes": self._state.size,
        }

    def _release(self) -> None:
        """Nothing: the library stays loaded, as other devices of the same build may use it."""


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compare_with_manifest(manifest: Manifest, where: str, found: dict[str, Any], remedy: str = "build it again") -> None:
    """DeviceError if what a device says of its model is not what the manifest says."""
    for name, value in found.items():
        expected = getattr(manifest, name)
        if value != expected:
            shown = (value.hex(), expected.hex()) if isinstance(value, bytes) else (value, expected)
            what = f"the device holds another model: its {name} is {shown[0]}, the manifest's {shown[1]}"
            raise DeviceError(where, what, remedy)


def _declarations(manifest: Manifest, header: str) -> str:
    """The contract, a header of kt/, as cffi reads it: without its preprocessor lines."""
    for folder in manifest.include:
        path = manifest.directory / folder / "kt" / f"{header}.h"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            text = re.sub(r"^#ifdef __cplusplus$.*?^#endif.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
            return re.sub(r"^\s*#(?!define KT_(?:ABI|ALIGNMENT) ).*$", "", text, flags=re.MULTILINE)
    raise DeviceError(str(manifest.directory), f"kt/{header}.h is in none of the include folders", "run `kilotune build` again")
