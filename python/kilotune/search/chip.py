"""What a board's chip adds to the cost of a set: energy of a training step, and what an update of the adapter wears off the flash."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kiloc import CORES, TARGETS, CompileError

from .. import boards

SLOT_RECORD = 32
"""Bytes in front of an adapter file in flash (`kt/adapter_slots.h`)."""
STORE_RECORD = 32
"""Bytes in front of a state that is kept over resets, and what records are aligned to (`kt/state_store.h`)."""
SLOTS = 2
"""Of an adapter, which updates fill by turns."""
JOULES = {"nJ": 1e-9, "uJ": 1e-6, "mJ": 1e-3, "J": 1.0}


@dataclass(frozen=True)
class Chip:
    """A board as a search sees it. clock: Hz; nanojoules: of an instruction, for plans; page_bytes, cycles: erased together, and how often.

    None: board.toml does not say.
    """

    board: str
    target: str
    clock: int | None
    nanojoules: float | None
    page_bytes: int | None
    cycles: int | None

    @staticmethod
    def of(board: str) -> Chip:
        """Raises CompileError for a core that nothing is searched for, DeviceError where there is no such board."""
        found = boards.load(board)
        if found.core not in CORES:
            raise CompileError(f"board={board!r}", f"its core is {found.core}", "name a board with a microcontroller: `kilotune boards`")
        target = found.core if found.core in TARGETS else "cortex-m0plus"
        flash = found.flash
        return Chip(found.name, target, found.clock_hz, found.nanojoules, flash.erase_bytes if flash else None, flash.erase_cycles if flash else None)

    def energy(self, instructions: int) -> float | None:
        """Joules."""
        return None if self.nanojoules is None else 1e-9 * self.nanojoules * instructions

    def erases(self, adapter_bytes: int) -> int | None:
        """Sectors that one update of an adapter in flash erases."""
        return None if self.page_bytes is None else -(-(SLOT_RECORD + adapter_bytes) // self.page_bytes)

    def erases_a_save(self, state_bytes: int) -> float | None:
        """Sectors that keeping a state in the ring of `kt/state_store.h` erases, on average: a record begins at a multiple of 32 bytes."""
        return None if self.page_bytes is None else -(-(STORE_RECORD + state_bytes) // STORE_RECORD) * STORE_RECORD / self.page_bytes

    @property
    def updates(self) -> int | None:
        """That the flash takes before it is worn: every sector of a slot is erased at every second one."""
        return None if self.cycles is None else self.cycles * SLOTS


def parse_energy(energy: int | float | str | None) -> float | None:
    """Joules of 0.002 or "2mJ". Raises CompileError."""
    if energy is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]-?\d+)?)\s*(nJ|uJ|mJ|J)?", str(energy).strip())
    if isinstance(energy, bool) or not match or float(match[1]) <= 0:
        raise CompileError(f"energy={energy!r}", "is no energy", 'write what one training step may take as "2mJ", or joules as a number')
    return float(match[1]) * JOULES[match[2] or "J"]


def parse_wear(wear: int | str | None) -> int | None:
    """Sectors that an update may erase, of 3 or "3". Raises CompileError."""
    if wear is None:
        return None
    if isinstance(wear, bool) or not re.fullmatch(r"\d+", str(wear).strip()) or int(wear) < 1:
        hint = "write how many sectors an update of the adapter may erase, 1 for example"
        raise CompileError(f"flash_wear={wear!r}", "is no number of sectors", hint)
    return int(wear)


def check(chip: Chip | None, energy: float | None, wear: int | None) -> None:
    """Raises CompileError where a budget needs what no board says."""
    for option, value, known, entry in (
        ("energy", energy, chip and chip.nanojoules, "nanojoules_per_instruction in [energy]"),
        ("flash_wear", wear, chip and chip.page_bytes, "erase_bytes in [flash]"),
    ):
        if value is not None and chip is None:
            raise CompileError(option, "depends on the board", 'name it: board="nano33ble" (--board), see `kilotune boards`')
        if value is not None and not known:
            assert chip is not None
            hint = "choose a board that does, or describe your own: boards/README.md"
            raise CompileError(option, f"board.toml of {chip.board} does not say {entry}", hint)
