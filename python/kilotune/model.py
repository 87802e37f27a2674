"""A loaded model, and what can be said about it before it is built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiloc import pipeline
from kiloc.ir.graph import Graph
from kiloc.ir.verify import node_types
from kiloc.peft._method import has_weights


@dataclass(frozen=True)
class Model:
    """A fully quantised INT8 model. `graph` is the compiler's own form; most users never need it."""

    path: Path
    graph: Graph

    @property
    def name(self) -> str:
        return self.graph.name

    def layers(self) -> list[dict[str, Any]]:
        """One entry a node in order: name, operator, result shape, parameters, MACs, whether a method can train it, origin."""
        found = []
        for node in self.graph.nodes:
            constants = [self.graph.values[v] for v in node.inputs.values() if self.graph.values[v].kind == "constant"]
            found.append(
                {
                    "name": node.name,
                    "operator": node.op.mnemonic,
                    "shape": list(self.graph.type(node.outputs[0]).shape),
                    "parameters": sum(c.type.size for c in constants),
                    "macs": node.op.macs(node_types(self.graph, node)),
                    "trainable": has_weights(node),
                    "origin": node.origin,
                }
            )
        return found


def load(path: str | os.PathLike[str]) -> Model:
    """Read a .tflite or .onnx (QDQ) model. Raises CompileError naming the place, the cause and the remedy."""
    return Model(Path(path), pipeline.load(Path(path)))
