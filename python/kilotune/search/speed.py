"""How long a training step takes: instructions from a linear model, seconds from a clock.

The terms were fitted to what QEMU counts for the portable kernels on a Cortex-M4. `make bench-step-time`, 2026-11-25: 36 builds of six real
models, estimate to count from 0.74 to 1.30. An instruction is taken as one cycle: waiting for flash, and issuing two
at once, are not in it.
"""

from __future__ import annotations

import re

from kiloc.errors import CompileError
from kiloc.ir.graph import Graph
from kiloc.ir.verify import node_types
from kiloc.pipeline import Forecast

PER_MAC = 3.6
PER_ELEMENT = 112.0
"""Of what the step's operators make: addresses, requantisation, clamping."""
PER_GRADIENT = 30.0
"""Of what they add to accumulators."""
PER_PARAMETER = 85.0
"""Of what one update changes."""
CLOCK = 100_000_000
"""Hz, where none is given."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def step_instructions(graph: Graph) -> float:
    """Of the forward and backward pass of one sample. graph: a training slice."""
    made = sum(graph.type(out).size for n in graph.nodes if not n.op.view for out in n.outputs)
    added = sum(graph.type(name).size for n in graph.nodes for name in n.updates)
    macs = sum(n.op.macs(node_types(graph, n)) for n in graph.nodes)
    return PER_MAC * macs + PER_ELEMENT * made + PER_GRADIENT * added


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
