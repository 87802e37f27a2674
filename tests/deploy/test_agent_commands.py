"""The agent command by command: every length, range and condition that it checks, answered by a model that does little (agent_model.c)."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kilotune as kt
from kiloc.emit.adapter_table import Entry
from kilotune import resources, toolchain
from kilotune.devices import frames
from kilotune.devices.agent import Command

OK, LABEL, STATE_FOREIGN, ADAPTER, NOT_TRAINED, UNSUPPORTED = 0, 3, 2, 5, 6, 7
FULL, EXISTS, MISSING, BUSY, SELF_TEST, PAGE, ARGUMENT = 11, 12, 13, 14, 16, 17, 18
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
    units += [toolchain._Unit(agent / "kt_link.c", macros({}), include), toolchain._Unit(here / "agent_model.c", macros(sizes), include)]
    units += [toolchain._Unit(runtime / "src" / "core" / f"{name}.c", macros({}), include) for name in ("adapter", "adapter_pool", "adapter_slots")]
    return toolchain._link(toolchain._Program(toolchain.host_compiler(), tuple(units), CHECKS, ""), "listener-agent")


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


@pytest.fixture(scope="module")
def built() -> Path:
    return program()


Start = Callable[..., Agent]


@pytest.fixture
def start(built: Path) -> Iterator[Start]:
    """start("infer"): a running agent, which must end well."""
    running: list[Agent] = []

    def begin(kind: str = "train", **options: Any) -> Agent:
        running.append(Agent(options.pop("path", built), kind, **options))
        return running[-1]

    yield begin
    assert [agent.close() for agent in running] == [17] * len(running)


# ---- Session and frames ----


def test_hello_says_what_the_agent_is(start: Start) -> None:
    agent = start(greeted=False)
    status, data = agent(C.HELLO, b"abcd")
    expected = b"abcd" + bytes([2, 3, 1, 8, *range(1, 9)]) + struct.pack("<Q", 0x0123456789ABCDEF)
    expected += words(16, INPUT, OUTPUT, TARGETS, ARENA, ARENA, STATE_BYTES, ADAPTER_BYTES, 512) + b"listenerlistener board"
    assert (status, data) == (OK, expected)
    assert agent(C.HELLO, b"abc")[0] == agent(C.HELLO, b"abcde")[0] == REQUEST
    assert start("infer", greeted=False)(C.HELLO, b"efgh")[1][:8] == b"efgh" + bytes([2, 3, 0, 8])


def test_nothing_is_done_before_hello(start: Start) -> None:
    agent = start(greeted=False)
    for code in (*range(2, 18), *range(18, 28)):
        assert agent(code, sequence=7) == (SESSION, b""), code
    assert agent(0)[0] == agent(28)[0] == agent(99)[0] == agent(127)[0] == COMMAND
    assert agent(C.HELLO, b"abc")[0] == REQUEST and agent(C.INFER)[0] == SESSION, "a greeting that is none opens nothing"
    assert agent(C.HELLO, b"abcd")[0] == OK and agent(C.INFER)[0] == OK
    assert agent(0)[0] == agent(28)[0] == COMMAND


def test_a_repeated_sequence_number_is_answered_from_memory(start: Start) -> None:
    agent = start()
    assert agent(C.TRAIN, words(1), sequence=9)[0] == OK
    steps = [struct.unpack_from("<I", agent(C.READ_STATE, words(4, 4), sequence=10)[1])[0]]
    frame = frames.encode(bytes([11, C.TRAIN]) + words(2))
    answers = {agent.raw(frame) for _ in range(3)}
    steps += [struct.unpack_from("<I", agent(C.READ_STATE, words(4, 4), sequence=12)[1])[0]]
    assert steps == [1, 2] and len(answers) == 1
    old = agent.raw(frames.encode(bytes([12, C.APPLY])))  # another command under the number of the last answer
    content = frames.decode(old)
    assert content is not None and content[:3] == bytes([12, C.READ_STATE | 0x80, OK])
    first, second = (agent(C.HELLO, n * 4, sequence=13)[1][:4] for n in (b"a", b"b"))
    assert (first, second) == (b"aaaa", b"bbbb"), "a greeting is always answered anew"


COMPLAINT = bytes([0, 0x80, DAMAGED])


def test_what_is_no_frame_is_complained_of(start: Start) -> None:
    """Cut, damaged, too short, too long: the next frame is understood."""
    agent = start()
    whole = frames.encode(bytes([1, C.INFER]))
    for damaged in (
        b"\0\x05ab\0",
        whole[:-2] + b"\0",
        whole[:3] + bytes([whole[3] ^ 1]) + whole[4:],
        b"\0" + frames.stuff(b"a" + words(zlib.crc32(b"a"))) + b"\0",
        b"\0" + frames.stuff(b"ab") + b"\0",
        b"\0" + b"\1" * 600 + b"\0",
        b"\0" + b"\xff" * 528 + b"\0",
        b"\0" + b"\x07" + b"\0",
    ):
        content = frames.decode(agent.raw(damaged))
        assert content == COMPLAINT, damaged
        assert agent(C.INFER)[0] == OK
    for at in range(6):  # each bit of the checksum counts
        for bit in range(8):
            plain = bytearray(bytes([3, C.INFER]) + words(zlib.crc32(bytes([3, C.INFER]))))
            plain[at] ^= 1 << bit
            assert frames.decode(agent.raw(b"\0" + frames.stuff(bytes(plain)) + b"\0")) == COMPLAINT
    assert frames.decode(agent.raw(b"\0\0\0" + frames.encode(bytes([77, C.INFER])))) == bytes([77, C.INFER | 0x80, OK])


def test_frames_of_every_length_and_content(start: Start) -> None:
    """Zeros and long runs without one, up to the longest frame there is, go through the adapter's buffer unchanged."""
    agent = start()
    for n in (1, 2, 249, 250, 251, 252, 253, 254, 255, 256, 257, 300):
        for fill in (bytes(n), b"\xff" * n, bytes(range(1, 256)) * 2, b"\x01" + bytes(n - 1), b"\xaa" * (n - 1) + b"\0"):
            data = fill[:n]
            assert agent(C.WRITE_ADAPTER, words(0) + data) == (OK, b"")
            assert agent(C.READ_ADAPTER, words(0, len(data))) == (OK, data)
    assert agent(C.WRITE_ADAPTER, words(0) + bytes(512 + 2))[0] == REQUEST, "a frame of 520 bytes of content is read"
    longest = frames.stuff(bytes([60, C.WRITE_ADAPTER]) + b"\x55" * 518 + words(zlib.crc32(bytes([60, C.WRITE_ADAPTER]) + b"\x55" * 518)))
    assert frames.decode(agent.raw(b"\0" + longest + b"\0")) == bytes([60, C.WRITE_ADAPTER | 0x80, REQUEST])
    assert frames.decode(agent.raw(b"\0" + longest + b"\1\0")) == COMPLAINT, "one byte more than the buffer has"


