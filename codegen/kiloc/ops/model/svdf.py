"""SVDF: a layer over time of low rank, one slice of the input a call. Each filter keeps its last `memory` features.

    state[f] = (state[f, 1:], clamp(requantize(W[f] (x - z_x))) + z_s)
    y[u] = clamp8(requantize(b[u] + sum over the filters f of unit u, and j, of time[f, j] (state[f, j] - z_s)) + z_y)

The state and the time weights have 8 or 16 bits. An 8-bit z_s is added modulo 256: the reference limits before, and wraps around. Sums over
16-bit states are taken modulo 2^32. Source: TensorFlow Lite Micro's integer kernels. The operator's activation does nothing there: the zero
point of the result does what a ReLU would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import RANGES, Quantization, TensorType
from .._activation import far_apart
from .._sums import exact_matmul
from ..backward.gradient_mask import masked
from ..backward.parameter_gradient import BiasGradient
from ..backward.svdf_gradient import SvdfInputGradient, narrowing_for

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

_KERNELS = {"int8": ("kt_svdf_s8", "svdf"), "int16": ("kt_svdf_s16", "svdf_wide")}
_ACTIVATIONS = (0, 1)
LONGEST_SUM = (2**31 - 1) // (128 * 255)
AGAIN = "export the model again"


def _factor(first: TensorType, second: TensorType, result: TensorType) -> tuple[int, int]:
    """(multiplier, shift) from products of two tensors to a third one; in float32, as the interpreter's."""
    with np.errstate(over="ignore"):
        return nm.quantize_multiplier(float(np.float32(first.scale) * np.float32(second.scale) / np.float32(result.scale)))


