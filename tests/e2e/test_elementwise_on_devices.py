"""Operators element by element on devices: inference and training steps of a model around each, on the host and emulated cores in step with the
interpreter, and a model of meter digits, whose normalisations were not fused, trained through them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import test_movement_parity
import test_recurrent_training
from cases import TRAINED
from golden.reference import Reference, samples
from gradients.test_gradients_against_jax import with_operator

import kilotune as kt
from kiloc import pipeline
from kiloc.export import onnx, tflite
from kiloc.ir import interp
from kiloc.ops import REGISTRY
from kiloc.options import Options
from kiloc.peft import Method
from kilotune.building import write_build

ELSEWHERE = {node.op.mnemonic for graph in (test_movement_parity.graph(), test_recurrent_training.sequence_model()) for node in graph.nodes}
OPERATORS = sorted((set(TRAINED) & set(REGISTRY)) - ELSEWHERE - {"svdf"})
"""That have a gradient, and are in no other model of this folder; an SVDF keeps a state from call to call (test_slices_training.py)."""
BOARDS = {"cortex-m4": "mps2-an386", "cortex-m55": "mps3-an547"}
"""With kernels of their own; smaller cores run those of the host, which `tests/ops/test_kernels_on_cores.py` has run there one by one."""
METHODS: dict[str, tuple[Method, ...]] = {
    "bias": (kt.BiasOnly(),),
    "lora": (kt.BiasOnly(), kt.LoRA(rank=2, layers="all")),
    "scale-shift": (kt.ScaleShift(),),
}


def in_step(model: kt.Model, methods: tuple[Method, ...], folder: Path, device: str, steps: int, target: str = "") -> None:
    """Inference and training steps on a device give the interpreter's bits."""
    x = samples(model.graph, 24)
    classes = model.graph.type(model.graph.outputs[0]).size
    y = np.random.default_rng(0).integers(0, classes, len(x)).astype(np.int32)
    options = Options(methods=methods, calibration=(x,), calibration_target=y, **({"target": target} if target else {}))
    compiled = pipeline.compile_graph(model.graph, options, kt.__version__)
    reference = Reference(compiled)
    with write_build(model, compiled, folder, measure=False).open(device) as running:
        assert np.array_equal(running.infer(x[:4]), interp.infer(model.graph, x[:4])[0])
        for sample, label in zip(x[:steps], y[:steps], strict=True):
            assert running.train_step(sample, label) == pytest.approx(reference.train_step(sample, label), abs=0)
            running.apply()
            reference.apply()
        assert running.state() == reference.state()


def written(name: str, tmp_path: Path) -> kt.Model:
    """As .tflite, or where that format has no such operator as .onnx; a GRU, which no writer has, as it is."""
    if name == "gru":
        (tmp_path / "model.txt").write_text("the graph is made by hand")
        return kt.Model(tmp_path / "model.txt", with_operator(name))
    kind, write = (".tflite", tflite.write) if REGISTRY[name].tflite else (".onnx", onnx.write)
    (tmp_path / f"model{kind}").write_bytes(write(with_operator(name)))
    return kt.load(tmp_path / f"model{kind}")


@pytest.mark.parametrize("name", OPERATORS)
def test_on_the_host(name: str, tmp_path: Path) -> None:
    in_step(written(name, tmp_path), METHODS["bias"], tmp_path / "b", "host", 4)


@pytest.mark.qemu
@pytest.mark.parametrize("core", BOARDS)
@pytest.mark.parametrize("name", OPERATORS)
def test_on_emulated_cores(name: str, core: str, tmp_path: Path, qemu: str) -> None:
    in_step(written(name, tmp_path), METHODS["bias"], tmp_path / "b", f"qemu:{BOARDS[core]}", 1, core)


@pytest.mark.parametrize("method", METHODS)
def test_meter_digits_train_through_their_normalisations(method: str, data_dir: Path, tmp_path: Path) -> None:
    model = kt.load(data_dir / "models" / "meter_digits_int8.tflite")
    in_step(model, METHODS[method], tmp_path / "b", "host", 2)