# ---- Areas ----


@pytest.mark.parametrize(
    ("write", "read", "size"),
    [
        (C.WRITE_INPUT, None, INPUT),
        (C.WRITE_TARGET, None, 4 * TARGETS),
        (C.WRITE_ADAPTER, C.READ_ADAPTER, ADAPTER_BYTES),
        (C.WRITE_STATE, None, STATE_BYTES),
        (None, C.READ_OUTPUT, OUTPUT),
        (None, C.READ_STATE, STATE_BYTES),
    ],
)
def test_ranges_of_areas(write: Command | None, read: Command | None, size: int, start: Start) -> None:
    agent = start()
    if write is not None:
        for offset, length, status in (
            (0, size, OK),
            (0, size + 1, REQUEST),
            (1, size - 1, OK),
            (1, size, REQUEST),
            (size, 0, OK),
            (size, 1, REQUEST),
            (size + 1, 0, REQUEST),
            (2**32 - 1, 2, REQUEST),
            (2**31, 0, REQUEST),
        ):
            assert agent(write, words(offset) + b"z" * length) == (status, b""), (offset, length)
        for cut in range(4):
            assert agent(write, bytes(cut)) == (REQUEST, b"")
    if read is not None:
        for offset, length, status in (
            (0, size, OK),
            (0, size + 1, REQUEST),
            (1, size - 1, OK),
            (1, size, REQUEST),
            (size, 0, OK),
            (size, 1, REQUEST),
            (size + 1, 0, REQUEST),
            (2**32 - 1, 2, REQUEST),
            (0, 513, REQUEST),
            (0, 2**32 - 1, REQUEST),
        ):
            found = agent(read, words(offset, length))
            assert found[0] == status and len(found[1]) == (length if status == OK else 0)
        assert agent(read, words(0))[0] == agent(read, words(0, 0) + b"x")[0] == REQUEST