@register
@dataclass(frozen=True)
class Svdf(Op):
    mnemonic: ClassVar[str] = "svdf"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "time", "bias", "state")
    kept: ClassVar[tuple[str, ...]] = ("state",)
    oracle: ClassVar[str] = "tflite-micro"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SVDF": 3}, "SVDFOptions", ("Rank", "FusedActivationFunction"))

    rank: int = 1

    def check(self, t: NodeTypes) -> str | None:
        w, time, state = t.type("weights"), t.type("time"), t.type("state")
        if self.rank < 1 or len(w.shape) != 2 or w.shape[0] % self.rank or t.type("x").size != w.shape[1]:
            return f"weights {w.shape} of rank {self.rank} do not fit an input of {t.type('x').shape}"
        if len(time.shape) != 2 or time.shape[0] != w.shape[0] or state.size != time.size or t.result().size != w.shape[0] // self.rank:
            return f"weights {w.shape}, time weights {time.shape} and a state of {state.shape} do not give {t.result().shape}"
        if time.dtype != state.dtype or time.dtype not in _KERNELS:
            return f"time weights of {time.dtype} and a state of {state.dtype}"
        if t.type("bias").size != t.result().size:
            return f"a bias of {t.type('bias').shape} for {t.result().shape}"
        if max(w.shape[1], self.rank * time.shape[1]) > LONGEST_SUM:
            return f"sums of {max(w.shape[1], self.rank * time.shape[1])} products may leave int32"
        return far_apart(*(shift for _, shift in (self.feature_multiplier(t), self.output_multiplier(t))))

    def feature_multiplier(self, t: NodeTypes) -> tuple[int, int]:
        """From sums over x to units of the state."""
        return _factor(t.type("x"), t.type("weights"), t.type("state"))

    def output_multiplier(self, t: NodeTypes) -> tuple[int, int]:
        """From sums over the state to units of the result."""
        return _factor(t.type("state"), t.type("time"), t.result())

    # -- meaning --------------------------------------------------------------------------------------
    def moved(self, e: Environment) -> Array:
        """The state after this slice, [N, filters, memory]."""
        x, zero = e.wide("x").reshape(e.array("x").shape[0], -1), e.type("state").zero_point
        sums = exact_matmul(x - e.type("x").zero_point, e.array("weights").T)
        dtype = e.type("state").dtype
        last = (np.clip(nm.requantize(sums, *self.feature_multiplier(e)), *RANGES[dtype]) + zero).astype(dtype).astype(np.int64)
        old = np.broadcast_to(e.wide("state").reshape(-1, *e.type("time").shape), (len(x), *e.type("time").shape))
        return np.concatenate([old[:, :, 1:], last[:, :, None]], 2)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        sums = (e.wide("time") * (self.moved(e) - e.type("state").zero_point)).sum(2)
        sums = sums.reshape(len(sums), -1, self.rank).sum(2) + e.wide("bias")
        sums = nm.saturate32(sums) if e.type("state").dtype == "int8" else (sums + 2**31) % 2**32 - 2**31
        y = np.clip(nm.requantize(sums, *self.output_multiplier(e)) + e.result().zero_point, -128, 127)
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"state": self.moved(e)[-1].reshape(e.type("state").shape).astype(e.type("state").dtype)}

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """Of one call: nothing reaches the slices of earlier ones through the state."""
        t, g = b.types(node), masked(b, node, dy, -128, 127)
        if b.is_trainable(node.inputs["bias"]):
            b.accumulate(node, "bias", BiasGradient(), {"g": g})
        if not b.wants(node.inputs["x"]):
            return {}
        operands = {"g": g, **{o: node.inputs[o] for o in ("x", "weights", "time")}}
        op = SvdfInputGradient(self.rank, self.feature_multiplier(t), narrowing_for(b.constant(operands["weights"]), b.constant(operands["time"])))
        return {"x": b.add(op, operands, f"{node.name}.dx")[0]}

    def macs(self, t: NodeTypes) -> int:
        return t.type("weights").size + t.type("time").size

    # -- C --------------------------------------------------------------------------------------------
    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        feature, output = self.feature_multiplier(t), self.output_multiplier(t)
        fields: dict[str, Field] = {
            "units": t.result().size,
            "rank": self.rank,
            "memory": t.type("time").shape[1],
            "depth": t.type("x").size,
            "input_offset": -t.type("x").zero_point,
            "state_zero": t.type("state").zero_point,
            "output_offset": t.result().zero_point,
            "weights": Argument(n.inputs["weights"]),
            "feature_multiplier": feature[0],
            "feature_shift": feature[1],
            "output_multiplier": output[0],
            "output_shift": output[1],
        }
        symbol, file = _KERNELS[t.type("state").dtype]
        arguments = (*(Argument(n.inputs[o]) for o in ("x", "time", "bias", "state")), Argument(n.outputs[0]))
        return KernelCall(symbol, "kt_svdf_params", fields, arguments, source=f"kernels/recurrent/{file}.c")

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        o, x, state = r.options(op), op.input(0), r.kept(op, 4)
        if o["FusedActivationFunction"] not in _ACTIVATIONS:
            raise CompileError(op.where, f"fused activation {o['FusedActivationFunction']} is not supported", "use none or RELU")
        if x is None or len(x.shape) != 2 or x.shape[0] not in (1, -1):
            raise CompileError(op.where, f"an SVDF over {None if x is None else x.shape}", "export the model with a batch of 1")
        types = {}
        for operand, position, dtypes in (("weights", 1, ("INT8",)), ("time", 2, ("INT8", "INT16"))):
            t = op.input(position)
            if t is None or t.data is None or t.dtype not in dtypes or t.data.ndim != 2 or t.data.size == 0:
                raise CompileError(op.where, f"input {position} is no constant matrix of {' or '.join(dtypes)}", "quantise it to int8")
            types[operand] = (t, r.quantization(t))
            if len(types[operand][1].scale) != 1 or types[operand][1].zero_point != 0:
                raise CompileError(t.where, "weights of an SVDF need one scale and zero point 0", AGAIN)
        rank, filters = int(o["Rank"]), types["weights"][0].shape[0]
        if rank < 1 or filters % rank:
            raise CompileError(op.where, f"{filters} filters of rank {rank}", AGAIN)
        bias = op.input(3)
        data = np.zeros(filters // rank, np.int32)
        if bias is not None:
            if bias.data is None or bias.dtype != "INT32" or bias.data.size != data.size:
                raise CompileError(op.where, f"needs a constant INT32 bias of {data.size} values", AGAIN)
            data = bias.data.reshape(-1)
        name, type_ = r.name(op, "svdf"), r.activation_type(state, "int8", "int16")
        constants = {o: r.b.constant(f"{name}.{o}", t.data, q, t.name) for o, (t, q) in types.items() if t.data is not None}
        constants["bias"] = r.b.constant(f"{name}.bias", data, None, bias.name if bias else "")
        constants["state"] = r.b.stream(f"{name}.state", type_, np.full(type_.shape, type_.zero_point, type_.dtype), state.name)
        r.emit(op, cls(rank), constants, name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        t = w.types(node)
        state = TensorType((1, t.type("state").size), t.type("state").dtype, t.type("state").quantization)
        unit = Quantization((float(np.float32(state.scale) * np.float32(t.type("time").scale)),))
        inputs = (
            w.operand(node),
            w.constant(node, "weights", "MatMul", t.type("weights").quantization),
            w.constant(node, "time", "MatMul_1", t.type("time").quantization),
            w.constant(node, "bias", "BiasAdd", unit),
            w.variable(f"{node.name}/state", state),
        )
        w.emit(node, "SVDF", inputs, Rank=self.rank)
