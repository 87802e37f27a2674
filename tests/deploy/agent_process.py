"""A running agent whose model does little (agent_model.c), and what the tests of its commands say to it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kilotune as kt
from kiloc.emit.adapter_table import Entry
from kilotune import compilers, resources, toolchain
from kilotune.devices import frames
from kilotune.devices.agent import Command

OK, LABEL, STATE_FOREIGN, ADAPTER, NOT_TRAINED, UNSUPPORTED = 0, 3, 2, 5, 6, 7
FULL, EXISTS, MISSING, BUSY, SELF_TEST, PAGE, ARGUMENT, EMPTY = 11, 12, 13, 14, 16, 17, 18, 21
DAMAGED, COMMAND, REQUEST, SESSION, STATE, MEMORY = 64, 65, 66, 67, 68, 69
INPUT, OUTPUT, TARGETS, ARENA, STATE_BYTES, ADAPTER_BYTES, FLASH = 8, 8, 2, 40, 32, 304, 64
FLAGS = ("-std=gnu99", "-O0", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
CHECKS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PAINTING = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
"""agent.c paints the stack below its own frame, which address checks would make larger than a board has it."""
C = Command


def program(resident: int = 3, flash: int = FLASH, adapter: int = ADAPTER_BYTES) -> Path:
    """The agent with the model of agent_model.c, compiled where the cache has it not."""
    agent, runtime, here = resources.agent(), resources.runtime(), Path(__file__).parent
    sizes = {
        "INPUT_BYTES": INPUT,
        "OUTPUT_BYTES": OUTPUT,
        "TARGET_VALUES": TARGETS,
        "ARENA_BYTES": ARENA,
        "STATE_BYTES": STATE_BYTES,
        "ADAPTER_BYTES": adapter,
    }
    stored = {"ADAPTER_BYTES": adapter, "RESIDENT": resident, "SLOT_BYTES": 16, "FLASH_PAGE": flash}
    names = {"BUILD": "0x0123456789abcdefu", "BOARD": '"listener board"'}

    def macros(values: dict[str, Any], checks: tuple[str, ...] = CHECKS) -> tuple[str, ...]:
        return (*FLAGS, *checks, *(f"-DAGENT_{name}={value}" for name, value in values.items()))

    include = (agent, resources.boards(), runtime / "include")
    units = [
        toolchain._Unit(agent / "agent.c", macros({**sizes, **names}, PAINTING), include),
        toolchain._Unit(agent / "kt_adapters.c", macros(stored), include),
    ]
    units += [toolchain._Unit(agent / f"{name}.c", macros({}), include) for name in ("kt_link", "kt_steps", "kt_lessons")]
    units += [toolchain._Unit(agent / "kt_private.c", macros({"PRIVATE": 3, "ADAPTER_BYTES": adapter}), include)]
    units += [toolchain._Unit(here / "agent_model.c", macros(sizes), include)]
    units += [
        toolchain._Unit(runtime / "src" / "core" / f"{name}.c", macros({}), include)
        for name in ("adapter", "adapter_pool", "adapter_slots", "state_store", "private_update")
    ]
    return toolchain._link(toolchain._Program(compilers.host_compiler(), tuple(units), CHECKS, ""), "listener-agent")


class Agent:
    """A running agent: frames in, frames out."""

    def __init__(self, path: Path, kind: str = "train", large: int | None = None, greeted: bool = True) -> None:
        environment = {
            **os.environ,
            "ASAN_OPTIONS": "detect_stack_use_after_return=0",
            "AGENT_TEST": kind,
            **({} if large is None else {"AGENT_TEST_LARGE": str(large)}),
        }
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0)
        self.sequence = 0
        if greeted:
            assert self(C.HELLO, b"who?")[0] == OK

    def raw(self, received: bytes) -> bytes:
        """What the agent sends for these bytes, between two zeros."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(received)
        found = b""
        while not (found.endswith(b"\0") and found.strip(b"\0")):
            byte = self.process.stdout.read(1)
            assert byte, self.process.stderr.read().decode()[-3000:] if self.process.stderr else ""
            found += byte
        assert found.count(b"\0") == 2 and found[0] == 0
        return found[1:-1]

    def __call__(self, command: int, data: bytes = b"", sequence: int | None = None) -> tuple[int, bytes]:
        """Status and data of the answer."""
        self.sequence = (self.sequence + 1) % 256 if sequence is None else sequence
        content = frames.decode(self.raw(frames.encode(bytes([self.sequence, command]) + data)))
        assert content is not None and content[:2] == bytes([self.sequence, command | 0x80])
        return content[2], content[3:]

    def infer(self, *sample: int) -> list[int]:
        assert self(C.WRITE_INPUT, words(0) + bytes(s & 255 for s in (*sample, 0, 0)[:5])) == (OK, b"")
        assert self(C.INFER) == (OK, b"")
        return list(struct.unpack("3b", self(C.READ_OUTPUT, words(0, 3))[1]))

    def put(self, adapter: kt.Adapter | bytes) -> int:
        """Bytes of an adapter, written into the agent's buffer."""
        data = adapter if isinstance(adapter, bytes) else adapter.data
        assert self(C.WRITE_ADAPTER, words(0) + data)[0] == OK
        return len(data)

    def close(self) -> int:
        """The exit code, once the line is closed."""
        assert self.process.stdin is not None and self.process.stderr is not None
        self.process.stdin.close()
        complaint = self.process.stderr.read().decode()
        assert self.process.wait(10) in (17, -9), complaint[-3000:]
        return self.process.returncode


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def name(text: str) -> bytes:
    return text.encode().ljust(24, b"\0")


def adapter(*values: int, name: str = "", sequence: int = 0) -> kt.Adapter:
    entry = Entry("dense", "bias", "value", "int32", 1, 3)
    return kt.Adapter.make(bytes(range(1, 9)), "bias", [entry], struct.pack("<3i", *values), name, sequence)


Start = Callable[..., Agent]