def test_what_is_written_arrives_where_it_was_meant(start: Start) -> None:
    agent = start()
    assert agent.infer(1, 2, 3) == [1, 2, 3]
    assert agent(C.WRITE_INPUT, words(1) + b"\x09")[0] == OK and agent(C.INFER)[0] == OK
    assert agent(C.READ_OUTPUT, words(1, 2)) == (OK, b"\x09\x03")
    assert (
        agent(C.WRITE_TARGET, words(0) + struct.pack("<2f", 0.5, 1.0))[0] == OK and agent(C.WRITE_TARGET, words(4) + struct.pack("<f", 4.0))[0] == OK
    )
    assert agent(C.TRAIN, words(7)) == (OK, struct.pack("<f", 7 + 0.5 + 8.0 + 1.0))


# ---- The model's calls ----


def test_calls_hand_on_statuses_and_numbers(start: Start) -> None:
    agent = start()
    assert agent(C.APPLY)[0] == NOT_TRAINED and agent(C.TRAIN, words(2**32 - 1)) == (LABEL, bytes(4))
    assert agent(C.TRAIN, words(1))[0] == OK and agent(C.APPLY) == (OK, b"") and agent(C.APPLY)[0] == NOT_TRAINED
    for cut in (b"", bytes(3), bytes(5)):
        assert agent(C.TRAIN, cut)[0] == agent(C.SET_LEARNING_RATE, cut)[0] == agent(C.LOAD_ADAPTER, cut)[0] == REQUEST
    assert agent(C.SET_LEARNING_RATE, struct.pack("<f", -1))[0] == ARGUMENT and agent(C.SET_LEARNING_RATE, struct.pack("<f", 0.3))[0] == OK
    assert agent(C.READ_STATE, words(0, 16)) == (OK, struct.pack("<3If", 0x600D, 1, 1, 0.3))
    assert agent(C.WRITE_INPUT, words(3) + b"\x63")[0] == OK and agent(C.INFER) == (PAGE, b"")
    assert agent(C.RESET) == (OK, b"") and agent(C.READ_STATE, words(0, 16))[1] == struct.pack("<3If", 0x600D, 0, 0, 0.5)


def test_a_model_without_training_says_so(start: Start) -> None:
    agent = start("bare")
    for code, data in (
        (C.TRAIN, words(1)),
        (C.APPLY, b""),
        (C.SET_LEARNING_RATE, bytes(4)),
        (C.EXPORT_ADAPTER, b""),
        (C.LOAD_ADAPTER, words(4)),
        (C.RESUME, b""),
    ):
        assert agent(code, data) == (UNSUPPORTED, b""), code
    assert agent(C.INFER)[0] == STATE, "a resume that failed leaves no model"
    assert agent(C.RESET)[0] == OK and agent(C.INFER)[0] == OK


def test_a_state_that_is_being_written_is_not_used(start: Start) -> None:
    agent = start()
    agent(C.TRAIN, words(1))
    saved = agent(C.READ_STATE, words(0, STATE_BYTES))[1]
    assert agent(C.WRITE_STATE, words(STATE_BYTES) + b"x")[0] == REQUEST and agent(C.INFER)[0] == OK, "nothing was written"
    assert agent(C.RESET)[0] == OK
    assert agent(C.WRITE_STATE, words(0) + saved[:8])[0] == OK
    for code, data in (
        (C.INFER, b""),
        (C.TRAIN, words(1)),
        (C.APPLY, b""),
        (C.SET_LEARNING_RATE, bytes(4)),
        (C.READ_STATE, words(0, 4)),
        (C.EXPORT_ADAPTER, b""),
        (C.LOAD_ADAPTER, words(4)),
        (C.STORE_ADAPTER, words(4) + name("a")),
        (C.LIST_ADAPTERS, words(0)),
    ):
        assert agent(code, data) == (STATE, b""), code
    for code, data in (
        (C.READ_OUTPUT, words(0, 3)),
        (C.READ_ADAPTER, words(0, 3)),
        (C.WRITE_INPUT, words(0)),
        (C.WRITE_TARGET, words(0)),
        (C.STATS, b""),
    ):
        assert agent(code, data)[0] == OK
    assert agent(C.WRITE_STATE, words(8) + saved[8:])[0] == OK and agent(C.RESUME) == (OK, b"")
    assert agent(C.READ_STATE, words(0, STATE_BYTES))[1] == saved
    assert agent(C.WRITE_STATE, words(0) + b"bad!")[0] == OK and agent(C.RESUME) == (STATE_FOREIGN, b"")
    assert agent(C.INFER)[0] == STATE and agent(C.REBOOT) == (OK, b"") and agent(C.INFER)[0] == OK


