"""What a front end leaves from one slice to the next, in the state of a model that goes on from call to call."""

from __future__ import annotations

import numpy as np

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Value
from ..ir.types import TensorType
from .front_end import FrontEnd

KEPT = "features_kept"
"""The value of kind "stream" that the front end changes, and no node of the graph."""


def with_kept(graph: Graph, front: FrontEnd | None) -> Graph:
    """The graph with what the front end keeps, where the model keeps something too: else every recording begins anew."""
    if front is None or not front.kept or not graph.streams():
        return graph
    if KEPT in graph.values:
        raise CompileError(KEPT, "is a name that the front end needs, and a tensor of the model has it", "rename the tensor")
    type_ = TensorType((front.kept,), "int32")
    return graph.with_values([Value(KEPT, type_, STREAM, np.zeros(type_.shape, np.int32), "kept by the front end")])
