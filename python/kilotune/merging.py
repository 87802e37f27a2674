"""From a trained adapter back to a plain model: its values folded into the frozen weights, as a .tflite file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.emit.adapter_table import entries_of
from kiloc.emit.context import state_layout
from kiloc.errors import CompileError
from kiloc.export.tflite import write
from kiloc.ir.graph import Graph
from kiloc.ir.text import parse_graph
from kiloc.passes import merge as merging

from .adapters import Adapter
from .building import GRAPH, Build
from .model import Model, load


def merge(build: Build, adapter: Adapter | str | os.PathLike[str], path: str | os.PathLike[str]) -> Model:
    """Write the base model of a build with an adapter folded into its weights, and load it.

    Weights are requantised with a scale for each channel, so results differ from the adapted model's by rounding. CompileError where
    the adapter belongs to another build, or where a method cannot be folded (bottleneck adapters); ValueError for a damaged adapter.
    """
    given = adapter if isinstance(adapter, Adapter) else Adapter.load(adapter)
    if given.base_hash != build.manifest["base_hash"]:
        what = f"belongs to base model {given.base_hash}, the build has {build.manifest['base_hash']}"
        raise CompileError("adapter", what, "merge with the build that trained it, or one of the same model and methods")
    graph = _graph(build.directory)
    target = Path(path)
    data = write(merging.merge(graph, _state(graph, given)))
    try:
        target.write_bytes(data)
    except OSError as error:
        raise CompileError(str(target), f"cannot be written: {error.strerror}", "choose another path") from None
    return load(target)


def _graph(directory: Path) -> Graph:
    try:
        return parse_graph((directory / GRAPH).read_text())
    except OSError as error:
        raise CompileError(str(directory / GRAPH), f"cannot be read: {error.strerror}", "only builds that train can be merged; build again") from None


def _state(graph: Graph, adapter: Adapter) -> dict[str, NDArray[Any]]:
    """The adapter's values by name; what a lower rank does not have is zero."""
    values, found = adapter.values(), {}
    for value, entry in zip(state_layout(graph).adapter, entries_of(graph), strict=True):
        given = values[entry.name]
        whole = np.zeros((entry.rows, entry.columns), given.dtype)
        whole[: given.shape[0], : given.shape[1]] = given
        found[value.name] = whole.reshape(value.type.shape)
    return found
