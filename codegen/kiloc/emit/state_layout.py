"""The order of the state struct."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import ADAPTER_KINDS, STREAM, Graph, Value


@dataclass(frozen=True)
class StateLayout:
    """Order of the state struct: largest alignment first, so that it has no holes.

    In a build that takes adapters alone the values of one are a struct of their own: what is kept from call to call lies in front of it.
    """

    values: tuple[Value, ...]
    streams: int = 0
    """Values in front of those of an adapter, in a build that takes adapters alone."""

    HEADER = 12
    """uint32 layout and 8 bytes of hash in front."""

    @property
    def bytes(self) -> int:
        total = self.HEADER + sum(v.type.bytes for v in self.values) + self.padding
        return -(-total // 4) * 4

    @property
    def padding(self) -> int:
        """Bytes between what is kept from call to call and the values of an adapter."""
        return -sum(v.type.bytes for v in self.values[: self.streams]) % 4

    def offset(self, name: str) -> int:
        """Where in the struct a value lies."""
        names = [v.name for v in self.values]
        at = names.index(name)
        return self.HEADER + sum(v.type.bytes for v in self.values[:at]) + (self.padding if at >= self.streams else 0)

    @property
    def adapter(self) -> tuple[Value, ...]:
        return tuple(v for v in self.values if v.kind in ADAPTER_KINDS)


def is_scalar(v: Value) -> bool:
    """Exponents and controls are plain members of the state struct; everything else is an array."""
    return v.kind in ("exponent", "control")


def state_layout(graph: Graph) -> StateLayout:
    width = {"float32": 4, "int32": 4, "int16": 2, "int8": 1, "uint8": 1}
    found = sorted((v for v in graph.state() if v.kind != "paged"), key=lambda v: -width[v.type.dtype])
    streams, rest = [v for v in found if v.kind == STREAM], [v for v in found if v.kind != STREAM]
    if streams and rest and all(v.kind in ADAPTER_KINDS for v in rest):
        return StateLayout((*streams, *rest), len(streams))
    return StateLayout(tuple(found))
