"""The same model trained the usual ways, planned for real: what this compiler's work on memory is compared with.

standard PEFT: the same methods, optimizer and loss, but planned as a framework keeps things. Every activation that stands on a
gradient's way (read or made by a forward node behind something trainable) is kept whole until the step ends, where a clamp needs
one bit of it too. Nothing is written over an operand. Gradients stand in accumulators, in float32, until updates are made at the end.

full fine-tuning: every weight and bias trained (`Full` and `BiasOnly` on all layers), planned in the same way. Each parameter takes a
float32 value, a float32 gradient and the optimizer's float32 moments, as in frameworks. Activations and their gradients count one byte an
element, as in our integer engine; a framework that trains in float32 takes four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..autodiff import differentiate
from ..emit.state_layout import state_layout
from ..errors import CompileError
from ..ir import interp
from ..ir.graph import Graph, Node
from ..ops.model.softmax import Softmax
from ..ops.model.windowed_softmax import WindowedSoftmax
from ..optim import with_accumulators, with_storage
from ..passes.slices import prune, training_slice
from ..peft import BiasOnly, Calibration, Full, Method, attach_all
from ..pipeline import Compilation
from ..plan import Plan, plan_memory
from ..plan.slice import caller_buffers, scratch_bytes

FLOAT_BYTES = 4


def compare(c: Compilation) -> dict[str, dict[str, Any]]:
    """Bytes of arena and state of both. Where the model cannot be fine-tuned whole they are None, and `refused` says why."""
    assert c.train is not None
    standard = _training(c, c.options.methods)
    align = c.train.plan.alignment
    found: dict[str, dict[str, Any]] = {"standard_peft": _sizes(kept_plan(standard, align).arena_bytes, state_layout(standard).bytes)}
    try:
        whole = _training(c, (Full(), BiasOnly()))
    except CompileError as error:
        found["full_finetuning"] = {"arena": None, "state": None, "total": None, "refused": f"{error.where}: {error.what}"}
        return found
    parameters = sum(whole.type(p.values["value"]).size for p in whole.parameters)
    copies = 2 + c.options.optimizer.moments_per_parameter
    found["full_finetuning"] = _sizes(kept_plan(whole, align).arena_bytes, FLOAT_BYTES * copies * parameters)
    return found


def _sizes(arena: int, state: int) -> dict[str, Any]:
    return {"arena": arena, "state": state, "total": arena + state}


def _training(c: Compilation, methods: Sequence[Method]) -> Graph:
    """What one sample runs, as differentiation leaves it: clamps read whole activations, gradients go to accumulators."""
    options, base = c.options, _whole_softmax(c.base)
    samples = {name: np.zeros((1, *base.type(name).shape[1:]), base.type(name).dtype) for name in base.inputs}
    stored = with_storage(attach_all(base, methods, Calibration(interp.run(base, samples), options.seed)), options.storage)
    whole = prune(differentiate(with_accumulators(stored, options.optimizer, options.seed), options.loss))
    return training_slice(whole, options.buffers)


def _whole_softmax(graph: Graph) -> Graph:
    """Without windows of attention, which operators with matrices in memory do not know: a matrix is as large with one."""
    return replace(graph, nodes=tuple(replace(n, op=Softmax(n.op.beta)) if isinstance(n.op, WindowedSoftmax) else n for n in graph.nodes))


def kept_plan(graph: Graph, align: int) -> Plan:
    """The plan of a training slice in which what backward may want lives to the end and nothing shares bytes but views."""
    last = graph.nodes[-1]
    held = {f"kept {name}": name for name in on_the_way(graph)}
    extended = replace(graph, nodes=(*graph.nodes[:-1], replace(last, inputs={**last.inputs, **held})))

    def scratch(node: Node) -> int:
        return scratch_bytes(graph, last if node.name == last.name else node)

    return plan_memory(extended, scratch, frozenset(caller_buffers(graph)), align, sharing=False)


def on_the_way(graph: Graph) -> list[str]:
    """Activations that forward nodes behind something trainable read or make, in order."""
    behind: set[str] = set()
    found: dict[str, None] = {}
    for node in graph.phase("forward"):
        if any(graph.values[v].is_state or v in behind for v in node.inputs.values()):
            behind.update(node.outputs)
            read = [v for v in node.inputs.values() if graph.values[v].kind == "activation"]
            found.update(dict.fromkeys([*read, *node.outputs]))
    return list(found)
