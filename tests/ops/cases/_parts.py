"""What the cases of operators are made of: graphs of one operator, and what an operator means to jax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.add import Add

Rng = np.random.Generator
Make = Callable[[Rng], Graph]

SCALE, ZERO = 0.0247, -3
SHAPES = ((7, 5), (8, 8), (1, 9), (5, 1))
ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


def always(op: Op) -> bool:
    return True


def never(op: Op) -> bool:
    return False


@dataclass(frozen=True)
class Meaning:
    """What jax differentiates. compute(op, x, other...): the result in real numbers, from operands in real numbers, in the operator's order;
    clamps: whether the int8 result stops the gradient where it stands at the end of its range.
    """

    compute: Callable[..., Any]
    clamps: Callable[[Any], bool] = always


def f32(x: float) -> float:
    return float(np.float32(x))


def typed(shape: tuple[int, ...], scale: float = SCALE, zero: int = ZERO) -> TensorType:
    return activation(shape, f32(scale), zero)


def one(op: Op, x: TensorType, y: TensorType, second: TensorType | None = None, **constants: Any) -> Graph:
    """A graph of one operator; `second` is the other input of ADD."""
    b = GraphBuilder("case", "case.tflite")
    inputs = {"x": b.input(x, "x")}
    if second is not None:
        inputs["other"] = b.input(second, "other")
    for operand, (data, quantization) in constants.items():
        inputs[operand] = b.constant(f"layer.{operand}", data, quantization, operand)
    return verify(b.finish([b.node("layer", op, inputs, y, "layer")]))


def both(m: Any, x: str, other: str) -> str:
    """The sum of two activations of a model in the making, for operators that take one."""
    return str(m.op(x, "both", Add(), m.type(x).shape, 0.06, 4, other=other))


def window_of(size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], scheme: str, dilation: tuple[int, int] = (1, 1)) -> Window:
    pad = (0, 0, 0, 0)
    if scheme == "same":
        (top, bottom), (left, right) = (same_padding(size[i], kernel[i], stride[i], dilation[i]) for i in (0, 1))
        pad = (top, left, bottom, right)
    return Window(kernel, stride, pad, dilation)


def scales_far_apart(rng: Rng) -> tuple[list[float], list[int]]:
    """Three scales up to 10^4 apart, and three zero points."""
    return [float(s) for s in np.exp(rng.uniform(np.log(1e-3), np.log(10.0), 3))], [int(z) for z in rng.integers(-128, 128, 3)]
