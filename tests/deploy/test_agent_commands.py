"""The agent command by command: every length, range and condition that it checks, in frames, areas and calls of the model."""

from __future__ import annotations

import struct
import zlib

import pytest

from kilotune.devices import frames
from kilotune.devices.agent import Command

from .agent_process import (
    ADAPTER_BYTES,
    ARENA,
    ARGUMENT,
    COMMAND,
    DAMAGED,
    INPUT,
    LABEL,
    MEMORY,
    NOT_TRAINED,
    OK,
    OUTPUT,
    PAGE,
    REQUEST,
    SESSION,
    STATE,
    STATE_BYTES,
    STATE_FOREIGN,
    TARGETS,
    UNSUPPORTED,
    C,
    Start,
    name,
    words,
)

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
    for code in range(2, 29):
        assert agent(code, sequence=7) == (SESSION, b""), code
    assert agent(0)[0] == agent(29)[0] == agent(99)[0] == agent(127)[0] == COMMAND
    assert agent(C.HELLO, b"abc")[0] == REQUEST and agent(C.INFER)[0] == SESSION, "a greeting that is none opens nothing"
    assert agent(C.HELLO, b"abcd")[0] == OK and agent(C.INFER)[0] == OK
    assert agent(0)[0] == agent(29)[0] == COMMAND


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
