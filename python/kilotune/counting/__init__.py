"""Instructions of a training step, counted on the emulated chip: each kernel call of a build, or the whole step.

marks     the generated C with a mark around every call
program   the program that trains and counts, and what it says
"""

from .marks import called, marked
from .program import counted_calls, counted_step, machine

__all__ = ["called", "counted_calls", "counted_step", "machine", "marked"]
