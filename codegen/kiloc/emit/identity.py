"""What names a build: the frozen model with what its adapters hold, and the layout of its state."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.text import print_graph
from ..ops.model.lora import DownProjection
from ..options import Options
from ..passes.slices import inference_slice
from ..peft import roles
from . import adapter_table
from .state_layout import state_layout

STATE_VERSION = 1


def base_hash(base: Graph, whole: Graph) -> bytes:
    """8 bytes that name the frozen model and what an adapter of it holds; where the model came from does not count."""
    values = {k: replace(v, origin="") for k, v in base.values.items()}
    nodes = tuple(replace(n, origin="") for n in base.nodes)
    frozen = print_graph(replace(base, name="", origin="", notes=(), values=values, nodes=nodes))
    held = [" ".join((e.name, e.dtype, *_fixed_extents(e))) for e in adapter_table.entries_of(whole)]
    return hashlib.sha256("\n".join([frozen, *held, *_attached(base, whole)]).encode()).digest()[:8]


def _fixed_extents(entry: adapter_table.Entry) -> list[str]:
    """Rows and columns, but for a rank: an adapter of a lower one fits too."""
    axis = roles()[entry.role].rank_axis if entry.part == "value" else None
    return ["rank" if i == axis else str(n) for i, n in enumerate((entry.rows, entry.columns))]


def _without_rank(node: Node) -> Node:
    return replace(node, op=replace(node.op, u_image=(*node.op.u_image[:2], 0))) if isinstance(node.op, DownProjection) else node


def _attached(base: Graph, whole: Graph) -> list[str]:
    """What the methods added to the frozen model and an adapter relies on: constants, and the nodes that read trained values."""
    part = inference_slice(whole)
    added = {k: replace(v, origin="") for k, v in part.values.items() if v.kind == "constant" and k not in base.values}
    changed = [_without_rank(replace(n, origin="", updates=())) for n in part.nodes if n not in base.nodes]
    return [print_graph(replace(whole, name="", origin="", notes=(), inputs=(), outputs=(), parameters=(), values=added, nodes=tuple(changed)))]


def layout(graph: Graph, options: Options) -> int:
    """Names the state's members and what they mean: another optimizer's state is refused, also where the members agree."""
    members = [f"{v.name} {v.kind} {v.type}" for v in state_layout(graph).values]
    trainer = options.optimizer.state_name if options.train else "adapters"
    return zlib.crc32("\n".join([str(STATE_VERSION), trainer, *members]).encode())
