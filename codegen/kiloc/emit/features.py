"""A front end in the generated C: where its scratch lies in the arena, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..features import KEPT, FeaturePlan, FrontEnd, check_fits
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
    member: Code


@dataclass(frozen=True)
class CFeatures:
    """What the templates need of a front end.

    scratch_at: its place in the arena, beside the input where that lies there too. continues: what it keeps is in the state, else in the arena
    behind its scratch, where each recording begins with zeros.
    """

    plan: FeaturePlan
    tables: tuple[CTable, ...]
    scratch_at: int
    continues: bool

    @property
    def front(self) -> FrontEnd:
        return self.plan.front

    @property
    def scratch_bytes(self) -> int:
        return _scratch_bytes(self.plan, self.continues)

    @property
    def arena_bytes(self) -> int:
        return self.scratch_at + self.scratch_bytes if self.scratch_bytes else 0

    @property
    def begins_with_zeros(self) -> bool:
        """Whether words of the arena are cleared for what a recording keeps from frame to frame."""
        return bool(self.front.kept) and not self.continues

    @property
    def values(self) -> int:
        """Samples of a recording, of all its channels."""
        return self.front.samples * self.front.recorded_channels

    def call(self, prefix: str, rows: str) -> Code:
        """The arguments of the C function behind its struct."""
        given = {
            "samples": "samples",
            "count": f"{prefix}_SAMPLES",
            "kept": "kept",
            "scratch": "scratch" if self.scratch_bytes else "NULL",
            "rows": rows,
        }
        return Code(", ".join(given[a] for a in self.plan.arguments))


def c_features(front: FrontEnd, inputs: list[tuple[str, Value]], input_at: int | None, state: Mapping[str, Value]) -> CFeatures:
    """The front end for a model of these inputs and values. input_at: where the input lies in the arena; None: in a buffer of the caller."""
    check_fits(front, [v.type for _, v in inputs])
    t = inputs[0][1].type
    made, continues = front.planned(t.scale, t.zero_point), KEPT in state
    tables = tuple(CTable(Code(t.name), Code(t.ctype), t.data.size, c_array(t.data), t.comment, Code(t.member or t.name)) for t in made.tables)
    scratch = _scratch_bytes(made, continues)
    beside = 0 if input_at is None or input_at >= scratch else -(-(input_at + t.bytes) // WORD) * WORD
    return CFeatures(made, tables, beside, continues)


def _scratch_bytes(plan: FeaturePlan, continues: bool) -> int:
    return plan.scratch_bytes + (0 if continues else WORD * plan.front.kept)
