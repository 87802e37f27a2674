"""What becomes of one model file: `python -m kilotune.survey FILE` prints it as JSON. A process of its own, because an interpreter of other
people may end it on a model that it does not expect."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError, ModelError, differentiate
from kiloc.ir import Graph, run
from kiloc.ops import token_codes
from kiloc.optim import SGD, with_accumulators
from kiloc.passes import with_whole_sequences
from kiloc.peft import BiasOnly, Calibration, attach_all, has_weights

from ..building import Build, build
from ..errors import DeviceError
from ..model import Model, load
from . import oracles

SAMPLES = 16
"""Inputs that are tried, unless the caller says otherwise."""

COMPILED, REFUSED, FAILED = "compiled", "refused", "failed"


@dataclass
class Outcome:
    """A model file. Sizes in bytes; macs and seconds of inference, and of loading and building it.

    oracle: the interpreter whose results were compared, "" for none; then `unchecked` says why. steps: the largest difference to its
    integers, 0 where all are equal. trainable: layers with weights that have a gradient, of `layers`; untrainable: where and why it ends.
    failure: the last line of a traceback.
    """

    file: str
    outcome: str = FAILED
    reasons: list[dict[str, str]] = field(default_factory=list)
    failure: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    samples: int = 0
    oracle: str = ""
    unchecked: str = ""
    steps: int | None = None
    trainable: int = 0
    layers: int = 0
    untrainable: str = ""
    arena: int = 0
    flash: int | None = None
    macs: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return self.steps == 0


def outcome_of(path: Path, target: str, samples: int, check: bool) -> Outcome:
    """What becomes of a file: never an exception."""
    found = Outcome(path.name)
    begin = time.perf_counter()
    try:
        model = load(path)
        found.inputs, found.outputs = ([_shown(model.graph, name) for name in names] for names in (model.graph.inputs, model.graph.outputs))
        found.notes = list(model.graph.notes)
        with tempfile.TemporaryDirectory(prefix="kilotune-survey-") as folder:
            made = build(model, Path(folder) / "build", target=target)
            found.seconds = time.perf_counter() - begin
            found.arena, found.macs = made.report["memory"]["infer_arena"], made.report["macs"]["forward"]
            flash = made.report["flash"]
            found.flash = flash.get("total") or flash.get("weights")
            found.outcome = COMPILED
            _count_trainable(found, model)
            if check:
                _compare(found, model, made, samples)
            else:
                found.unchecked = "the interpreter ended the process"
    except CompileError as error:
        found.outcome = REFUSED
        reasons = error.reasons if isinstance(error, ModelError) else (error,)
        found.reasons = [{"where": r.where, "what": r.what, "hint": r.hint} for r in reasons]
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found.outcome, found.failure = FAILED, f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {error}"
    found.seconds = found.seconds or time.perf_counter() - begin
    return found


def _shown(graph: Graph, name: str) -> str:
    t = graph.type(name)
    return f"{t.dtype} {'x'.join(map(str, t.shape[1:]))}"


# -- bits ---------------------------------------------------------------------------------------------
def inputs_of(graph: Graph, count: int) -> list[NDArray[Any]]:
    """Random codes: half of them uniform, half around the middle of the range."""
    rng, found = np.random.default_rng(1), []
    for name in graph.inputs:
        t = graph.type(name)
        low, high = token_codes(graph, name) or (int(np.iinfo(t.dtype).min), int(np.iinfo(t.dtype).max))
        shape = (count - count // 2, *t.shape[1:])
        uniform = rng.integers(low, high + 1, shape)
        normal = rng.normal((low + high + 1) / 2, (high - low) / 6, (count // 2, *t.shape[1:])).round()
        found.append(np.clip(np.concatenate([uniform, normal]), low, high).astype(t.dtype))
    return found


def _results(made: Build, graph: Graph, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Outputs of the build on this computer, or of the graph where it has no compiler."""
    try:
        device = made.open("host")
    except DeviceError:
        values = run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        return [values[name] for name in graph.outputs]
    with device:
        given = device.infer(inputs if len(inputs) > 1 else inputs[0])
        return given if isinstance(given, list) else [given]


def _compare(found: Outcome, model: Model, made: Build, count: int) -> None:
    graph = model.graph
    oracle, found.unchecked = oracles.load(model.path, graph)
    if oracle is None:
        return
    inputs = inputs_of(graph, count)
    results = _results(made, graph, inputs)
    steps = 0
    for i in range(count):
        for name, ours, theirs in zip(graph.outputs, results, oracle.run([x[i : i + 1] for x in inputs]), strict=True):
            steps = max(steps, difference(graph, name, ours[i], theirs))
    found.samples, found.oracle, found.steps = count, oracle.name, steps


def difference(graph: Graph, name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> int:
    """The largest difference between an output's codes and what an oracle gave, in steps of the output."""
    t = graph.type(name)
    codes = theirs.reshape(-1).astype(np.float64)
    if theirs.dtype.kind == "f":
        codes = np.rint(codes / t.scale + t.zero_point).clip(np.iinfo(t.dtype).min, np.iinfo(t.dtype).max)
    elif theirs.dtype == np.uint8 and t.dtype == "int8":
        codes = codes - 128
    return int(np.abs(codes - ours.reshape(-1)).max())


# -- training -----------------------------------------------------------------------------------------
def _count_trainable(found: Outcome, model: Model) -> None:
    """How many of the layers with weights can be trained: from the last one on, as far as gradients reach."""
    found.layers = sum(has_weights(node) for node in model.graph.nodes)
    try:
        graph = with_whole_sequences(model.graph)
    except CompileError as error:
        found.untrainable = f"{error.where}: {error.what}"
        return
    names = [node.name for node in BiasOnly.fitting(graph)]
    forward = Calibration(run(graph, {name: np.zeros((1, *graph.type(name).shape[1:]), graph.type(name).dtype) for name in graph.inputs}), 0)

    def reached(count: int) -> bool:
        try:
            attached = with_accumulators(attach_all(graph, [BiasOnly(layers=tuple(names[-count:]))], forward), SGD())
        except CompileError as error:
            found.untrainable = f"{error.where}: {error.what}"
            return False
        for loss in ("cross_entropy", "bce", "mse"):
            try:
                differentiate(attached, loss)
                return True
            except CompileError as error:
                found.untrainable = f"{error.where}: {error.what}"
        return False

    low, high = 0, len(names)
    if names and reached(high):
        low, found.untrainable = high, ""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reached(middle) else (low, middle)
    found.trainable = low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--unchecked", action="store_true", help="ask no other interpreter")
    options = parser.parse_args()
    print(json.dumps(asdict(outcome_of(options.file, options.target, options.samples, not options.unchecked))))
