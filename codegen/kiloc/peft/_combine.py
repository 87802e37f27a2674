"""Which methods may stand together on one layer. The only place that says so.

| on one layer        | bias | LoRA | delta | gain | adapter |
|---|---|---|---|---|---|
| bias                | once | yes  | yes   | yes  | yes     |
| LoRA                | yes  | no   | no    | yes  | yes     |
| delta               | yes  | no   | no    | yes  | yes     |
| gain                | yes  | yes  | yes   | no   | yes     |
| bottleneck adapter  | yes  | yes  | yes   | yes  | no      |

A delta is what Full, SparseUpdate and Head train. LoRA beside a delta of the same weights adds nothing, and two of a kind would be one
with more parameters. A new head (Head(classes=N)) replaces its layer, so it is attached before all others.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ._method import Calibration, Method

TITLES = {"lora": "LoRA", "delta": "a trained delta (Full, SparseUpdate, Head)", "gain": "ScaleShift", "adapter": "a bottleneck adapter"}
EXCLUDES = {"lora": ("lora", "delta"), "delta": ("lora", "delta"), "gain": ("gain",), "adapter": ("adapter",)}


def attach_all(graph: Graph, methods: Sequence[Method], calibration: Calibration) -> Graph:
    """The graph with every method attached. Raises CompileError where two do not go together."""
    for method in sorted(methods, key=lambda m: not m.replaces_layers):
        graph = method.attach(graph, calibration)
    return graph


def parts(graph: Graph, node: Node) -> set[str]:
    """What a layer has already: keys of TITLES."""
    found = {kind for kind, operand in (("lora", "lora_u"), ("delta", "delta"), ("gain", "gain")) if operand in node.inputs}
    if any(p.layer == node.name and p.method == "adapter" for p in graph.parameters):
        found.add("adapter")
    return found


def require_free(graph: Graph, node: Node, kind: str, method: str) -> None:
    """Raise CompileError where a layer has a part that excludes another one of this kind."""
    for other in sorted(parts(graph, node) & set(EXCLUDES[kind])):
        what = f"it has {TITLES[other]} already, which does not go together with {method}"
        raise CompileError(f"layer '{node.name}'", what, "name other layers in the layers= of one of the two methods")
