"""How many instructions each call of a kernel takes in a training step, estimated: where the step may be cut into slices.

The terms are those of what QEMU counts on a Cortex-M4 (`make bench-field-lifetime` prints estimate beside count). They are for cutting, so what is
not known is taken as long.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph, Node
from ..ir.verify import node_types
from ..plan.slice import kernel_call

PER_CALL = 100.0


@dataclass(frozen=True)
class Terms:
    """Instructions of a kernel for each MAC, for each value of its results, and for each value of its largest operand."""

    mac: float = 0.0
    result: float = 0.0
    operand: float = 0.0


UNKNOWN_PRODUCT, UNKNOWN = Terms(3.9, 150.0), Terms(0.0, 6.0, 6.0)
TERMS = {
    "kt_packed_conv2d_lora": Terms(0.86, 52.0),
    "kt_packed_conv2d_delta": Terms(0.9, 60.0),
    "kt_packed_conv2d": Terms(0.86, 27.0),
    "kt_packed_path_input_gradient": Terms(0.86, 34.0),
    "kt_packed_input_gradient": Terms(0.86, 27.0),
    "kt_packed_scaled_input_gradient": Terms(0.86, 27.0),
    "kt_banded_depthwise": Terms(3.1, 1.0),
    "kt_down_projection": Terms(2.0, 30.0, 2.0),
    "kt_lora_inner_gradient": Terms(0.9, 2.0),
    "kt_weight_gradient": Terms(1.7),
    "kt_softmax_cross_entropy": Terms(0.0, 0.0, 260.0),
    "kt_streamed": Terms(0.0, 0.0, 105.0),
    "kt_sgd": Terms(0.0, 0.0, 21.0),
    "kt_adam": Terms(0.0, 0.0, 80.0),
    "kt_lion": Terms(0.0, 0.0, 60.0),
    "kt_step_": Terms(0.0, 0.0, 52.0),
    "kt_clear_gradient": Terms(0.0, 0.0, 2.0),
    "kt_adapt_range": Terms(0.0, 0.0, 2.0),
    "kt_save_mask": Terms(0.0, 0.0, 2.1),
    "kt_apply_mask": Terms(0.0, 1.3),
    "kt_mask_gradient": Terms(0.0, 2.0),
    "kt_bias_gradient": Terms(0.0, 0.0, 1.3),
    "kt_average_pool2d_gradient": Terms(0.0, 1.3),
    "kt_average_pool2d": Terms(0.0, 10.0, 1.4),
}
"""By the beginning of the C function's name; the first that fits."""


def node_instructions(graph: Graph) -> dict[str, int]:
    """Of each node of a training slice as it is emitted, with its kernels, by name."""
    return {node.name: round(_of_node(graph, node)) for node in graph.nodes}


def _of_node(graph: Graph, node: Node) -> float:
    macs, call = node.op.macs(node_types(graph, node)), kernel_call(graph, node)
    terms = UNKNOWN_PRODUCT if macs else UNKNOWN
    if call is not None:
        terms = next((found for beginning, found in TERMS.items() if call.symbol.startswith(beginning)), terms)
    results = sum(graph.type(name).size for name in node.outputs)
    operand = max((graph.type(name).size for name in (*node.inputs.values(), *node.outputs)), default=0)
    return PER_CALL + terms.mac * macs + terms.result * results + terms.operand * operand
