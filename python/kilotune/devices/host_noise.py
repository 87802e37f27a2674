"""Updates under noise of a model in this process: the C of a build with `private_updates`, its flash a piece of memory."""

from __future__ import annotations

from typing import Any

from .errors import check_status

PAGE, PAGES, WORD = 256, 2, 8


class HostNoise:
    """The secret of a device that this process opened, which ends with it. ffi: with what the headers up to kt/private_update.h declare."""

    def __init__(self, ffi: Any, library: Any, layout: Any, values: int, name: str) -> None:
        self._ffi, self._library, self._layout, self._values, self._name = ffi, library, layout, values, name
        self._cells = ffi.new(f"uint64_t[{PAGES * PAGE // 8}]")
        memory = ffi.buffer(self._cells)
        memory[:] = b"\xff" * (PAGES * PAGE)

        def erase(_: Any, page: int) -> int:
            memory[page * PAGE : (page + 1) * PAGE] = b"\xff" * PAGE
            return 0

        def write(_: Any, offset: int, word: Any) -> int:
            memory[offset : offset + WORD] = bytes(ffi.buffer(word, WORD))
            return 0

        self._calls = ffi.callback("int(void *, uint32_t)", erase), ffi.callback("int(void *, uint32_t, const uint8_t *)", write)
        self._flash = ffi.new("kt_flash *", (ffi.cast("const uint8_t *", self._cells), PAGE, PAGES, WORD, *self._calls, ffi.NULL))
        self._noise = ffi.new("kt_noise *")
        self._check("open", library.kt_noise_open(self._noise, self._flash))

    def _check(self, what: str, status: Any) -> None:
        check_status(int(status), f"{self._name}, {what}")

    def seed(self, entropy: bytes) -> int:
        """Mixes 32 bytes in, or none; updates so far, 2^32 - 1 where there is no secret yet."""
        if entropy:
            self._check("seed_noise", self._library.kt_noise_seed(self._noise, entropy))
        return int(self._library.kt_noise_count(self._noise))

    def update(self, base: bytes, exported: bytes, payload: int, clip: int, sigma: int) -> bytes:
        """What changed from one adapter to another, under noise: int32. payload: where it begins in a file."""
        ffi, lib = self._ffi, self._library
        opened, start = ffi.new("kt_adapter *"), ffi.from_buffer(base)
        self._check("private_update", lib.kt_adapter_open(opened, start, len(base), self._layout))
        params = ffi.new("kt_private_update_params *", (clip, sigma))
        self._check("private_update", lib.kt_noise_next(self._noise, params))
        update, own = ffi.new(f"int32_t[{self._values}]"), ffi.from_buffer(exported)
        self._check("private_update", lib.kt_adapter_update(self._layout, opened, ffi.cast("const uint8_t *", own) + payload, update))
        self._check("private_update", lib.kt_private_update(params, update, self._values))
        ffi.memmove(params, bytes(ffi.sizeof(params[0])), ffi.sizeof(params[0]))
        return bytes(ffi.buffer(update))
