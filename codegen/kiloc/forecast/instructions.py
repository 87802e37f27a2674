"""How many instructions a training step takes, by a linear model.

The terms were fitted to what QEMU counts on a Cortex-M4, whose kernels are packed where they can be. `make bench-step-time`, 2026-11-26: 36
builds of six real models, estimate to count from 0.77 to 1.34. An instruction is taken as one cycle: waiting for flash, and issuing two at
once, are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph, Node
from ..ir.verify import node_types
from ..ops.fast.attention import Attention
from ..ops.fast.attention_gradient import AttentionGradient
from ..ops.fast.packed import PackedLinear
from ..ops.fast.packed_depthwise import PackedDepthwise
from ..ops.fast.packed_input_gradient import PackedInputGradient
from ..passes.kernels import choose, forms
from .plan import Forecast

TARGET = "cortex-m4"
PER_CALL = 66.0
PER_GRADIENT = 7.8
"""Of what the step's operators add to gradients and state."""
PER_PARAMETER = 127.0
"""Of what one update changes."""
PER_VALUE = 0.76
"""Of what is laid into the panels of a product."""
UNCALIBRATED = "sums are shifted"
"""Why a gradient has no packed kernel before its shift is known."""


@dataclass(frozen=True)
class Terms:
    """Instructions of a layer's kernel, or of its gradient's."""

    mac: float
    result: float


PACKED, PACKED_SUMS = Terms(0.86, 26.5), Terms(0.86, 154.0)
"""Products of packed layers; sums take what is trained before they are requantised."""
BANDED, BY_POSITION = Terms(1.5, 1.8), Terms(5.5, 0.0)
"""Depthwise layers, in bands of rows or position by position."""
PORTABLE = Terms(3.9, 150.0)
ATTENTION = Terms(5.9, 0.0)
"""Attention by rows and its gradient, heads of 16 values: from what QEMU counts at 40 and 80 positions."""
OTHER = Terms(0.0, 0.0)
"""What is no layer counts little beside those."""


def step_instructions(graph: Graph) -> float:
    """Of the forward and backward pass of one sample. graph: a training slice, calibrated or not."""
    total = PER_GRADIENT * sum(graph.type(name).size for n in graph.nodes for name in n.updates)
    for node in graph.nodes:
        if not node.op.view:
            terms, laid = _terms(graph, node)
            macs, results = node.op.macs(node_types(graph, node)), sum(graph.type(out).size for out in node.outputs)
            total += PER_CALL + terms.mac * macs + terms.result * results + PER_VALUE * laid * macs
    return total


def _terms(graph: Graph, node: Node) -> tuple[Terms, float]:
    """What a node takes, and the values that a product lays into panels for each MAC."""
    if "gain" in node.op.mnemonic:
        return PORTABLE, 0.0
    if isinstance(node.op, Attention | AttentionGradient):
        return ATTENTION, 0.0
    if forms(node, TARGET) == 1:
        return OTHER, 0.0
    choice = choose(graph, node, TARGET)
    op = choice.node.op
    if choice.node is node and UNCALIBRATED not in choice.slow:
        return PORTABLE, 0.0
    sums = getattr(op, "form", "") in ("sums", "delta") or not {"lora_du", "delta"}.isdisjoint(node.inputs)
    if isinstance(op, PackedLinear):
        return PACKED_SUMS if sums else PACKED, 0.0 if op.form.startswith("row") else 1 / op.weights.shape[0]
    if isinstance(op, PackedInputGradient):
        return PACKED_SUMS if sums else PACKED, 1 / op.layer.x_image[2]
    return BY_POSITION if isinstance(op, PackedDepthwise) and op.rows == 0 else BANDED, 0.0


def instructions(forecast: Forecast, accumulate: int = 1) -> int:
    """Of one training step: the passes of a sample, and its share of an update."""
    trained = sum(forecast.graph.type(p.values["value"]).size for p in forecast.graph.parameters)
    return round(step_instructions(forecast.train.graph) + PER_PARAMETER * trained / accumulate)
