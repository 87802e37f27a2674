"""The streaming wake word of MLPerf Tiny: which share of the time a core is busy with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import kilotune as kt

MODEL = "sww"
HOP, WINDOW, FRAMES, RATE = 512, 1024, 30, 16_000
FRONT_END = kt.LogMel(samples=WINDOW, window=WINDOW, hop=HOP, bands=40, low=20, high=8000, level="full_scale")
"""A frame of 64 ms, 32 ms behind the last, as the benchmark has them; its own bands are of the power, behind a pre-emphasis."""


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
    """Instructions of one call on a core, and M4 cycles: of the front end for a frame, and of inference.

    slides: inference takes that frame alone (`by_position`), else the whole window.
    """

    core: str
    slides: bool
    instructions: tuple[int, int]
    cycles: tuple[int, int] | None


ABOUT = f"""
Every {1000 * HOP // RATE} ms a frame of features, and the result of the model on the last {FRAMES} frames. Either a whole inference over all of
them, as the benchmark runs its model, or with `by_position=True` on the newest alone: layers compute one row and keep those of before, with the
same bits from the {FRAMES}th call on. The duty cycle is the time of both over these {1000 * HOP // RATE} ms. The front end is `LogMel` in integers
with the benchmark's frames and bands (its own, in float32, has a pre-emphasis and powers in place of magnitudes). Cycles are those of the
counter's model of a Cortex-M4; Cortex-M33 is given as many an instruction. X-CUBE-AI's were measured, on boards, with whole inferences.
"""


def rows(found: Sequence[Busy]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table."""
    head = [
        "core",
        "inference",
        "board",
        "MHz",
        "front end, Minstr",
        "inference, Minstr",
        "Mcycles",
        "duty cycle",
        "X-CUBE-AI",
        f"target, {GAIN} times less",
    ]
    made = []
    for busy in found:
        board, cycles = BOARDS[busy.core], busy.cycles
        known = next((b for b in found if b.cycles and b.slides == busy.slides), None)
        if cycles is None and known is not None and known.cycles is not None:
            cycles = tuple(round(n * c / i) for n, c, i in zip(busy.instructions, known.cycles, known.instructions, strict=True))  # type: ignore[assignment]
        if cycles is None:
            duty, shown, met = None, "-", "-"
        else:
            duty, limit = sum(cycles) / (board.clock * HOP / RATE), board.peer / GAIN
            shown = f"{sum(cycles) / 1e6:.3f}"
            met = f"{limit:.3f} {'met' if duty <= limit else f'missed by {100 * (duty / limit - 1):.0f} %'}"
        taken = "one frame" if busy.slides else f"{FRAMES} frames"
        first = [busy.core, taken, board.name, f"{board.clock / 1e6:.0f}", *(f"{n / 1e6:.3f}" for n in busy.instructions)]
        made.append([*first, shown, "-" if duty is None else f"{duty:.3f}", f"{board.peer:.3f}", met])
    return head, made
