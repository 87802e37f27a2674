"""`kilotune validate`: the generated C beside another engine, on a user's own samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.ir import run
from kiloc.passes import with_rounding

from . import oracles
from .building import build
from .cache import scratch_directory
from .data import Dataset
from .devices.data import dequantize
from .model import Model

Codes = NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How far two results of the same layer are apart. equal: share of values; largest: in steps of the integers."""

    name: str
    operator: str
    equal: float
    largest: int

    @classmethod
    def of(cls, name: str, operator: str, ours: Codes, theirs: Codes) -> Difference:
        steps = np.abs(ours.reshape(-1).astype(np.int64) - theirs.reshape(-1).astype(np.int64))
        return cls(name, operator, float(np.mean(steps == 0)), int(steps.max(initial=0)))


@dataclass(frozen=True)
class Validation:
    """What was compared. cosine: least of all samples, of the outputs' real values; None where an output is all zeros."""

    oracle: str
    exact: bool
    """Whether the engine computes in integers, as the generated C: then every bit should be the same."""
    samples: int
    device: str
    output: Difference
    same_class: float | None
    cosine: float | None
    interpreter_equal: bool
    """Whether the generated C gives the integers of the NumPy interpreter, whose layers are compared."""
    layer_oracle: str | None
    layers: list[Difference]
    """The NumPy interpreter, in the rounding of `layer_oracle`, beside it."""
    instructions: int | None
    """Of one inference; None on devices that count none."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def text(self) -> str:
        """For a person, in 80 columns but for names."""
        lines = [
            f"generated C on {self.device} beside {self.oracle}",
            f"{'samples':<20}{self.samples}",
            f"{'values equal':<20}{self.output.equal:.4%}",
            f"{'largest step':<20}{self.output.largest}",
        ]
        if self.same_class is not None:
            lines.append(f"{'same class':<20}{self.same_class:.2%}")
        if self.cosine is not None:
            lines.append(f"{'least cosine':<20}{self.cosine:.6f}")
        lines.append(f"{'NumPy interpreter':<20}{'the same bits as the C' if self.interpreter_equal else 'DIFFERS from the C'}")
        counted = f"{self.instructions:,} an inference" if self.instructions else "counted on emulated boards only: --device qemu:..."
        lines += [f"{'instructions':<20}{counted}", f"{'cycles':<20}not counted: that takes a board"]
        if self.layer_oracle is None:
            return "\n".join([*lines, "", "layers: pip install ai-edge-litert gives them for .tflite, onnxruntime for .onnx"])
        width = max([len(x.name) for x in self.layers] + [5])
        lines += ["", f"layers, NumPy interpreter beside {self.layer_oracle}:", f"{'layer':<{width}}  {'equal':>9}  {'largest step':>12}  operator"]
        return "\n".join([*lines, *(f"{x.name:<{width}}  {x.equal:>9.3%}  {x.largest:>12}  {x.operator}" for x in self.layers)])


def validate(model: Model, samples: Dataset, device: str = "host", oracle: str | None = None, target: str = "cortex-m4") -> Validation:
    """Run samples through generated C and through another engine. Raises CompileError, DeviceError."""
    chosen = oracles.choose(model, oracle)
    inputs = model.quantize_inputs(samples.x)
    theirs = np.concatenate(oracles.outputs(chosen, model, inputs), axis=1)
    graph = model.graph
    with scratch_directory() as scratch:
        built = build(model, Path(scratch) / "build", profile=chosen.profile or "tflm", target=target, measure=False)
        counts = {"count": True} if device.startswith("qemu:") else {}
        with built.open(device) as opened:
            found = opened.infer(list(inputs) if len(inputs) > 1 else inputs[0])
        instructions = None
        if counts:
            with built.open(device, **counts) as opened:
                opened.infer([x[:1] for x in inputs] if len(inputs) > 1 else inputs[0][:1])
                instructions = opened.stats()["instructions"]
    ours = np.concatenate([np.asarray(a).reshape(len(theirs), -1) for a in (found if isinstance(found, list) else [found])], axis=1)
    profile = chosen.profile or "tflm"
    arrays = _interpreted(model, inputs, profile)
    interpreted = np.concatenate([arrays[name].reshape(len(ours), -1) for name in graph.outputs], axis=1)
    within = oracles.layers(model, inputs)
    if within is not None and within[0].profile not in (None, profile):
        arrays = _interpreted(model, inputs, str(within[0].profile))
    first = oracles.tensor_of(graph, graph.outputs[0])
    a, b = ours[:, : first.size], theirs[:, : first.size]
    layers = []
    for node in graph.nodes if within else ():
        other = within[1].get(node.name) if within else None
        if other is not None and other.size == arrays[node.outputs[0]].size:
            layers.append(Difference.of(node.name, node.op.mnemonic, arrays[node.outputs[0]], other))
    return Validation(
        chosen.title, chosen.profile is not None, len(ours), device, Difference.of("output", "", ours, theirs),
        float(np.mean(a.argmax(axis=1) == b.argmax(axis=1))) if first.size > 1 else None, _cosine(dequantize(a, first), dequantize(b, first)),
        bool(np.array_equal(interpreted, ours)), within[0].title if within else None, layers, instructions,
    )  # fmt: skip


def _interpreted(model: Model, inputs: Sequence[Codes], profile: str) -> dict[str, Codes]:
    """Every value of the model in NumPy, with the rounding of a profile."""
    return run(with_rounding(model.graph, profile), dict(zip(model.graph.inputs, inputs, strict=True)))


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not norms.all():
        return None
    return float(((a * b).sum(axis=1) / norms).min())
