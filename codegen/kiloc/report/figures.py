"""The figures of a build: from the plans and, for code, from the linked ELF. Bytes throughout."""

from __future__ import annotations

from typing import Any

from ..emit.adapter_table import SIGNATURE_BYTES
from ..emit.replay import front_of
from ..emit.state_layout import state_layout
from ..ir.graph import REPLAY, STREAM, Graph
from ..ir.verify import total_macs
from ..losses import as_loss
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..passes.offload import moved_bytes
from ..passes.slices import inference_slice
from ..pipeline import Compilation
from ..plan import Plan, kind_of
from .channels import bounded_biases, constant_channels, cut_windows
from .compare import compare
from .front import recompute_front
from .kernels import kernels

ARENA_KINDS = ("activations", "saved", "gradients", "scratch", "scalars")
PARAMETER_KINDS = ("trainable", "remainder", "exponent", "accumulator", "optimizer")
"""The part of the state that grows with the parameters."""


def figures(c: Compilation, sizes: dict[str, Any] | None, stack: dict[str, Any] | None = None) -> dict[str, Any]:
    """The report of the design's schema. sizes: what `toolchain.measure` read from the ELF, None where no compiler was there; stack: the bounds
    of the same program (`kilotune.stack`), None where nothing was measured."""
    part = c.train or c.infer
    state = state_layout(c.graph).bytes if c.graph.state() else 0
    infer, train = c.context.arena_infer, c.context.arena_train if c.train else c.context.arena_infer
    return {
        "model": {
            "name": c.graph.name,
            "origin": c.graph.origin,
            "layers": sum(1 for n in c.base.nodes if isinstance(n.op, Linear | DepthwiseConv2D)),
            "methods": [m.describe() for m in c.options.methods],
            "optimizer": c.options.optimizer.describe() if c.train else None,
            "loss": as_loss(c.options.loss).describe() if c.train else None,
            "calibration": _calibration(c),
            "class_names": list(c.options.class_names),
            "notes": list(c.graph.notes),
        },
        "features": _features(c),
        "target": c.options.target,
        "memory": {
            "infer_arena": infer,
            "train_arena": train if c.train else 0,
            "state": state,
            "slow": c.context.page_bytes,
            "moved": _moved(c),
            "train_total": train + state if c.train else 0,
            "train_to_infer": round((train + state) / infer, 4) if c.train and infer else None,
            **_bound(c, train if c.train else infer),
            "by_kind": _by_kind(c.graph, part.plan),
            "above_inference": _above_inference(c, train + state) if c.train else None,
            "at_peak": _at_peak(part.plan),
            **(recompute_front(c) if c.train and c.options.front else {"recompute_front": [], "recompute_front_exact": c.train is None}),
            "peak_step": part.plan.steps[part.plan.peak_step].name if part.plan.steps else "",
        },
        "kernels": kernels(c),
        "flash": {
            "weights": sizes["constants"] if sizes else c.context.constant_bytes,
            "code": sizes["code"] if sizes else None,
            "total": sizes["constants"] + sizes["code"] if sizes else None,
            "kernels": sizes["kernels"] if sizes else {},
        },
        "stack": stack,
        "sliced_step": _sliced(c),
        "trainable": _trainable(c),
        "adapters": _adapters(c),
        "replay": _replay(c),
        "macs": _macs(c),
        "constant_channels": constant_channels(c),
        "cut_windows": cut_windows(c),
        "bounded_biases": bounded_biases(c),
        "compare": compare(c) if c.train else None,
    }


def _bound(c: Compilation, arena: int) -> dict[str, Any]:
    """What no placement can beat, how that is known, and how far above it the arena is."""
    plans = [part.plan for part in (c.infer, c.train) if part]
    front_end = c.context.features.arena_bytes if c.context.features else 0
    bound = max(front_end, *(plan.lower_bound for plan in plans))
    kind = "proved" if all(plan.proved for plan in plans) else "per step"
    return {"lower_bound": bound, "lower_bound_kind": kind, "gap": round(arena / bound - 1, 6) if bound else 0.0}


