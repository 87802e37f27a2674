"""AgentDevice: a model behind the agent firmware, over any byte stream (examples/agent/README.md)."""

from __future__ import annotations

import enum
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kiloc.emit import Written

from .. import boards, toolchain
from . import frames
from .base import Device
from .errors import DeviceError, check_status
from .host import compare_with_manifest
from .interface import AREAS
from .manifest import Manifest
from .stored_adapters import StoredAdapters

PROTOCOL = 2
CHUNK = 512
_RESPONSE = 0x80
_DAMAGED = 64
_MAX_REQUESTS = 1000
_LONGEST = 65536
"""Bytes that are kept of what does not end: a frame is far shorter."""
_RANGES = 50
"""Ranges of memory in a request."""
_HELLO = "<4B8s8s9I"


class Command(enum.IntEnum):
    """Command bytes of the protocol."""

    HELLO = 1
    RESET = 2
    WRITE_INPUT = 3
    INFER = 4
    READ_OUTPUT = 5
    WRITE_TARGET = 6
    TRAIN = 7
    APPLY = 8
    SET_LEARNING_RATE = 9
    READ_STATE = 10
    WRITE_STATE = 11
    RESUME = 12
    EXPORT_ADAPTER = 13
    READ_ADAPTER = 14
    WRITE_ADAPTER = 15
    LOAD_ADAPTER = 16
    STATS = 17
    STORE_ADAPTER = 18
    SELECT_ADAPTER = 19
    REMOVE_ADAPTER = 20
    LIST_ADAPTERS = 21
    UPDATE_BEGIN = 22
    UPDATE_WRITE = 23
    UPDATE_HASH = 24
    UPDATE_INSTALL = 25
    REBOOT = 26
    UPDATE_ABANDON = 27
    WRITE_SUMS = 28
    TRAIN_SLICE = 32
    CHECKSUM = 33
    READ_ARENA = 34
    REMEMBER = 40
    REPLAY = 41
    ADD_CLASS = 42
    REPLAY_SLICE = 43
    SEED_NOISE = 48
    PRIVATE_UPDATE = 49
    READ_UPDATE = 50


MEASURED = {
    Command.INFER: "infer",
    Command.TRAIN: "train_step",
    Command.TRAIN_SLICE: "train_slice",
    Command.APPLY: "apply",
    Command.REMEMBER: "remember",
    Command.REPLAY: "replay_step",
    Command.ADD_CLASS: "add_class",
    Command.REPLAY_SLICE: "replay_slice",
    Command.PRIVATE_UPDATE: "private_update",
    Command.RESUME: "resume",
    Command.EXPORT_ADAPTER: "adapter_export",
    Command.LOAD_ADAPTER: "adapter_load",
}
"""Commands whose cost the agent measures, and the call of the model that each makes."""


class Transport(Protocol):
    """A byte stream that may lose and damage what passes through it."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, after waiting for at most `timeout` seconds; b"" if nothing has."""

    def write(self, data: bytes, timeout: float) -> bool:
        """Send all of data; False if it could not be sent within `timeout` seconds."""

    def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class Hello:
    """What the agent says of itself."""

    name: str
    board: str
    protocol: int
    abi: int
    training: bool
    base_hash: bytes
    build: bytes
    model_bytes: int
    input_bytes: int
    output_bytes: int
    target_values: int
    arena_infer: int
    arena_train: int
    state_bytes: int
    adapter_bytes: int
    chunk: int

    @classmethod
    def parse(cls, data: bytes) -> Hello:
        """The response's data without the echoed number; struct.error if it is too short."""
        protocol, abi, training, length, base_hash, build, *fields = struct.unpack_from(_HELLO, data)
        names = data[struct.calcsize(_HELLO) :]
        name, board = (part.decode(errors="replace") for part in (names[:length], names[length:]))
        return cls(name, board, protocol, abi, bool(training), base_hash, build[::-1], *fields)