@pytest.mark.parametrize("large", range(8))
def test_a_model_that_the_agent_was_not_built_for(large: int, start: Start) -> None:
    agent = start(large=large)
    assert agent(C.RESET)[0] == agent(C.RESUME)[0] == agent(C.REBOOT)[0] == MEMORY and agent(C.INFER)[0] == STATE


def test_ticks_and_stack_of_the_last_measured_call(start: Start) -> None:
    """The model takes a known amount more for each unit that its input asks for."""
    agent = start()
    assert agent(C.STATS) == (OK, words(0, 0, 0, 0, 4 * 8192, ARENA, STATE_BYTES))
    found = {}
    for units in (0, 10, 20, 60):
        agent.infer(0, 0, 0, 0, units)
        command, low, high, stack, whole, *rest = struct.unpack("<7I", agent(C.STATS)[1])
        assert (command, low | high << 32, whole, rest) == (C.INFER, 0x123456789A, 4 * 8192, [ARENA, STATE_BYTES])
        found[units] = stack
    each = (found[20] - found[10]) / 10
    assert 16 <= each <= 1024 and found[60] - found[20] == 40 * each and 0 < found[0] < 4096 and found[10] - found[0] == 10 * each
    agent(C.TRAIN, words(1))
    assert struct.unpack("<7I", agent(C.STATS)[1])[0] == C.TRAIN and agent(C.SET_LEARNING_RATE, bytes(4))[0] == OK
    assert struct.unpack("<7I", agent(C.STATS)[1])[0] == C.TRAIN, "only what is measured counts"
    agent(C.APPLY)
    assert struct.unpack("<7I", agent(C.STATS)[1])[0] == C.APPLY


# ---- Adapters ----


def test_export_and_load(start: Start) -> None:
    agent = start()
    size = agent.put(adapter(1, -2, 3))
    assert agent(C.LOAD_ADAPTER, words(size)) == (OK, b"") and agent.infer(10, 10, 10) == [11, 8, 13]
    status, data = agent(C.EXPORT_ADAPTER)
    (length,) = struct.unpack("<I", data)
    exported = kt.Adapter(agent(C.READ_ADAPTER, words(0, length))[1])
    assert status == OK and exported.payload == struct.pack("<3i", 1, -2, 3)
    assert agent(C.LOAD_ADAPTER, words(length)) == (OK, b"") and agent(C.LOAD_ADAPTER, words(length - 1))[0] == ADAPTER
    assert agent(C.LOAD_ADAPTER, words(ADAPTER_BYTES))[0] == ADAPTER and agent(C.LOAD_ADAPTER, words(ADAPTER_BYTES + 1))[0] == REQUEST
    assert agent.infer(10, 10, 10) == [11, 8, 13]


def listed(agent: Agent) -> dict[str, int]:
    status, data = agent(C.LIST_ADAPTERS, words(0))
    assert status == OK and len(data) % 25 == 4 and data[-4:] == words(3)
    return {data[i + 1 : i + 25].rstrip(b"\0").decode(): data[i] for i in range(0, len(data) - 4, 25)}


def test_a_pool_of_three(start: Start) -> None:
    agent = start()
    assert listed(agent) == {}
    for i, word in enumerate(("one", "two")):
        size = agent.put(adapter(10 + i, 0, 0, name="own"))
        assert agent(C.STORE_ADAPTER, words(size) + name(word)) == (OK, b"")
    assert agent(C.STORE_ADAPTER, words(size) + name("two"))[0] == EXISTS and agent(C.STORE_ADAPTER, words(size - 1) + name("x"))[0] == ADAPTER
    assert agent(C.STORE_ADAPTER, words(size) + name(""))[0] == OK, "under the name in the file"
    assert agent(C.STORE_ADAPTER, words(size) + name("four"))[0] == FULL
    assert (
        agent(C.STORE_ADAPTER, words(ADAPTER_BYTES) + name("x"))[0] == ADAPTER
        and agent(C.STORE_ADAPTER, words(ADAPTER_BYTES + 1) + name("x"))[0] == REQUEST
    )
    assert listed(agent) == {"one": 0, "two": 0, "own": 0}
    assert agent(C.SELECT_ADAPTER, name("two")) == (OK, b"") and agent.infer(1, 1, 1) == [12, 1, 1] and listed(agent)["two"] == 1
    assert agent(C.SELECT_ADAPTER, name("three"))[0] == MISSING == agent(C.REMOVE_ADAPTER, name("three"))[0]
    assert agent(C.REMOVE_ADAPTER, name("two"))[0] == BUSY and agent(C.REMOVE_ADAPTER, name("one")) == (OK, b"")
    assert agent(C.SELECT_ADAPTER, name("")) == (OK, b"") and agent.infer(1, 1, 1) == [1, 1, 1] and agent(C.REMOVE_ADAPTER, name("two"))[0] == OK
    assert listed(agent) == {"own": 0}
    for code, before in ((C.STORE_ADAPTER, 4), (C.SELECT_ADAPTER, 0), (C.REMOVE_ADAPTER, 0)):
        for length in (0, before, before + 23, before + 25):
            assert agent(code, bytes(length))[0] == REQUEST
    for length in (0, 3, 5):
        assert agent(C.LIST_ADAPTERS, bytes(length))[0] == REQUEST
    assert agent(C.LIST_ADAPTERS, words(3)) == (OK, words(3))


