"""Layers with channels of small multipliers and a trained bias or LoRA: within bounds their fast kernel computes what the layer means."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from drawn_layers import depthwise, linear
from kernel_driver import Case, Library, Rng, check, codes, library, one, pick
from test_method_kernels_against_numpy import with_gain
from test_packed_kernels_against_numpy import in_form, meaning, row_with_lora, small_window, wide

from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.interp import initial_state
from kiloc.ir.types import TensorType, scalar
from kiloc.ir.verify import verify
from kiloc.ops._merged import EXPONENT, MERGED
from kiloc.ops.fast.merged import Merged
from kiloc.ops.fast.packed import PackedLinear
from kiloc.ops.fast.packed_depthwise import PackedDepthwise
from kiloc.ops.fast.triple import TripleLinear
from kiloc.ops.fast.triple_depthwise import TripleDepthwise
from kiloc.passes.bounded_biases import bounds_of, with_bounded_biases, without_bounded_biases
from kiloc.passes.kernels import choose

__all__ = ["library"]

KINDS = {"weights": "constant", "bias": "trainable", "gain": "trainable", "gain_exponent": "exponent", "x": "input"}
KINDS |= {MERGED: "trainable", EXPONENT: "exponent"}
KINDS |= {"lora_u": "input", "lora_b": "trainable", "lora_range": "exponent", "lora_b_exponent": "exponent"}
STARTS_AT_0 = ("gain", "lora_b", MERGED)
FAST = (PackedLinear, PackedDepthwise, TripleLinear, TripleDepthwise, Merged)
SEEDS = 18


def with_small_multipliers(case: Case, r: Rng) -> Case:
    """The case with scales of some channels far below the others', and biases that are as large for them."""
    q, bias = case.types["weights"].quantization, case.arrays["bias"].astype(np.int64)
    assert q is not None
    count = bias.size
    far = np.where(r.random(count) < pick(r, 0.1, 0.4), r.integers(3, 24, count), 0)
    far[int(r.integers(count))] = int(r.integers(3, 24))
    scales = tuple(float(np.float32(s)) for s in np.broadcast_to(np.array(q.scale), count) * 2.0**-far)
    axis = len(case.types["weights"].shape) - 1 if isinstance(case.op, type(depthwise(r, 4).op)) else 0
    weights = replace(case.types["weights"], quantization=replace(q, scale=scales, axis=axis))
    codes = case.arrays["weights"].copy()
    np.maximum(codes, -127, out=codes)
    start = np.clip(bias * 2**far // pick(r, 1, 1, 64), -(2**30), 2**30).astype(np.int32)
    return replace(case, types={**case.types, "weights": weights}, arrays={**case.arrays, "weights": codes, "bias": start})


def layer(r: Rng, kind: str) -> tuple[Case, Graph]:
    """A layer, and the graph that has it alone, its bias trained; that of one with LoRA may be frozen."""
    kinds = dict(KINDS)
    if kind == "lora":
        case = row_with_lora(r) if r.random() < 0.3 else linear(r, "lora")
        kinds["bias"] = pick(r, "constant", "trainable")
    elif kind == "depthwise":
        case = small_window(depthwise(r, 4), r) if r.random() < 0.7 else depthwise(r, 4)
    else:
        case = wide(r, pick(r, 1, 3)) if r.random() < 0.3 else linear(r, "")
    case = with_small_multipliers(in_form(case, r, bool(r.random() < 0.6)), r)
    case = with_gain(case, r, case.types["bias"].size) if r.random() < 0.5 and kind != "lora" else case
    if kind == "merged":
        shape = case.types["weights"].shape
        types = {**case.types, MERGED: TensorType(shape, "int8"), EXPONENT: scalar("int8")}
        case = replace(case, types=types, arrays={**case.arrays, MERGED: codes(r, *shape), EXPONENT: one(int(r.integers(-16, -4)))})
    start = {o: np.zeros_like(a) if o in STARTS_AT_0 else a for o, a in case.arrays.items()}
    inputs = tuple(o for o in case.types if kinds[o] == "input")
    values = [Value(o, t, kinds[o], None if o in inputs else start[o]) for o, t in case.types.items()]
    y = Value("y", case.results[0], "activation")
    return case, verify(Graph("m", {v.name: v for v in (*values, y)}, (Node("layer", case.op, {o: o for o in case.types}, ("y",)),), inputs, ("y",)))


def bounded(case: Case, graph: Graph) -> Case:
    """The layer's operands as it reads them in the graph with bounds."""
    arrays = dict(case.arrays)
    for operand, value in graph.node("layer").inputs.items():
        if (bounds := bounds_of(graph, value)) is not None:
            arrays[operand] = bounds.bounded(np.asarray(arrays[operand]))
    return replace(case, arrays=arrays)


def in_kernel(case: Case, graph: Graph, core: str) -> tuple[Case, str]:
    """The case with the kernel that a core has for the layer, and why it is slow."""
    choice = choose(graph, graph.node("layer"), core)
    every = {**graph.values, **{v.name: v for v in choice.values}}
    operands = {v: o for o, v in graph.node("layer").inputs.items()}
    types = {o: every[v].type for o, v in choice.node.inputs.items()}
    arrays = {o: case.arrays[operands[v]] if v in operands else every[v].data for o, v in choice.node.inputs.items()}
    return Case(choice.node.op, types, arrays, case.results), choice.slow  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["linear", "depthwise", "merged", "lora"])
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus"])
def test_a_layer_within_bounds_has_a_fast_kernel_of_its_meaning(library: Library, kind: str, core: str) -> None:
    """From the biases that training starts from, from small ones, and from the ends of int32."""
    found = Counter[str]()
    for seed in range(SEEDS if kind in ("linear", "depthwise") else 4 * SEEDS):
        r = np.random.default_rng([seed, 41])
        case, graph = layer(r, kind)
        within = with_bounded_biases(graph)
        if within is graph:
            continue
        assert without_bounded_biases(within) == graph
        start = replace(case, arrays={**case.arrays, **{o: a for o, a in initial_state(graph).items() if o in case.arrays}})
        np.testing.assert_array_equal(meaning(bounded(start, within)), meaning(start))
        before, (_, slow) = in_kernel(case, graph, core)[1], in_kernel(case, within, core)
        found["no longer slow"] += "no bound" in before + slow or "no room" in before + slow
        shape = case.arrays["bias"].shape
        others = (r.integers(-(2**31), 2**31, shape), np.full(shape, pick(r, -(2**31), 2**31 - 1)))
        for biases in (case.arrays["bias"], *(others if graph.values["bias"].is_state else ())):
            trained = bounded(replace(case, arrays={**case.arrays, "bias": biases.astype(np.int32)}), within)
            kernel, why = in_kernel(trained, within, core)
            assert "no bound" not in why and "no room" not in why
            np.testing.assert_array_equal(meaning(kernel), meaning(trained))
            if isinstance(kernel.op, FAST):
                found["in a fast kernel"] += 1
                if kind != "merged":  # whose weights generated code makes: tests/e2e/test_bounded_biases_on_devices.py
                    check(library, kernel)
    assert found["no longer slow"] > SEEDS // 6 and found["in a fast kernel"] > SEEDS // 2, found
