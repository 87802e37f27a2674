"""How long a training step takes: instructions from a linear model, seconds from a clock.

The terms were fitted to what QEMU counts on a Cortex-M4, whose kernels are packed where they can be, for 36 builds of six real models
(`make bench-step-time` prints estimate and count of each). An instruction is taken as one cycle: waiting for flash, and issuing two at once,
are not in it.
"""

from __future__ import annotations

import re

from kiloc.errors import CompileError
from kiloc.ir.graph import Graph, Node
from kiloc.ir.verify import node_types
from kiloc.passes.kernels import choose, forms
from kiloc.pipeline import Forecast

TARGET = "cortex-m4"
PER_CALL = 12_000.0
PER_MAC, PER_PORTABLE_MAC = 0.63, 3.3
PER_RESULT, PER_SUM, PER_PORTABLE_RESULT = 60.0, 146.0, 191.0
"""Of layers and gradients to their inputs: in packed kernels, in those that add LoRA's share to sums, in portable ones."""
PER_GRADIENT = 32.0
"""Of what they add to accumulators."""
PER_PARAMETER = 43.0
"""Of what one update changes."""
UNCALIBRATED = "sums are shifted"
"""Why a gradient has no packed kernel before its shift is known."""
CLOCK = 100_000_000
"""Hz, where none is given."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def step_instructions(graph: Graph) -> float:
    """Of the forward and backward pass of one sample. graph: a training slice, calibrated or not."""
    total = PER_CALL + PER_GRADIENT * sum(graph.type(name).size for n in graph.nodes for name in n.updates)
    for node in graph.nodes:
        if not node.op.view:
            per_mac, per_result = _terms(graph, node)
            total += per_mac * node.op.macs(node_types(graph, node)) + per_result * sum(graph.type(out).size for out in node.outputs)
    return total


def _terms(graph: Graph, node: Node) -> tuple[float, float]:
    """Instructions a MAC and a result. What is no layer counts little beside those."""
    if "gain" in node.op.mnemonic:
        return PER_PORTABLE_MAC, PER_PORTABLE_RESULT
    if forms(node, TARGET) == 1:
        return 0.0, 0.0
    choice = choose(graph, node, TARGET)
    if choice.node is node and UNCALIBRATED not in choice.slow:
        return PER_PORTABLE_MAC, PER_PORTABLE_RESULT
    sums = getattr(choice.node.op, "form", "") == "sums" or "lora_du" in node.inputs
    return PER_MAC, PER_SUM if sums else PER_RESULT


def instructions(forecast: Forecast, accumulate: int = 1) -> int:
    """Of one training step: the passes of a sample, and its share of an update."""
    trained = sum(forecast.graph.type(p.values["value"]).size for p in forecast.graph.parameters)
    return round(step_instructions(forecast.train.graph) + PER_PARAMETER * trained / accumulate)


def parse_time(time: int | str | None) -> tuple[int | None, float | None]:
    """(MACs, seconds) of a budget: a whole number of MACs, or "20ms". Raises CompileError."""
    where, hint = f"time={time!r}", 'write a duration of one training step as "20ms", or its MACs as a whole number'
    if time is None:
        return None, None
    text = str(time).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s)", text)
    if match and float(match[1]) > 0:
        return None, float(match[1]) * UNITS[match[2]]
    if isinstance(time, bool) or not text.isdigit() or int(text) < 1:
        raise CompileError(where, "is no time", hint)
    return int(text), None


def parse_clock(clock: int | str) -> int:
    """Hz of 100_000_000 or "100M". Raises CompileError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:Hz)?", str(clock).strip())
    hertz = float(match[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]] if match else 0.0
    if isinstance(clock, bool) or not 1e3 <= hertz <= 1e11:
        raise CompileError(f"clock={clock!r}", "is no clock", 'write Hz as "168M"')
    return round(hertz)
