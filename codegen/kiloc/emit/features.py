"""A front end in the generated C: where its scratch lies in the arena, and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..errors import CompileError
from ..features import FeaturePlan, LogMel, plan
from ..ir.graph import Value
from .c_names import Code, c_array

WORD = 4


@dataclass(frozen=True)
class CTable:
    """A constant array of the front end."""

    name: Code
    ctype: Code
    size: int
    text: Code
    comment: str


@dataclass(frozen=True)
class CFeatures:
    """What the templates need of a front end. scratch_at: its place in the arena, beside the input where that lies there too."""

    plan: FeaturePlan
    tables: tuple[CTable, ...]
    scratch_at: int

    @property
    def front(self) -> LogMel:
        return self.plan.front

    @property
    def arena_bytes(self) -> int:
        return self.scratch_at + self.plan.scratch_bytes


def c_features(front: LogMel, inputs: list[tuple[str, Value]], input_at: int | None) -> CFeatures:
    """The front end for a model of these inputs. input_at: where the input lies in the arena; None: in a buffer of the caller."""
    shown = f"{type(front).__name__} gives {front.frames} x {front.width} values"
    if len(inputs) != 1 or inputs[0][1].type.dtype != "int8":
        types = ", ".join(v.type.dtype for _, v in inputs)
        raise CompileError("features", f"{shown} as int8, the model's inputs are {types}", "leave features out, or take a model of one int8 input")
    t = inputs[0][1].type
    if t.size != front.frames * front.width:
        what = f"{shown}, the model takes {' x '.join(map(str, t.shape[1:]))}"
        raise CompileError(
            "features", what, "samples, window and hop decide how many frames there are, bands or coefficients how many values each has"
        )
    made = plan(front, t.scale, t.zero_point)
    tables = (
        _table("window", "uint16_t", made.window, "Hann window, 15 bits of fraction"),
        _table("sine", "int32_t", made.sine, "a quarter of a period, 30 bits of fraction"),
        _table("band_start", "uint16_t", made.band_start, "first frequency of each band"),
        _table("band_count", "uint16_t", made.band_count, "frequencies of each band"),
        _table("weights", "uint16_t", made.weights, "of the frequencies of all bands, 15 bits of fraction"),
        _table("logarithm", "uint16_t", made.logarithm, "log2(1 + i / 128), 16 bits of fraction"),
        _table("matrix", "int16_t", made.matrix, "from logarithms to steps of the input"),
    )
    beside = 0 if input_at is None or input_at >= made.scratch_bytes else -(-(input_at + t.bytes) // WORD) * WORD
    return CFeatures(made, tables, beside)


def _table(name: str, ctype: str, data: NDArray[Any], comment: str) -> CTable:
    return CTable(Code(name), Code(ctype), data.size, c_array(data), comment)