def _sliced(c: Compilation) -> dict[str, Any] | None:
    """How a training step falls into slices; None where it is done in one."""
    sliced = c.context.sliced
    if sliced is None:
        return None
    longest = max(sliced.steps, key=lambda s: s.instructions)
    slices, left = 0, 0
    for step in sliced.steps:  # as the generated function goes
        if step.instructions > left:
            slices, left = slices + 1, sliced.budget
        left -= min(step.instructions, left)
    over = [s for s in sliced.steps if s.instructions > sliced.budget]
    return {
        "instructions": sliced.budget,
        "steps": len(sliced.steps),
        "total": sum(s.instructions for s in sliced.steps),
        "slices": slices,
        "longest": {"step": longest.name, "instructions": longest.instructions},
        "over": [{"step": s.name, "kernel": s.kernel, "instructions": s.instructions} for s in over],
    }


def _moved(c: Compilation) -> int:
    """Bytes that a training step moves to slow memory and back, both ways together."""
    moments = 2 * c.context.moment_bytes if c.context.updates_at_once else 0
    return moments + moved_bytes(c.train.graph) if c.train else 0


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
    for kind, title in (("trainable", "trainable"), ("remainder", "trainable"), ("exponent", "trainable"), ("accumulator", "accumulators")):
        found[title] = found.get(title, 0) + _state_bytes(graph, kind)
    found["optimizer"] = _state_bytes(graph, "optimizer")
    if graph.streams():
        found["kept"] = _state_bytes(graph, STREAM)
    if replay := _state_bytes(graph, REPLAY):
        found["replay"] = replay
    rest = state_layout(graph).bytes - sum(found.get(k, 0) for k in ("trainable", "accumulators", "optimizer", "kept", "replay"))
    return {**found, "control": rest if graph.state() else 0}


def _above_inference(c: Compilation, total: int) -> dict[str, int]:
    """What makes training take more than inference, by kind: the difference of the peaks, the state, and of what placement adds to both."""
    assert c.train is not None
    peak, usual = _by_kind(c.graph, c.train.plan), _by_kind(c.infer.graph, c.infer.plan)
    found = {kind: size - (usual[kind] if kind in ARENA_KINDS else 0) for kind, size in peak.items()}
    found["placement"] = total - c.context.arena_infer - sum(found.values())
    return {kind: size for kind, size in found.items() if size}


def _at_peak(plan: Plan) -> list[dict[str, Any]]:
    """The buffers alive at the peak step, largest first."""
    step = plan.peak_step
    alive = [b for b in plan.buffers if b.first <= step <= b.last]
    return [{"values": b.values, "kind": kind_of(b), "bytes": b.size} for b in sorted(alive, key=lambda b: -b.size)]


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


def _replay(c: Compilation) -> dict[str, Any] | None:
    """The buffer of old samples, and what a replayed step leaves out; None where there is none."""
    found = c.context.replay
    if found is None or c.train is None:
        return None
    plan, front = found.plan, {node.name for node in front_of(c.train, found.plan)}
    return {
        "samples": plan.options.samples,
        "policy": plan.options.policy,
        "keep": plan.options.keep,
        "bits": plan.options.bits,
        "values": list(plan.parts),
        "entry": plan.entry,
        "target": plan.label_bytes,
        "total": plan.bytes,
        "slow": plan.slow_bytes,
        "input": sum(c.train.graph.type(name).bytes for name in c.train.graph.model_inputs),
        "skipped_macs": total_macs(c.train.graph, [node for node in c.train.graph.nodes if node.name in front]),
    }


def _features(c: Compilation) -> dict[str, Any] | None:
    """What the front end computes and takes."""
    made = c.context.features
    if made is None:
        return None
    return {
        "front_end": repr(made.front),
        "frames": made.front.frames,
        "width": made.front.width,
        "scratch": made.scratch_bytes,
        "constants": made.plan.constant_bytes,
    }


def _macs(c: Compilation) -> dict[str, int]:
    """Of one sample: inference, and what a training step does beyond it; what is computed twice included."""
    forward = total_macs(inference_slice(c.reduced))
    return {"forward": total_macs(c.infer.graph), "backward": total_macs(c.train.graph) - forward if c.train else 0}
