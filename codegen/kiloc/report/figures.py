"""The figures of a build: from the plans and, for code, from the linked ELF. Bytes throughout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..emit.adapter_table import SIGNATURE_BYTES
from ..emit.context import Slice, caller_buffers, scratch_bytes, state_layout
from ..ir.graph import Graph, Node
from ..ir.verify import node_types
from ..losses import as_loss
from ..ops._linear import Linear
from ..ops.depthwise_conv_2d import DepthwiseConv2D
from ..pipeline import Compilation
from ..plan import plan_memory
from ..plan.place import Plan

PARAMETER_KINDS = ("trainable", "master", "exponent", "accumulator", "optimizer")
"""The part of the state that grows with the parameters."""


def figures(c: Compilation, sizes: dict[str, int] | None) -> dict[str, Any]:
    """The report of the design's schema. sizes: what `toolchain.measure` read from the ELF, None where no compiler was there."""
    part = c.train or c.infer
    state = state_layout(c.graph).bytes if c.graph.state() else 0
    infer, train = c.infer.plan.arena_bytes, c.context.arena_train if c.train else c.infer.plan.arena_bytes
    return {
        "model": {
            "name": c.graph.name,
            "origin": c.graph.origin,
            "layers": sum(1 for n in c.base.nodes if isinstance(n.op, Linear | DepthwiseConv2D)),
            "methods": [m.describe() for m in c.options.methods],
            "optimizer": c.options.optimizer.describe() if c.train else None,
            "loss": as_loss(c.options.loss).describe() if c.train else None,
            "calibration": _calibration(c),
            "notes": list(c.graph.notes),
        },
        "target": c.options.target,
        "memory": {
            "infer_arena": infer,
            "train_arena": train if c.train else 0,
            "state": state,
            "train_total": train + state if c.train else 0,
            "train_to_infer": round((train + state) / infer, 4) if c.train and infer else None,
            **_bound(c, train if c.train else infer),
            "by_kind": _by_kind(c.graph, part.plan),
            "peak_step": part.plan.steps[part.plan.peak_step].name if part.plan.steps else "",
        },
        "flash": {
            "weights": sizes["constants"] if sizes else c.context.constant_bytes,
            "code": sizes["code"] if sizes else None,
            "total": sizes["constants"] + sizes["code"] if sizes else None,
        },
        "trainable": _trainable(c),
        "adapters": _adapters(c),
        "macs": _macs(c),
        "compare": _compare(c, state) if c.train else None,
    }


def _bound(c: Compilation, arena: int) -> dict[str, Any]:
    """What no placement can beat, how that is known, and how far above it the arena is."""
    plans = [part.plan for part in (c.infer, c.train) if part]
    bound = max(plan.lower_bound for plan in plans)
    kind = "proved" if all(plan.proved for plan in plans) else "per step"
    return {"lower_bound": bound, "lower_bound_kind": kind, "gap": round(arena / bound - 1, 6) if bound else 0.0}


def _calibration(c: Compilation) -> str:
    if not c.train:
        return "none"
    given = c.options.calibration
    if given is None:
        return "random inputs"
    return f"{min(len(given[0] if isinstance(given, tuple) else given), 32)} samples"


def _by_kind(graph: Graph, plan: Plan) -> dict[str, int]:
    """Bytes by kind: the arena at its peak step, and the whole state (control with its header and padding)."""
    live = plan.live[plan.peak_step] if plan.live else {}
    found = {"activations": live.get("activation", 0), "saved": live.get("saved", 0), "gradients": live.get("gradient", 0)}
    found |= {"scratch": live.get("scratch", 0), "scalars": live.get("scalar", 0)}
    for kind, title in (("trainable", "trainable"), ("master", "trainable"), ("exponent", "trainable"), ("accumulator", "accumulators")):
        found[title] = found.get(title, 0) + _state_bytes(graph, kind)
    found["optimizer"] = _state_bytes(graph, "optimizer")
    rest = state_layout(graph).bytes - sum(found[k] for k in ("trainable", "accumulators", "optimizer"))
    return {**found, "control": rest if graph.state() else 0}


def _state_bytes(graph: Graph, kind: str) -> int:
    return sum(v.type.bytes for v in graph.state() if v.kind == kind)


def _trainable(c: Compilation) -> dict[str, Any]:
    count = sum(c.graph.type(p.values["value"]).size for p in c.graph.parameters)
    frozen = sum(v.type.size for v in c.base.values.values() if v.kind == "constant")
    update = c.context.adapter.file_bytes - SIGNATURE_BYTES if c.context.adapter else 0
    held = sum(_state_bytes(c.graph, kind) for kind in PARAMETER_KINDS)
    return {
        "parameters": count,
        "fraction": round(count / frozen, 6) if frozen else 0.0,
        "update_bytes": update,
        "state_bytes_per_parameter": round(held / count, 4) if count else 0.0,
    }


def _adapters(c: Compilation) -> dict[str, Any] | None:
    """Memory of the adapters that a build takes, and what they are checked for; None where it takes none."""
    if c.context.adapter is None:
        return None
    options, a = c.options.adapters, c.context.adapter
    return {
        "base": sum(v.type.bytes for v in c.base.values.values() if v.kind == "constant"),
        "active": c.context.adapter_payload,
        "resident": a.resident,
        "slot": a.slot_bytes,
        "resident_total": a.resident * a.slot_bytes,
        "file": a.file_bytes - (0 if options.public_key else SIGNATURE_BYTES),
        "checked_for": "damage and origin" if options.public_key else "damage",
        "rollback_protection": options.rollback_protection,
        "slots": options.slots,
        "self_test": a.test_samples,
    }


def _macs(c: Compilation) -> dict[str, int]:
    graph = c.graph
    forward = sum(n.op.macs(node_types(c.infer.graph, n)) for n in c.infer.graph.nodes)
    backward = sum(n.op.macs(node_types(graph, n)) for n in graph.phase("backward"))
    return {"forward": forward, "backward": backward}


def _compare(c: Compilation, state: int) -> dict[str, dict[str, int]]:
    """The same training without this planner's work.

    standard_peft: every forward activation of the training graph kept to the end, as frameworks do by default.
    full_finetuning: that, and for every weight and bias a float32 value, gradient and the optimizer's moments.
    """
    assert c.train is not None
    kept = _kept_to_the_end(c.train).arena_bytes
    count = sum(v.type.size for v in c.base.values.values() if v.kind == "constant")
    moments = c.options.optimizer.moments_per_parameter
    full_state = 4 * (2 + moments) * count
    return {
        "standard_peft": {"arena": kept, "state": state, "total": kept + state},
        "full_finetuning": {"arena": kept, "state": full_state, "total": kept + full_state},
    }


def _kept_to_the_end(train: Slice) -> Plan:
    """The plan of a slice in which no forward activation is freed or reused before the last step."""
    graph = train.graph
    forward = {name for n in graph.phase("forward") for name in n.outputs}
    last = graph.nodes[-1]
    held = {f"kept {name}": name for name in sorted(forward)}
    extended = replace(graph, nodes=(*graph.nodes[:-1], replace(last, inputs={**last.inputs, **held})))

    def scratch(node: Node) -> int:
        return scratch_bytes(graph, node) if node.name != last.name else 0

    return plan_memory(extended, scratch, frozenset(caller_buffers(graph)), train.plan.alignment)
