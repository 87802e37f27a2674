"""Which kernel each step runs, and why one is not the fastest that its target has."""

from __future__ import annotations

from typing import Any

from ..emit.context import Slice, kernel_call
from ..passes.kernels import choose
from ..pipeline import Compilation


def kernels(c: Compilation) -> dict[str, Any]:
    """For inference and training the steps in order: {"step", "operator", "kernel", "slow"}. slow: "" where there is nothing faster."""
    return {"infer": _steps(c.infer), "train": _steps(c.train) if c.train else []}


def _steps(part: Slice) -> list[dict[str, str]]:
    found = []
    for layer, node in zip(part.graph.nodes, part.kernels.nodes, strict=True):
        call = kernel_call(part.kernels, node)
        if call is not None:
            slow = choose(part.graph, layer, part.target).slow
            found.append({"step": node.name, "operator": layer.op.mnemonic, "kernel": call.symbol, "slow": slow})
    return found
