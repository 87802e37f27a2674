"""The agent command by command: adapters in memory, in its pool and in its slots."""

from __future__ import annotations

import struct

import pytest

import kilotune as kt

from .agent_process import (
    ADAPTER,
    ADAPTER_BYTES,
    ARGUMENT,
    BUSY,
    EMPTY,
    EXISTS,
    FLASH,
    FULL,
    MISSING,
    OK,
    REQUEST,
    SELF_TEST,
    STATE,
    UNSUPPORTED,
    Agent,
    C,
    Start,
    adapter,
    name,
    program,
    words,
)

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


# ---- Updates under noise ----


def test_updates_under_noise(start: Start) -> None:
    """Nothing is drawn without a secret or for bad numbers, nothing can be read that has no noise, and the count outlives a reset."""
    agent = start()
    base = adapter(5, 5, 5)
    agent(C.LOAD_ADAPTER, words(agent.put(adapter(1, -2, 3))))
    size = agent.put(base)
    assert agent(C.SEED_NOISE) == (OK, words(2**32 - 1)) and agent(C.PRIVATE_UPDATE, words(size, 100, 9))[0] == EMPTY
    assert agent(C.SEED_NOISE, bytes(31))[0] == REQUEST == agent(C.SEED_NOISE, bytes(33))[0]
    assert agent(C.SEED_NOISE, bytes(range(32))) == (OK, words(0))
    for clip, sigma in ((0, 9), (2**20 + 1, 9), (2**32 - 1, 9), (100, 0), (100, 2**20 + 1), (100, 2**32 - 1)):
        assert agent(C.PRIVATE_UPDATE, words(size, clip, sigma))[0] == ARGUMENT
    for length in (0, 8, 11, 13):
        assert agent(C.PRIVATE_UPDATE, bytes(length))[0] == REQUEST
    assert agent(C.PRIVATE_UPDATE, words(ADAPTER_BYTES + 1, 100, 9))[0] == REQUEST and agent(C.PRIVATE_UPDATE, words(size - 1, 100, 9))[0] == ADAPTER
    assert agent(C.READ_UPDATE, words(0, 4))[0] == REQUEST and agent(C.SEED_NOISE) == (OK, words(0)), "nothing was made, nothing counted"
    found = []
    for count in (1, 2):
        status, data = agent(C.PRIVATE_UPDATE, words(size, 100, 9))
        assert (status, data) == (OK, words(3)) and agent(C.SEED_NOISE) == (OK, words(count))
        found.append(agent(C.READ_UPDATE, words(0, 12))[1])
    assert found[0] != found[1] and agent(C.READ_UPDATE, words(4, 4)) == (OK, found[1][4:8])
    for offset, length in ((0, 13), (12, 1), (13, 0), (2**32 - 1, 2)):
        assert agent(C.READ_UPDATE, words(offset, length))[0] == REQUEST
    assert agent(C.READ_UPDATE, bytes(7))[0] == REQUEST
    assert agent(C.PRIVATE_UPDATE, words(size, 0, 9))[0] == ARGUMENT and agent(C.READ_UPDATE, words(0, 4))[0] == REQUEST
    assert agent(C.REBOOT)[0] == OK and agent(C.READ_UPDATE, words(0, 4))[0] == REQUEST and agent(C.SEED_NOISE) == (OK, words(2))
    agent(C.LOAD_ADAPTER, words(agent.put(adapter(1, -2, 3))))
    agent.put(base)
    assert agent(C.PRIVATE_UPDATE, words(size, 100, 9))[0] == OK and agent(C.READ_UPDATE, words(0, 12))[1] not in found
