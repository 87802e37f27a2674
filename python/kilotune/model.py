"""A loaded model, and what can be said about it before it is built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import kiloc
from kiloc.ir import Graph, node_types
from kiloc.passes import with_whole_sequences
from kiloc.peft import has_weights

from .devices.data import quantize
from .devices.manifest import Tensor
from .pictures import tables
from .plugins import load_installed


@dataclass(frozen=True)
class Model:
    """A fully quantised INT8 model. `graph` is the compiler's own form; most users never need it."""

    path: Path
    graph: Graph

    @property
    def name(self) -> str:
        """The model's name: the file's, as a C identifier."""
        return self.graph.name

    def __repr__(self) -> str:
        shapes = (" and ".join("x".join(map(str, self.graph.type(n).shape[1:])) for n in names) for names in (self.graph.inputs, self.graph.outputs))
        return f"<Model {self.name} of {self.path}: {' to '.join(shapes)}, {len(self.graph.nodes)} operators>"

    def _repr_html_(self) -> str:
        return tables.of_model(self)

    def quantize(self, x: ArrayLike) -> NDArray[Any]:
        """Real inputs [N, ...] of the first input as the int8, or other type, that the model takes, which passes through. ValueError."""
        return self._quantized(x, self.graph.inputs[0])

    def quantize_inputs(self, x: Any) -> tuple[NDArray[Any], ...]:
        """The same of every input: x is an array, or for a model of several inputs a list of arrays of equally many samples."""
        names = self.graph.inputs
        if len(names) == 1:
            return (self.quantize(x),)
        if not isinstance(x, list | tuple) or len(x) != len(names):
            given = f"{len(x)} arrays" if isinstance(x, list | tuple) else f"one {type(x).__name__}"
            raise ValueError(f"{self.name} has {len(names)} inputs, the samples are {given}: pass a list of one array for each")
        arrays = tuple(self._quantized(a, name) for a, name in zip(x, names, strict=True))
        if len({len(a) for a in arrays}) > 1:
            raise ValueError(f"the inputs have different numbers of samples: {', '.join(str(len(a)) for a in arrays)}")
        return arrays

    def _quantized(self, x: ArrayLike, name: str) -> NDArray[Any]:
        array, t = np.asarray(x), self.graph.type(name)
        expected = "[" + ", ".join(["N", *map(str, t.shape[1:])]) + "]"
        if array.shape[1:] != t.shape[1:] or array.ndim != len(t.shape) or len(array) == 0:
            raise ValueError(f"the samples have shape {list(array.shape)}, the model takes {expected}")
        if array.dtype == t.dtype:
            return array
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"the samples are {array.dtype}, the model takes float32 (quantised here) or {t.dtype}")
        if not np.isfinite(array).all():
            raise ValueError("the samples hold values that are not finite")
        return quantize(array, Tensor(t.shape, t.scale, t.zero_point, dtype=t.dtype))

    def layers(self) -> list[dict[str, Any]]:
        """One entry a node in order: name, operator, result shape, parameters, MACs, whether a method can train it, origin.

        Methods train what the first output, which losses read, depends on; nothing of a model that is fed slice by slice.
        """
        found, read = [], set(self.graph.before(self.graph.outputs[0]))
        try:
            with_whole_sequences(self.graph)
        except kiloc.CompileError:
            read.clear()
        for node in self.graph.nodes:
            constants = [self.graph.values[v] for v in node.inputs.values() if self.graph.values[v].kind == "constant"]
            found.append(
                {
                    "name": node.name,
                    "operator": node.op.mnemonic,
                    "shape": list(self.graph.type(node.outputs[0] if node.outputs else node.updates[0]).shape),
                    "parameters": sum(c.type.size for c in constants),
                    "macs": node.op.macs(node_types(self.graph, node)),
                    "trainable": has_weights(node) and node.name in read,
                    "origin": node.origin,
                }
            )
        return found


def load(path: str | os.PathLike[str]) -> Model:
    """Read a .tflite or .onnx (QDQ) model. Raises CompileError naming the place, the cause and the remedy."""
    load_installed()
    return Model(Path(path), kiloc.load(Path(path)))
