"""How much stack the functions of a linked program for a microcontroller take at most, from the program's own instructions.

Each function is followed along all its branches with the bytes that lie on the stack, from its entry (0) to its returns. What it calls adds to
what lies there at the call, so that a tail call adds nothing of the caller's frame. Functions of the compiler's and C libraries (memcpy, soft float)
are followed like any other: they are in the linked program, while `-fstack-usage` knows only what it compiles. Tests hold the frames and the calls
that are found here against the compiler's own (`-fcallgraph-info=su`).

What cannot be followed is named instead of guessed: recursion, a stack pointer that moves by a variable (alloca, an array of variable length), and
a call through a pointer whose functions are not known. Frames that exceptions push are not counted: how they nest is the firmware's choice.
"""

from __future__ import annotations

from .budget import budget, check
from .calls import POINTERS, bounds, unknown
from .code import Code
from .program import Bound, Program

__all__ = ["POINTERS", "Bound", "Code", "Program", "bounds", "budget", "check", "unknown"]
