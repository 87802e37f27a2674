"""The intermediate representation: types, graph, what an operator is, verifier, text form, interpreter."""

from .graph import NEW_HEAD, Graph, Node, Value
from .interp import environment, run
from .kernel_call import PACKAGES
from .operator import Op
from .text import parse_graph, print_graph
from .verify import node_types, total_macs, verify

__all__ = [
    "NEW_HEAD",
    "PACKAGES",
    "Graph",
    "Node",
    "Op",
    "Value",
    "environment",
    "node_types",
    "parse_graph",
    "print_graph",
    "run",
    "total_macs",
    "verify",
]
