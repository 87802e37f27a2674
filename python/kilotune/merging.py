"""From a trained adapter back to a plain model: its values folded into the frozen weights, as a .tflite or .onnx file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError, passes
from kiloc.emit import entries_of, state_layout
from kiloc.export import WRITERS
from kiloc.ir import Graph, parse_graph

from .adapters import Adapter
from .building import GRAPH, Build
from .files import write_whole
from .model import Model, load


def merge(build: Build, adapter: Adapter | str | os.PathLike[str], path: str | os.PathLike[str]) -> Model:
    """Write the base model of a build with an adapter folded into its weights, as .tflite or QDQ .onnx, and load it.

    Weights are requantised with a scale for each channel, so results differ from the adapted model's by rounding. CompileError where
    the adapter belongs to another build, or where a method cannot be folded (bottleneck adapters); ValueError for a damaged adapter.
    """
    given = adapter if isinstance(adapter, Adapter) else Adapter.load(adapter)
    target = Path(path)
    if target.suffix not in WRITERS:
        raise CompileError(str(target), "the format of the file is not known by its name", "name it .tflite or .onnx")
    graph = inference_graph(build)
    data = WRITERS[target.suffix](passes.merge(graph, adapter_state(build, graph, given)))
    write_whole(target, data)
    return load(target)


def inference_graph(build: Build) -> Graph:
    """What a build with methods infers, with its trainable values."""
    path = build.directory / GRAPH
    try:
        return parse_graph(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror}", "only builds with a method take adapters; build again") from None


def adapter_state(build: Build, graph: Graph, adapter: Adapter) -> dict[str, NDArray[Any]]:
    """The adapter's values by name, as the graph of its build has them; what a lower rank does not have is zero. CompileError for another base."""
    if adapter.base_hash != build.manifest["base_hash"]:
        what = f"belongs to base model {adapter.base_hash}, the build has {build.manifest['base_hash']}"
        raise CompileError("adapter", what, "use the build that trained it, or one of the same model and methods")
    values, found = adapter.values(), {}
    for value, entry in zip(state_layout(graph).adapter, entries_of(graph), strict=True):
        given = values[entry.name]
        if given.shape[0] > entry.rows or given.shape[1] > entry.columns:
            raise CompileError("adapter", f"{entry.name} has a higher rank than the build's", "use the build that trained it")
        whole = np.zeros((entry.rows, entry.columns), given.dtype)
        whole[: given.shape[0], : given.shape[1]] = given
        found[value.name] = whole.reshape(value.type.shape)
    return found