def test_a_list_is_read_in_pieces_from_any_index() -> None:
    """At most 20 names a frame; the number behind them is where to go on."""
    agent = Agent(program(resident=23))
    size = agent.put(adapter(1, 2, 3))
    for i in range(23):
        assert agent(C.STORE_ADAPTER, words(size) + name(f"n{i}"))[0] == OK
    pieces = {first: agent(C.LIST_ADAPTERS, words(first))[1] for first in (0, 2, 20, 23, 2**32 - 1)}
    assert {first: (len(data) // 25, data[-4:]) for first, data in pieces.items()} == {
        0: (20, words(20)),
        2: (20, words(22)),
        20: (3, words(23)),
        23: (0, words(23)),
        2**32 - 1: (0, words(2**32 - 1)),
    }
    assert pieces[20][1:4] == b"n20" and agent.close() == 17


@pytest.mark.parametrize("what", ["reset", "resume", "load", "reboot"])
def test_no_stored_adapter_is_active_after(what: str, start: Start) -> None:
    agent = start()
    size = agent.put(adapter(5, 5, 5))
    assert agent(C.STORE_ADAPTER, words(size) + name("a"))[0] == OK and agent(C.SELECT_ADAPTER, name("a"))[0] == OK and listed(agent) == {"a": 1}
    if what == "load":
        assert agent(C.LOAD_ADAPTER, words(size - 1))[0] == ADAPTER and listed(agent) == {"a": 1}, "what failed changed nothing"
    assert agent(*{"reset": (C.RESET,), "resume": (C.RESUME,), "load": (C.LOAD_ADAPTER, words(size)), "reboot": (C.REBOOT,)}[what])[0] == OK  # type: ignore[arg-type]
    assert listed(agent) == ({} if what == "reboot" else {"a": 0})


def test_no_state_moves_while_no_model_is_ready(start: Start) -> None:
    """REBOOT works where the model was not ready, and other stored-adapter commands do not."""
    agent = start()
    assert agent(C.WRITE_STATE, words(0) + b"xxxx")[0] == OK
    for code in range(18, 28):
        assert agent(code, bytes(8))[0] == (OK if code == C.REBOOT else STATE), code
        if code == C.REBOOT:
            assert agent(C.WRITE_STATE, words(0) + b"xxxx")[0] == OK


# ---- Updates ----


def update(agent: Agent, made: kt.Adapter, chunk: int = 64, **options: int) -> int:
    """The status of an update, up to the first that is not 0."""
    for code, data in [
        (C.UPDATE_BEGIN, words(len(made), 0)),
        *((C.UPDATE_WRITE, words(at) + made.data[at : at + chunk]) for at in range(0, len(made), chunk)),
        (C.UPDATE_INSTALL, b""),
    ]:
        status, answer = agent(code, data)
        assert answer == (words(FLASH) if code == C.UPDATE_BEGIN else b"")
        if status != OK:
            return status
    return OK


def test_updates_in_simulated_flash(start: Start) -> None:
    agent = start("infer")
    first, second = adapter(1, 1, 1, name="first"), adapter(2, 0, 0, name="second")
    assert update(agent, first) == OK and agent.infer(0, 0, 0) == [1, 1, 1]
    assert update(agent, second) == OK and agent.infer(0, 0, 0) == [2, 0, 0]
    assert agent(C.REBOOT)[0] == OK and agent.infer(0, 0, 0) == [2, 0, 0]
    assert [agent(C.UPDATE_BEGIN, words(1 << bit, 0))[0] for bit in (16, 24)] == [FULL, FULL]
    assert agent(C.UPDATE_BEGIN, words(len(first), 0))[0] == agent(C.UPDATE_WRITE, words(0) + first.data[:64])[0] == OK
    assert agent(C.UPDATE_BEGIN, words(len(first), 0))[0] == OK and agent(C.UPDATE_WRITE, words(64) + first.data[64:72])[0] == MISSING, "begun anew"
    assert update(agent, adapter(90, 0, 0)) == SELF_TEST and agent.infer(0, 0, 0) == [2, 0, 0]
    assert agent(C.UPDATE_INSTALL)[0] == MISSING
    for code, right in ((C.UPDATE_BEGIN, 8), (C.UPDATE_HASH, 8)):
        for length in (0, right - 1, right + 1):
            assert agent(code, bytes(length)) == (REQUEST, b"")
    for length in range(4):
        assert agent(C.UPDATE_WRITE, bytes(length))[0] == REQUEST
    assert agent(C.UPDATE_WRITE, words(0))[0] == MISSING, "no bytes are a right length"
    capacity = -(-(32 + ADAPTER_BYTES) // FLASH) * FLASH - 32
    assert update(agent, first) == OK and agent(C.UPDATE_HASH, words(0, capacity))[0] == OK, "the whole second slot is there"
    assert update(agent, second) == OK and agent(C.UPDATE_HASH, words(0, capacity))[0] == OK
    assert agent(C.UPDATE_BEGIN, words(capacity + 1, 0))[0] == FULL and agent(C.UPDATE_BEGIN, words(capacity, 0))[0] == OK


def test_an_update_is_given_up_or_goes_on(start: Start) -> None:
    agent = start("infer")
    made = adapter(3, 2, 1)
    assert update(agent, adapter(1, 1, 1)) == OK
    assert agent(C.UPDATE_BEGIN, words(len(made), 0))[0] == OK and agent(C.UPDATE_WRITE, words(0) + made.data[:96])[0] == OK
    fnv = 0x811C9DC5
    for byte in made.data[:96]:
        fnv = (fnv ^ byte) * 0x01000193 % 2**32
    assert agent(C.UPDATE_HASH, words(0, 96)) == (OK, words(fnv, FLASH))
    assert agent(C.REBOOT)[0] == OK and agent(C.UPDATE_WRITE, words(96) + made.data[96:104])[0] == MISSING
    assert agent(C.UPDATE_BEGIN, words(len(made), 96)) == (OK, words(FLASH))
    for at in range(96, len(made), 64):
        assert agent(C.UPDATE_WRITE, words(at) + made.data[at : at + 64])[0] == OK
    assert agent(C.UPDATE_INSTALL)[0] == OK and agent.infer(0, 0, 0) == [3, 2, 1]
    assert agent(C.UPDATE_BEGIN, words(len(made), 0))[0] == OK and agent(C.UPDATE_ABANDON) == (OK, b"")
    assert agent(C.UPDATE_WRITE, words(0) + made.data[:64])[0] == MISSING and agent.infer(0, 0, 0) == [3, 2, 1]


def test_an_update_and_the_pool(start: Start) -> None:
    """A successful update takes the place of what was selected; one that fails leaves it."""
    agent = start("infer")
    size = agent.put(adapter(7, 7, 7))
    assert agent(C.STORE_ADAPTER, words(size) + name("mine"))[0] == OK and agent(C.SELECT_ADAPTER, name("mine"))[0] == OK
    assert update(agent, adapter(90, 0, 0)) == SELF_TEST and agent.infer(0, 0, 0) == [7, 7, 7] and listed(agent) == {"mine": 1}
    assert update(agent, adapter(4, 4, 4)) == OK and agent.infer(0, 0, 0) == [4, 4, 4] and listed(agent) == {"mine": 0}


def test_a_build_without_slots_or_without_adapters() -> None:
    agent = Agent(program(flash=0))
    assert listed(agent) == {} and agent.put(adapter(1, 2, 3))
    for code in range(22, 28):
        assert agent(code, bytes(8)) == ((OK if code == C.REBOOT else UNSUPPORTED), b"")
    assert agent.close() == 17
    none = Agent(program(adapter=0), "bare")
    for code in range(18, 28):
        assert none(code, words(0) + name("a")) == ((OK if code == C.REBOOT else UNSUPPORTED), b"")
    assert none(C.RESET)[0] == OK and none.close() == 17
