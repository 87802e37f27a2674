"""The order of the state struct."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import ADAPTER_KINDS, Graph, Value


@dataclass(frozen=True)
class StateLayout:
    """Order of the state struct: largest alignment first, so that it has no holes."""

    values: tuple[Value, ...]

    HEADER = 12
    """uint32 layout and 8 bytes of hash in front."""

    @property
    def bytes(self) -> int:
        total = self.HEADER + sum(v.type.bytes for v in self.values)
        return -(-total // 4) * 4

    def offset(self, name: str) -> int:
        """Where in the struct a value lies."""
        names = [v.name for v in self.values]
        return self.HEADER + sum(v.type.bytes for v in self.values[: names.index(name)])

    @property
    def adapter(self) -> tuple[Value, ...]:
        return tuple(v for v in self.values if v.kind in ADAPTER_KINDS)


def is_scalar(v: Value) -> bool:
    """Exponents and controls are plain members of the state struct; everything else is an array."""
    return v.kind in ("exponent", "control") or (v.kind == "master" and v.type.dtype == "int8")


def state_layout(graph: Graph) -> StateLayout:
    width = {"float32": 4, "int32": 4, "int16": 2, "int8": 1, "uint8": 1}
    return StateLayout(tuple(sorted((v for v in graph.state() if v.kind != "paged"), key=lambda v: -width[v.type.dtype])))