class Link:
    """Requests and responses: retries until the agent has answered, without anything being done twice.

    The first wait is `timeout` seconds and doubles with every retry, up to `deadline` seconds for one request: a slow
    call is asked about again a few times, which costs a frame each.
    """

    def __init__(self, transport: Transport, name: str, timeout: float, deadline: float) -> None:
        self.transport = transport
        self.name = name
        self.timeout = timeout
        self.deadline = deadline
        self.requests = 0
        self.retries = 0
        self._sequence = secrets.randbelow(256)
        self._pending = bytearray()
        self._text = b""
        self._noise = 0

    def request(self, command: Command, data: bytes = b"") -> bytes:
        """The response's data; DeviceError for any status but 0."""
        self.requests += 1
        self._sequence = (self._sequence + 1) % 256
        frame = frames.encode(bytes([self._sequence, command]) + data)
        deadline = time.monotonic() + self.deadline
        wait = self.timeout
        for attempt in range(_MAX_REQUESTS):
            if time.monotonic() >= deadline:
                break
            self.retries += attempt > 0
            until = min(time.monotonic() + wait, deadline)
            if self.transport.write(frame, max(until - time.monotonic(), 0)):
                response = self._response(command, until)
                if response is not None:
                    check_status(response[0], f"{self.name}, {command.name.lower()}")
                    return response[1:]
            if time.monotonic() >= until:
                wait *= 2
        self._note(bytes(self._pending))  # a program that knows no frames ends nothing with a zero
        text = self._text.decode()
        lines = [line.strip() for line in (text.rpartition("\n")[0] or text).splitlines() if line.strip()]
        said = f"; it said: {lines[-1][:200]}" if lines else f", only {self._noise} bytes that are no frames" if self._noise else ""
        hint = "check that the agent firmware runs there (kilotune flash) at this baud rate, and that the port is the board's"
        raise DeviceError(f"{self.name}, {command.name.lower()}", f"no answer from the device{said}", hint)

    def _response(self, command: Command, until: float) -> bytes | None:
        """Status and data of the answer to the current request; None if it is time to ask again."""
        while True:
            while (end := self._pending.find(0)) >= 0:
                received = bytes(self._pending[:end])
                del self._pending[: end + 1]
                content = frames.decode(received) if received else None
                if content is None:
                    self._note(received)
                elif len(content) >= 3 and content[0] == self._sequence and content[1] == command | _RESPONSE:
                    return content[2:]
                elif content[1:] == bytes([_RESPONSE, _DAMAGED]):
                    return None
            if time.monotonic() >= until:
                return None
            self._pending += self.transport.read(max(until - time.monotonic(), 0))
            del self._pending[:-_LONGEST]

    def _note(self, received: bytes) -> None:
        """Text between frames comes from the board's start-up code: the report of a fault, or a boot message."""
        self._noise += len(received)
        if len(received) > 3 and received.isascii() and "".join(received.decode().split()).isprintable():
            self._text = (self._text + received)[-2000:]
            if received.startswith(b"FAULT"):
                what = f"the firmware crashed: {received.decode().strip()}"
                raise DeviceError(self.name, what, "open the device again; what was trained since is lost")


