"""ONNX models whose weights lie in another file: taken from beside the model, and from nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from qdq_models import one

from kiloc import frontend
from kiloc.errors import CompileError


def external(folder: Path, location: str = "weights.bin") -> Path:
    m = one(lambda m, x: m.op("Gemm", x, m.weights(12, 5, axis=1), m.bias(5)), 1, 12)
    proto = m.proto()
    (tensor,) = [t for t in proto.graph.initializer if t.dims == [12, 5]]
    (folder / "weights.bin").write_bytes(b"12345" + tensor.raw_data)
    tensor.raw_data = b""
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "5"), ("length", "60")):
        tensor.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    graph = frontend.load(path)
    weights = next(v.data for n, v in graph.values.items() if n.endswith(".weights"))
    whole = onnx.load(path)
    (tensor,) = [t for t in whole.graph.initializer if t.dims == [12, 5]]
    assert weights is not None and np.array_equal(weights, numpy_helper.to_array(tensor).T)


def _missing(folder: Path) -> Path:
    path = external(folder)
    (folder / "weights.bin").unlink()
    return path


def _linked(folder: Path) -> Path:
    inside = folder / "inside"
    inside.mkdir()
    external(folder)
    path = external(inside)
    (inside / "weights.bin").unlink()
    (inside / "weights.bin").symlink_to(folder / "weights.bin")
    return path


ELSEWHERE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "above": (lambda p: external(p, "../weights.bin"), "does not lie beside the model"),
    "absolute": (lambda p: external(p, str(p / "weights.bin")), "does not lie beside the model"),
    "missing": (_missing, "cannot be read"),
    "linked": (_linked, "a link to another folder"),
    "folder": (lambda p: external(p, "."), "not a regular file"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_weights_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    make, words = ELSEWHERE[name]
    with pytest.raises(CompileError, match=words):
        frontend.load(make(tmp_path))
