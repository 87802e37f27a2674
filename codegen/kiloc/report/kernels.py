"""Which kernel each step runs, and why one is not the fastest that its target has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ir.graph import Node
from ..ops.fast.blocked_input_gradient import BlockedInputGradient
from ..ops.fast.packed import PackedLinear
from ..ops.fast.repacked import RepackedInputGradient
from ..ops.fast.shared_input_gradient import SharedInputGradient
from ..passes.kernels import LAVISH, choose, second_copy, spend_flash
from ..pipeline import Compilation
from ..plan.slice import Slice, kernel_call, scratch_bytes


def kernels(c: Compilation) -> dict[str, Any]:
    """For inference and training the steps in order: {"step", "operator", "kernel", "makes", "slow"}, makes "" where no weights are made in front of
    it, slow "" where there is nothing faster; and what the option `speed` costs: layers that it changes, bytes of flash more, and the most scratch of
    one of them; and gradients to inputs that have a second copy of their weights which they could share with inference ("twice"), that do
    ("shared"), and that make one in front of each call, or as much of it as memory has room for ("repacked"), with its bytes of flash."""
    speed = c.options.speed
    return {
        "infer": _steps(c.infer, speed),
        "train": _steps(c.train, speed) if c.train else [],
        "speed": _cost(c.train or c.infer),
        "backward_weights": _backward_weights(c.train) if c.train else None,
    }


def unreached(part: Slice) -> dict[str, frozenset[str]]:
    """Kernel of a slice -> functions that none of its calls there reaches, whatever the data."""
    found: dict[str, frozenset[str]] = {}
    for node in part.kernels.nodes:
        call = kernel_call(part.kernels, node)
        if call is not None:
            found[call.symbol] = found.get(call.symbol, call.unreached) & call.unreached
    return found


def _backward_weights(part: Slice) -> dict[str, dict[str, int]]:
    found = {way: {"gradients": 0, "flash": 0} for way in ("twice", "shared", "repacked")}
    found["repacked"]["copies"] = 0
    graph = replace(part.graph, repacked=frozenset())
    for node, kernel in zip(part.graph.nodes, part.kernels.nodes, strict=True):
        shares, repacks = isinstance(kernel.op, SharedInputGradient), isinstance(kernel.op, BlockedInputGradient | RepackedInputGradient)
        copy = second_copy(graph if shares or repacks else part.graph, node, part.target, {} if shares or repacks else part.saving)
        if copy:
            way = found["repacked" if repacks else "shared" if shares or node.name in part.graph.shared else "twice"]
            rest = part.kernels.type(kernel.inputs["rest"]).bytes if repacks and "rest" in kernel.inputs else 0
            way["gradients"] += 1
            way["flash"] += copy - rest
            found["repacked"]["copies"] += rest
    return found


def _cost(part: Slice) -> dict[str, int]:
    found = {"layers": 0, "flash": 0, "scratch": 0}
    for layer, node in zip(part.graph.nodes, part.kernels.nodes, strict=True):
        if _is_winograd(node):
            usual = choose(part.graph, layer, part.target)
            found["layers"] += 1
            found["flash"] += part.kernels.type(node.inputs["stream"]).bytes - sum(v.type.bytes for v in usual.values if v.name.endswith(".packed"))
            found["scratch"] = max(found["scratch"], scratch_bytes(part.kernels, node))
    return found


def _steps(part: Slice, speed: bool) -> list[dict[str, str]]:
    found, asked = [], spend_flash(part.graph, part.target) if speed else {}
    for layer, node in zip(part.graph.nodes, part.kernels.nodes, strict=True):
        call = kernel_call(part.kernels, node)
        if call is not None:
            slow = choose(part.graph, layer, part.target, part.saving).slow
            if layer.name in asked and not slow and not _is_winograd(node):
                possible = choose(part.graph, layer, part.target, {layer.name: LAVISH})
                slow = "Winograd's transform takes more memory" if _is_winograd(possible.node) else ""
            makes = call.made.call.symbol if call.made is not None else ""
            found.append({"step": node.name, "operator": layer.op.mnemonic, "kernel": call.symbol, "makes": makes, "slow": slow})
    return found


def _is_winograd(node: Node) -> bool:
    return isinstance(node.op, PackedLinear) and node.op.winograd