class AgentDevice(Device):
    """A model on an agent. Opening it leaves the model as it is: a board goes on from what it has learned."""

    def __init__(
        self,
        manifest: Manifest,
        transport: Transport,
        name: str,
        board: boards.Board | None = None,
        counting: bool = True,
        timeout: float = 1.0,
        deadline: float = 300.0,
        hello_deadline: float = 20.0,
    ) -> None:
        """board: None where only the firmware can say on which it runs; counting: whether the board's counter is exact."""
        super().__init__(manifest, name)
        self.link = Link(transport, name, timeout, hello_deadline)
        try:
            self.hello = self._greet()
        except BaseException:
            transport.close()
            raise
        self.board = boards.load(self.hello.board) if board is None and self.hello.board in boards.names() else board
        self._counting = counting and (board is not None or (self.board is not None and self.board.emulator is None))
        self.link.deadline = deadline

    def _greet(self) -> Hello:
        number = secrets.token_bytes(4)
        data = self.link.request(Command.HELLO, number)
        remedy = f"flash it again: kilotune flash {self.manifest.directory} --board BOARD"
        if data[:4] != number:
            raise DeviceError(self.name, "the device answers another program's question", "make sure that nothing else uses the port")
        if data[4:5] != bytes([PROTOCOL]):
            spoken = f"protocol {data[4]}" if len(data) > 4 else "another protocol"
            raise DeviceError(self.name, f"the firmware speaks {spoken}, this is {PROTOCOL}: it is of another version", remedy)
        try:
            hello = Hello.parse(data[4:])
        except struct.error:
            raise DeviceError(self.name, "the device's greeting is too short: its firmware is of another version", remedy) from None
        names = "base_hash training input_bytes output_bytes target_values arena_infer arena_train state_bytes adapter_bytes"
        compare_with_manifest(self.manifest, self.name, {n: getattr(hello, n) for n in names.split()}, remedy)
        if hello.build != toolchain.build_identity(self.manifest):
            what = f"the device holds another build of {hello.name}: its options or its version of kilotune differ from this directory's"
            raise DeviceError(self.name, what, remedy)
        return hello

    # ---- Areas larger than a frame ----

    def _write(self, command: Command, data: bytes, at: int = 0) -> None:
        step = min(CHUNK, self.hello.chunk)
        for offset in range(0, len(data), step):
            self.link.request(command, struct.pack("<I", at + offset) + data[offset : offset + step])

    def _read(self, command: Command, length: int, at: int = 0) -> bytes:
        step = min(CHUNK, self.hello.chunk)
        parts = []
        for offset in range(0, length, step):
            size = min(step, length - offset)
            part = self.link.request(command, struct.pack("<II", at + offset, size))
            if len(part) != size:
                raise DeviceError(f"{self.name}, {command.name.lower()}", f"{len(part)} bytes instead of {size}", "flash the firmware again")
            parts.append(part)
        return b"".join(parts)

    # ---- Device ----

    def _reset(self) -> None:
        self.link.request(Command.RESET)

    def _infer(self, sample: bytes) -> bytes:
        self._write(Command.WRITE_INPUT, sample)
        self.link.request(Command.INFER)
        return self._read(Command.READ_OUTPUT, self.manifest.output_bytes)

    def _train_step(self, sample: bytes, label: int, values: bytes) -> float:
        self._write(Command.WRITE_INPUT, sample)
        self._write(Command.WRITE_TARGET, values)
        (loss,) = struct.unpack("<f", self.link.request(Command.TRAIN, struct.pack("<i", label)))
        return float(loss)

    def _train_slice(self, sample: bytes, label: int, values: bytes, instructions: int) -> float | None:
        self._write(Command.WRITE_INPUT, sample)
        self._write(Command.WRITE_TARGET, values)
        done, loss = struct.unpack("<Bf", self.link.request(Command.TRAIN_SLICE, struct.pack("<iI", label, instructions)))
        return float(loss) if done else None

    def _checksums(self, ranges: Sequence[Written]) -> list[int]:
        found: list[int] = []
        for first in range(0, len(ranges), _RANGES):
            part = ranges[first : first + _RANGES]
            asked = b"".join(struct.pack("<BII", AREAS.index(w.area), w.offset, w.bytes) for w in part)
            found += struct.unpack(f"<{len(part)}I", self.link.request(Command.CHECKSUM, asked))
        return found

    def _read_arena(self, offset: int, length: int) -> bytes:
        step = min(CHUNK, self.hello.chunk)
        starts = range(offset, offset + length, step)
        return b"".join(self.link.request(Command.READ_ARENA, struct.pack("<II", at, min(step, offset + length - at))) for at in starts)

    def _remember(self, sample: bytes, label: int, values: bytes) -> None:
        self._write(Command.WRITE_INPUT, sample)
        self._write(Command.WRITE_TARGET, values)
        self.link.request(Command.REMEMBER, struct.pack("<i", label))

    def _replay_step(self) -> float:
        (loss,) = struct.unpack("<f", self.link.request(Command.REPLAY))
        return float(loss)

    def _replay_slice(self, instructions: int) -> float | None:
        done, loss = struct.unpack("<Bf", self.link.request(Command.REPLAY_SLICE, struct.pack("<I", instructions)))
        return float(loss) if done else None

    def _add_class(self, sample: bytes) -> int:
        self._write(Command.WRITE_INPUT, sample)
        (label,) = struct.unpack("<i", self.link.request(Command.ADD_CLASS))
        return int(label)

    def _apply(self) -> None:
        self.link.request(Command.APPLY)

    def _set_learning_rate(self, learning_rate: float) -> None:
        self.link.request(Command.SET_LEARNING_RATE, struct.pack("<f", learning_rate))

    def _read_state(self) -> bytes:
        return self._read(Command.READ_STATE, self.manifest.state_bytes)

    def _write_state(self, state: bytes) -> None:
        self._write(Command.WRITE_STATE, state)
        self.link.request(Command.RESUME)

    def _read_part(self, at: int, length: int) -> bytes:
        return self._read(Command.READ_STATE, length, at)

    def _write_sums(self, at: int, content: bytes) -> None:
        self._write(Command.WRITE_SUMS, content, at)

    def _export_adapter(self) -> bytes:
        (length,) = struct.unpack("<I", self.link.request(Command.EXPORT_ADAPTER))
        return self._read(Command.READ_ADAPTER, length)

    def _stored(self) -> StoredAdapters:
        self._check_adapters()
        return StoredAdapters(lambda command, data: self.link.request(Command(command), data), min(CHUNK, self.hello.chunk))

    def _write_adapter(self, adapter: bytes) -> None:
        self._write(Command.WRITE_ADAPTER, adapter)

    def _load_adapter(self, adapter: bytes) -> None:
        self._write_adapter(adapter)
        self.link.request(Command.LOAD_ADAPTER, struct.pack("<I", len(adapter)))

    def _seed_noise(self, entropy: bytes) -> int:
        (count,) = struct.unpack("<I", self.link.request(Command.SEED_NOISE, entropy))
        return int(count)

    def _private_update(self, since: bytes, clip: int, sigma: int) -> bytes:
        self._write_adapter(since)
        (values,) = struct.unpack("<I", self.link.request(Command.PRIVATE_UPDATE, struct.pack("<III", len(since), clip, sigma)))
        return self._read(Command.READ_UPDATE, 4 * values)

    def _stats(self) -> dict[str, Any]:
        code, ticks, stack, stack_size, arena, state = struct.unpack("<IQ4I", self.link.request(Command.STATS))
        call = MEASURED.get(code)
        counted, counts = None, ""
        if self.board is not None and call and self._counting:
            counted, counts = round(ticks * self.board.counter.per_tick), self.board.counter.counts
        return {
            "call": call,
            **{unit: counted if counts == unit else None for unit in ("instructions", "cycles", "nanoseconds")},
            "stack_bytes": stack if call and stack_size else None,
            "stack_size": stack_size or None,
            "arena_bytes": arena,
            "state_bytes": state,
        }

    def _release(self) -> None:
        """End the connection, and the process where the device is one."""
        self.link.transport.close()
