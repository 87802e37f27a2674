"""The samples that calibrate a build: inputs of the original domain, or random ones, with what the forward pass makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .ir import interp
from .ir.graph import Graph
from .ir.types import RANGES, TensorType
from .losses import as_loss
from .ops.model.embedding import token_codes
from .options import Options

SLICES = 256
"""Slices of a model that keeps its state, one after the other, from which the samples are taken."""
SAMPLES = 32
"""Calibration samples used: more change no shift (the exponents move by less than a bit)."""


def run_samples(base: Graph, options: Options) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
    """Forward activations of the calibration samples, and their targets where given."""
    rng = np.random.Generator(np.random.Philox([options.seed, 1]))
    if options.calibration is None:
        inputs = [_random(rng, base.type(i), token_codes(base, i)) for i in base.inputs]
        given = dict(zip(base.inputs, inputs, strict=True))
        return interp.run(base, given | _kept_before(base, given, np.arange(SAMPLES))), None
    x, y = options.calibration, options.calibration_target
    arrays = x if isinstance(x, tuple) else (x,)
    if len(arrays) != len(base.inputs):
        raise CompileError("calibration", f"holds {len(arrays)} inputs, {base.name} has {len(base.inputs)}", "pass one array for each")
    count = len(arrays[0])
    for name, a in zip(base.inputs, arrays, strict=True):
        expected, dtype = base.type(name).shape[1:], base.type(name).dtype
        if a.dtype != dtype or a.shape[1:] != expected or len(a) == 0 or len(a) != count:
            takes = f"the model takes {dtype} [N, {', '.join(map(str, expected))}]"
            raise CompileError("calibration", f"is {a.dtype}{a.shape}, {takes}", "pass samples of the original domain")
        codes = token_codes(base, name)
        if codes is not None and (a.min() < codes[0] or a.max() > codes[1]):
            what = f"holds tokens outside the model's vocabulary: its codes are {codes[0]} to {codes[1]}"
            raise CompileError("calibration", what, "pass tokens as the model was trained with")
    if y is not None and len(y) != count:
        raise CompileError("calibration", f"{len(y)} targets for {count} samples", "pass as many targets as samples")
    chosen = rng.permutation(count)[:SAMPLES] if not base.streams() else np.linspace(0, min(count, SLICES) - 1, min(count, SAMPLES)).astype(np.int64)
    whole = dict(zip(base.inputs, arrays, strict=True))
    given = {name: a[chosen] for name, a in whole.items()} | _kept_before(base, whole, chosen)
    return interp.run(base, given), None if y is None else np.asarray(y)[chosen]


def _kept_before(base: Graph, slices: Mapping[str, NDArray[Any]], chosen: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What a model keeps from call to call in front of the chosen slices, ascending: [N, ...] by name."""
    state, found = interp.initial_state(base), {v.name: list[NDArray[Any]]() for v in base.streams()}
    for number in range(int(chosen[-1]) + 1 if found else 0):
        if number in chosen:
            for name, rows in found.items():
                rows.append(state[name].copy())
        interp.run(base, {name: a[number : number + 1] for name, a in slices.items()}, state)
    return {name: np.concatenate(rows) for name, rows in found.items()}


def _random(rng: np.random.Generator, t: TensorType, tokens: tuple[int, int] | None) -> NDArray[Any]:
    """Samples of an input: normal around the middle of its range, a sixth of which is the deviation; of tokens each as likely as any other."""
    if tokens is not None:
        return rng.integers(tokens[0], tokens[1] + 1, (SAMPLES, *t.shape[1:])).astype(t.dtype)
    low, high = RANGES[t.dtype]
    middle, step = (low + high + 1) / 2, (high - low + 1) / 256
    return np.asarray(np.clip((rng.normal(0, 42, (SAMPLES, *t.shape[1:])) * step + middle).round(), low, high).astype(t.dtype))


def targets_of(graph: Graph, options: Options, target: NDArray[Any] | None, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What the graph's last input holds for calibration: the targets, or where the loss takes none the model's own input."""
    count = len(next(iter(inputs.values())))
    found = as_loss(options.loss).targets(graph.type(graph.node("loss").inputs["y"]), target, count)
    return inputs[graph.inputs[-1]] if found is None else found
