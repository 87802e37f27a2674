"""Frames and link: the C of the agent against the Python, and both against hand-made damage."""

from __future__ import annotations

import random
import subprocess
import zlib
from collections.abc import Callable
from typing import Any

import cffi
import pytest

from kilotune import resources
from kilotune.devices import frames
from kilotune.devices.agent import Command, Link
from kilotune.devices.errors import DeviceError

STREAM = """
#include "kt_board.h"
#include "kt_link.h"
#include <string.h>

static uint8_t in[70000], out[70000];
static size_t in_next, in_end, out_end;

void give(const uint8_t *bytes, size_t n) { memcpy(in, bytes, n); in_next = 0; in_end = n; out_end = 0; }
size_t take(uint8_t *bytes) { memcpy(bytes, out, out_end); return out_end; }
int kt_board_read(void) { return in_next < in_end ? in[in_next++] : -1; }
void kt_board_write(const uint8_t *bytes, size_t n) { memcpy(out + out_end, bytes, n); out_end += n; }
"""

DECLARATIONS = """
void give(const uint8_t *bytes, size_t n);
size_t take(uint8_t *bytes);
int kt_link_receive(uint8_t *buffer, size_t *length);
void kt_link_send(uint8_t *content, size_t length);
uint32_t kt_link_crc32(const uint8_t *bytes, size_t length);
size_t kt_link_unstuff(uint8_t *bytes, size_t length);
"""

FRAME, DAMAGED, CLOSED = 0, 1, 2


@pytest.fixture(scope="module")
def agent_link(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The agent's link.c with its board replaced by two arrays."""
    folder = tmp_path_factory.mktemp("link")
    (folder / "stream.c").write_text(STREAM)
    include = [f"-I{resources.agent()}", f"-I{resources.boards()}"]
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-shared", "-fPIC"]
    library = folder / "link.so"
    subprocess.run(["gcc", *flags, *include, folder / "stream.c", resources.agent() / "kt_link.c", "-o", library], check=True)
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    return ffi, ffi.dlopen(str(library))


def samples() -> list[bytes]:
    """Contents at every edge of COBS's blocks, and random ones with many zeros."""
    rng = random.Random(1)
    edges = [b"\1\2" + b"\xff" * n + tail for n in (0, 246, 247, 248, 249, 250, 252, 253, 254, 255, 500, 502) for tail in (b"", b"\0", b"\0\0")]
    return edges + [bytes(rng.choice((0, 0, 1, 255, rng.randrange(256))) for _ in range(rng.randrange(2, 520))) for _ in range(200)]


def test_stuffing_has_no_zero_and_comes_back() -> None:
    for content in samples():
        assert 0 not in frames.stuff(content)
        assert frames.unstuff(frames.stuff(content)) == content


@pytest.mark.parametrize(
    ("plain", "stuffed"),
    [
        (b"\0", b"\1\1"),
        (b"\0\0", b"\1\1\1"),
        (b"\x11\x22\0\x33", b"\3\x11\x22\2\x33"),
        (b"\x11\0", b"\2\x11\1"),
        (b"\1" * 254, b"\xff" + b"\1" * 254),
    ],
)
def test_stuffing_is_cobs(plain: bytes, stuffed: bytes) -> None:
    assert frames.stuff(plain) == stuffed


def test_agent_crc_is_zlibs(agent_link: tuple[Any, Any]) -> None:
    _, lib = agent_link
    for content in samples():
        assert lib.kt_link_crc32(content, len(content)) == zlib.crc32(content)


def test_agent_sends_what_python_encodes(agent_link: tuple[Any, Any]) -> None:
    ffi, lib = agent_link
    out = ffi.new("uint8_t[]", 2000)
    for content in samples():
        buffer = ffi.new("uint8_t[]", content + b"\xaa" * 4)
        lib.give(b"", 0)
        lib.kt_link_send(buffer, len(content))
        assert bytes(ffi.buffer(out, lib.take(out))) == frames.encode(content)


def receive(agent_link: tuple[Any, Any], stream: bytes) -> list[bytes | None]:
    """What the agent makes of a stream: contents, and None for what is damaged."""
    ffi, lib = agent_link
    buffer, length = ffi.new("uint8_t[]", 600), ffi.new("size_t *")
    lib.give(stream, len(stream))
    found: list[bytes | None] = []
    while (event := lib.kt_link_receive(buffer, length)) != CLOSED:
        found.append(bytes(ffi.buffer(buffer, length[0])) if event == FRAME else None)
    return found


def test_agent_receives_what_python_encodes(agent_link: tuple[Any, Any]) -> None:
    contents = samples()
    assert receive(agent_link, b"".join(map(frames.encode, contents))) == contents


def test_agent_and_python_refuse_the_same_damage(agent_link: tuple[Any, Any]) -> None:
    rng = random.Random(2)
    refused = 0
    for content in samples():
        wire = bytearray(frames.encode(content)[1:-1])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(wire))
            wire[at] = rng.choice([b for b in range(1, 256) if b != wire[at]])
        expected = frames.decode(bytes(wire))
        assert receive(agent_link, bytes(wire) + b"\0") == [expected]
        refused += expected is None
    assert refused == len(samples())


