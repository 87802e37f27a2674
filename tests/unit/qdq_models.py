"""Small QDQ models, built tensor by tensor, and their way through our front end and through onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kiloc.errors import CompileError
from kiloc.frontend import onnx as frontend
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify

Array = NDArray[Any]
SAMPLES = 20
IMAGE = (1, 4, 9, 7)


class Qdq:
    """A QDQ model under construction; activations are named by their int8 tensor."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.parameters: dict[str, list[str]] = {}
        self.count = 0

    def fresh(self, base: str) -> str:
        self.count += 1
        return f"{base}_{self.count}"

    def init(self, data: Array, base: str = "const") -> str:
        name = self.fresh(base)
        self.initializers.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = self.fresh(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"/{name}/{kind}", **attributes))
        return name

    def input(self, *shape: int | str, scale: float = 0.05, zero: int = 3, dtype: Any = np.int8) -> str:
        name = self.fresh("x")
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        self.parameters[name] = [self.init(np.float32(scale)), self.init(dtype(zero))]
        return name

    def output(self, name: str, *shape: int | str, kind: int = TensorProto.INT8) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def d(self, name: str) -> str:
        return self.op("DequantizeLinear", name, *self.parameters[name])

    def q(self, name: str, scale: float, zero: int = -5, dtype: Any = np.int8) -> str:
        parameters = [self.init(np.float32(scale)), self.init(dtype(zero))]
        result = self.op("QuantizeLinear", name, *parameters)
        self.parameters[result] = parameters
        return result

    def alike(self, name: str, like: str) -> str:
        """A tensor with the parameters of another."""
        self.parameters[name] = self.parameters[like]
        return name

    def weights(self, *shape: int, axis: int | None = 0) -> str:
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        if axis is None:
            return self.op("DequantizeLinear", self.init(data, "w"), self.init(np.float32(0.01)), self.init(np.int8(0)))
        count = shape[axis]
        scales = self.rng.uniform(0.004, 0.02, count).astype(np.float32)
        return self.op("DequantizeLinear", self.init(data, "w"), self.init(scales), self.init(np.zeros(count, np.int8)), axis=axis)

    def bias(self, count: int) -> str:
        """A float bias: the front end quantises it."""
        return self.init(self.rng.normal(0, 1, count).astype(np.float32), "b")

    def proto(self, opset: int = 13) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def bytes(self, opset: int = 13) -> bytes:
        return bytes(self.proto(opset).SerializeToString())

    def load(self, opset: int = 13) -> Graph:
        return load(self.bytes(opset))

    def difference(self, opset: int = 13) -> int:
        """Largest distance to onnxruntime in steps, over random inputs, in the file's order of elements."""
        graph = self.load(opset)
        session = runtime(self.bytes(opset))
        shapes = [graph.type(i).shape for i in graph.inputs]
        arrays = [self.rng.integers(-128, 128, (SAMPLES, *s[1:])).astype(np.int8) for s in shapes]
        ours = interp.infer(graph, *arrays)
        worst = 0
        for n in range(SAMPLES):
            feeds = {i.name: a[n : n + 1].reshape(s) for i, a, s in zip(session.get_inputs(), arrays, shapes, strict=True)}
            for mine, theirs in zip(ours, session.run(None, feeds), strict=True):
                assert mine[n].size == theirs.size
                worst = max(worst, int(np.abs(mine[n].ravel().astype(int) - theirs.ravel().astype(int)).max()))
        return worst


def load(data: bytes) -> Graph:
    return verify(frontend.load(data, "m", "m.onnx"))


def runtime(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def kinds(graph: Graph) -> list[str]:
    return [n.op.mnemonic for n in graph.nodes]


def one(make: Callable[[Qdq, str], str], *shape: int, scale: float = 0.2, zero: int = -5) -> Qdq:
    """input -> DequantizeLinear -> make -> QuantizeLinear -> output."""
    m = Qdq()
    x = m.input(*shape)
    m.output(m.q(make(m, m.d(x)), scale, zero))
    return m


def refused(data: bytes, *words: str) -> CompileError:
    with pytest.raises(CompileError) as caught:
        load(data)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.where and caught.value.what and caught.value.hint
    return caught.value
