"""The streaming wake word of MLPerf Tiny: which share of the time a core is busy with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import kilotune as kt

MODEL = "sww"
HOP, WINDOW, FRAMES, RATE = 512, 1024, 30, 16_000
FRONT_END = kt.LogMel(samples=WINDOW + (FRAMES - 1) * HOP, window=WINDOW, hop=HOP, bands=40, low=20, high=8000, level="full_scale")
"""Frames of 64 ms, 32 ms apart, as the benchmark has them; its own bands are of the power, behind a pre-emphasis."""


@dataclass(frozen=True)
class Board:
    """Where the peer ran: clock in Hz, and its duty cycle."""

    name: str
    clock: float
    peer: float


BOARDS = {"m4": Board("NUCLEO-L4R5ZI", 120e6, 0.559), "m33": Board("NUCLEO-U575ZI-Q", 160e6, 0.363)}
GAIN = 1.6
"""How much less than the peer's is asked for."""


@dataclass(frozen=True)
class Busy:
    """Instructions of one call on a core, and M4 cycles: of the front end for all frames, and of inference."""

    core: str
    instructions: tuple[int, int]
    cycles: tuple[int, int] | None


ABOUT = f"""
Every {1000 * HOP // RATE} ms a frame of features and a whole inference over the last {FRAMES} frames, as the benchmark runs its model. The duty
cycle is their time over these {1000 * HOP // RATE} ms. The front end is `LogMel` in integers with the benchmark's frames and bands (one frame
of {FRAMES} is counted; its own, in float32, has a pre-emphasis and powers in place of magnitudes). Cycles are those of the counter's model of a
Cortex-M4; Cortex-M33 is given as many an instruction. X-CUBE-AI's were measured, on boards.
"""


def rows(found: Sequence[Busy]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table."""
    head = ["core", "board", "MHz", "front end, Minstr", "inference, Minstr", "Mcycles", "duty cycle", "X-CUBE-AI", f"target, {GAIN} times less"]
    known = next((b for b in found if b.cycles), None)
    made = []
    for busy in found:
        board, each = BOARDS[busy.core], (1 / FRAMES, 1.0)
        counts = [n * share for n, share in zip(busy.instructions, each, strict=True)]
        cycles = busy.cycles
        if cycles is None and known is not None and known.cycles is not None:
            cycles = tuple(round(n * c / i) for n, c, i in zip(busy.instructions, known.cycles, known.instructions, strict=True))  # type: ignore[assignment]
        if cycles is None:
            duty, shown, met = None, "-", "-"
        else:
            total = sum(c * share for c, share in zip(cycles, each, strict=True))
            duty, limit = total / (board.clock * HOP / RATE), board.peer / GAIN
            shown = f"{total / 1e6:.3f}"
            met = f"{limit:.3f} {'met' if duty <= limit else f'missed by {100 * (duty / limit - 1):.0f} %'}"
        first = [busy.core, board.name, f"{board.clock / 1e6:.0f}", *(f"{n / 1e6:.3f}" for n in counts)]
        made.append([*first, shown, "-" if duty is None else f"{duty:.3f}", f"{board.peer:.3f}", met])
    return head, made