def test_agent_survives_noise_and_overlong_input(agent_link: tuple[Any, Any]) -> None:
    good = b"\7\4data"
    for noise in (b"x" * 60000, b"\xff" * 530, random.Random(3).randbytes(3000), b"\1", b"\0" * 50):
        assert receive(agent_link, noise + frames.encode(good))[-1] == good


class Echo:
    """A transport with an agent of its own that answers each request with a count of how often it did something."""

    def __init__(self, mangle: Callable[[bytes], bytes] = lambda frame: frame) -> None:
        self.mangle = mangle
        self.waiting = b""
        self.writes = 0

    def write(self, data: bytes, timeout: float) -> bool:
        self.writes += 1
        content = frames.decode(data.strip(b"\0"))
        assert content is not None
        self.waiting += self.mangle(frames.encode(bytes([content[0], content[1] | 0x80, 0]) + content[2:]))
        return True

    def read(self, timeout: float) -> bytes:
        head, self.waiting = self.waiting[:7], self.waiting[7:]
        return head

    def close(self) -> None: ...


def test_link_ignores_stale_answers_and_text() -> None:
    last = [b"booting...\n\0"]

    def late_and_twice(frame: bytes) -> bytes:
        last.append(frame)
        return b"".join(last[-2:])

    link = Link(Echo(late_and_twice), "echo", 0.05, 1.0)
    for i in range(300):  # past the wrap of the sequence number
        assert link.request(Command.INFER, bytes([i % 256])) == bytes([i % 256])


def test_link_asks_again_when_told_of_damage() -> None:
    transport = Echo()
    damaged = iter([True, True, False])
    transport.mangle = lambda frame: frames.encode(b"\0\x80\x40") if next(damaged) else frame
    link = Link(transport, "echo", 60.0, 60.0)
    assert link.request(Command.APPLY, b"x") == b"x"
    assert (transport.writes, link.retries) == (3, 2)


def test_link_gives_up_with_what_the_board_said() -> None:
    link = Link(Echo(lambda frame: b"no model in flash\n\0"), "board", 0.01, 0.05)
    with pytest.raises(DeviceError, match="no answer from the device; it said: no model in flash"):
        link.request(Command.INFER)


def test_link_reports_a_fault_at_once() -> None:
    link = Link(Echo(lambda frame: b"\0FAULT exception 00000003 status 00000001 pc 00000000\n\0"), "board", 60.0, 60.0)
    with pytest.raises(DeviceError, match="the firmware crashed: FAULT exception 00000003"):
        link.request(Command.INFER)


def test_link_names_an_error_status() -> None:
    link = Link(Echo(lambda frame: frames.encode(bytes([frames.decode(frame.strip(b"\0"))[0], 0x87, 3]))), "board", 0.01, 0.05)  # type: ignore[index]
    with pytest.raises(DeviceError, match="a label lies outside the model's classes"):
        link.request(Command.TRAIN)
