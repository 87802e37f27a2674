"""Layers that run stripe by stripe: of the images between them only a few rows stand in memory at a time.

The rows that neighbouring stripes both need are computed twice. Source: Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference
for Tiny Deep Learning" (2021); stripes are patches of full width, which need no copy of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..ir.graph import Graph, Node, Value
from ..ops._window import Window
from ..ops.paging.write_rows import WriteRows

STRIPE = ".stripe"
"""Stands in the names of what is computed for one stripe."""

Rows = tuple[int, int]


def chains(part: Graph) -> list[list[Node]]:
    """Runs of sliding windows in the forward phase, each the only reader of the one before; nothing else reads what is between."""
    consumers, found = part.consumers(), list[list[Node]]()
    for node in part.phase("forward"):
        if not _stripes(part, node):
            continue
        x = node.inputs["x"]
        if found and found[-1][-1].outputs[0] == x and len(consumers[x]) == 1 and x not in part.outputs:
            found[-1].append(node)
        else:
            found.append([node])
    return [run for run in found if len(run) > 1]


def _stripes(part: Graph, node: Node) -> bool:
    others = [v for o, v in node.inputs.items() if o != "x"]
    if "x" in node.inputs and part.values[node.inputs["x"]].is_state:  # it may be overwritten before the last stripe runs
        return False
    fixed = all(part.values[v].kind == "constant" or part.values[v].is_state for v in others)
    return isinstance(getattr(node.op, "window", None), Window) and not node.updates and "x" in node.inputs and fixed


def striped(part: Graph, chain: Sequence[Node], count: int) -> Graph:
    """The slice with a chain run in `count` stripes of the rows of its result."""
    result = part.values[chain[-1].outputs[0]]
    bounds = np.linspace(0, result.type.shape[1], count + 1).round().astype(int).tolist()
    nodes: list[Node] = []
    values: list[Value] = []
    image: dict[str, str] = {}
    for number, rows in enumerate(pairwise(bounds)):
        suffix = f"{STRIPE}{number}"
        for node, produced, window in _windows(part, chain, rows):
            x = node.inputs["x"] if node is chain[0] else f"{node.inputs['x']}{suffix}"
            name, kind = f"{node.outputs[0]}{suffix}", part.values[node.outputs[0]]
            shape = (1, produced[1] - produced[0], *kind.type.shape[2:])
            values.append(replace(kind, name=name, type=replace(kind.type, shape=shape)))
            op: Any = node.op
            nodes.append(replace(node, name=f"{node.name}{suffix}", op=replace(op, window=window), inputs={**node.inputs, "x": x}, outputs=(name,)))
        last = number + 1 == count
        whole = result.name if last else f"{result.name}{suffix}.rows"
        values += [] if last else [replace(result, name=whole)]
        part_name = f"{result.name}{suffix}"
        nodes.append(Node(f"{result.name}{suffix}.write", WriteRows(rows[0]), {"part": part_name, **image}, (whole,), origin=chain[-1].origin))
        image = {"x": whole}
    body: list[Node] = []
    replaced = {n.name for n in chain}
    for node in part.nodes:
        if node.name not in replaced:
            body.append(node)
        elif node.name == chain[-1].name:
            body += nodes
    return part.with_values(values).with_nodes(body)


def _windows(part: Graph, chain: Sequence[Node], rows: Rows) -> Iterator[tuple[Node, Rows, Window]]:
    """Each node of the chain with the rows of its result that these rows of the last result need, and its window over its stripe."""
    produced = [rows]
    for node in reversed(chain[1:]):
        produced.append(_needed(node.op, produced[-1], part.type(node.inputs["x"]).shape[1]))
    produced.reverse()
    for i, node in enumerate(chain):
        window: Window = node.op.window  # type: ignore[attr-defined]
        available = (0, part.type(node.inputs["x"]).shape[1]) if i == 0 else produced[i - 1]
        first, end = produced[i]
        top = window.pad[0] + available[0] - first * window.stride[0]
        reach = (window.kernel[0] - 1) * window.dilation[0] + 1
        bottom = (end - first - 1) * window.stride[0] + reach - (available[1] - available[0]) - top
        yield node, produced[i], replace(window, pad=(top, window.pad[1], bottom, window.pad[3]))


def _needed(op: Any, rows: Rows, height: int) -> Rows:
    """Rows of the input that rows of the result read."""
    window: Window = op.window
    reach = (window.kernel[0] - 1) * window.dilation[0] + 1
    first = rows[0] * window.stride[0] - window.pad[0]
    return max(first, 0), min((rows[1] - 1) * window.stride[0] - window.pad[0] + reach, height)
