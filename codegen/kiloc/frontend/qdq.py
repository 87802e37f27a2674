"""Values of a QDQ model while it is converted: constants, activations under a layout, and results that are not quantised yet.

The file is NCHW (or whatever its exporter liked), the graph NHWC. No layout is tracked by name: an activation knows, for
every element in the file's order, where it lies in the graph's value. Transpose and Reshape only change that index, so
they cost nothing until an operator needs another order than the value has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.operator import Op
from ..ir.types import Quantization, TensorType
from ..ops._activation import clamp_range
from .onnx_file import Operator

Index = NDArray[np.int64]
Array = NDArray[Any]

NO_OFFSET = np.zeros(1, np.int64)
UNBOUNDED = (-np.inf, np.inf)
_LARGEST_BIAS = 1 << 23
"""Units of a bias for which a weight is made smaller."""
_INTERVALS = {"none": UNBOUNDED, "relu": (0.0, np.inf), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}


@dataclass(frozen=True, eq=False)
class Constant:
    """An initialiser or what was computed from some: data, or (data - zero point) * scale where it was dequantised.

    zero_points: one, or one for each scale. channels: which scale an element takes, of the data's shape; None for one scale.
    """

    name: str
    data: Array
    scale: NDArray[np.float64] | None = None
    zero_points: NDArray[np.int64] = field(default_factory=lambda: NO_OFFSET)
    channels: Index | None = None

    def rearranged(self, change: Callable[[Array], Array]) -> Constant:
        channels = None if self.channels is None else change(self.channels)
        return Constant(self.name, change(self.data), self.scale, self.zero_points, channels)

    def scales(self) -> NDArray[np.float64]:
        """One scale an element."""
        if self.scale is None:
            return np.ones(self.data.shape)
        if self.channels is None:
            return np.full(self.data.shape, self.scale[0])
        return self.scale[self.channels]

    def centred(self) -> NDArray[np.float64]:
        """data - zero point."""
        points = self.zero_points[0] if self.zero_points.size == 1 or self.channels is None else self.zero_points[self.channels]
        return self.data.astype(np.float64) - points

    def real(self) -> NDArray[np.float64]:
        return self.centred() * self.scales()

    def scales_along(self, axis: int) -> NDArray[np.float64] | None:
        """The scales of a tensor quantised along `axis` (or as a whole); None where the channels run another way."""
        if self.scale is None or self.channels is None:
            return self.scale
        rows = np.moveaxis(self.channels, axis, 0).reshape(self.channels.shape[axis], -1)
        return None if np.any(rows != rows[:, :1]) else self.scale[rows[:, 0]]


@dataclass(frozen=True, eq=False)
class Activation:
    """A quantised value of the graph in the file's shape.

    index: for every element in the file's order, its position in the value.
    dtype: how the file sees it: int8, int16 or uint8 (the graph holds uint8 as int8, 128 lower), float32 behind DequantizeLinear.
    """

    value: str
    index: Index
    dtype: str


@dataclass(frozen=True, eq=False)
class Bias:
    """What is added to every channel of a layer: data * scale."""

    name: str
    data: NDArray[np.float64]
    scale: NDArray[np.float64]

    def times(self, factor: NDArray[np.float64]) -> Bias:
        return Bias(self.name, self.data, self.scale * factor)

    def plus(self, other: Bias) -> Bias:
        return Bias(self.name, self.data * self.scale + other.data * other.scale, np.ones(self.data.shape))

    def quantized(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """In units of s_x * s_w. Integers of (nearly) that scale stay as they are: exporters round the product to float32."""
        ratio = self.scale / units
        return np.rint(self.data * np.where(np.abs(ratio - 1) < 1e-4, 1.0, ratio))


@dataclass(frozen=True, eq=False)
class Layer:
    """The constants of a layer.

    units: s_x * s_w of each channel; axis: of the channels in the weights. slack: each channel has one weight, and a scale that may change.
    """

    name: str
    weights: Array
    quantization: Quantization
    units: NDArray[np.float64]
    axis: int
    bias: Bias | None = None
    slack: bool = False

    def with_room_for_bias(self) -> Layer:
        """Scales that are so large that the bias fits int32, where the weights may be smaller for it."""
        if not self.slack or self.bias is None:
            return self
        needed = np.abs(self.bias.data * self.bias.scale) / _LARGEST_BIAS
        factor = np.maximum(needed / self.units, 1.0)
        if np.all(factor == 1):
            return self
        scale = (np.array(self.quantization.scale) * factor).astype(np.float32).astype(np.float64)
        weights = np.rint(self.weights / factor.reshape([-1 if i == self.axis else 1 for i in range(self.weights.ndim)]))
        q = replace(self.quantization, scale=tuple(float(s) for s in scale))
        return replace(self, weights=weights.astype(np.int8), quantization=q, units=self.units * scale / np.array(self.quantization.scale))


@dataclass(frozen=True, eq=False)
class Pending:
    """The float result of an operator of the file: it waits for its QuantizeLinear, with what
    Relu, Clip and a bias's Add did to it.

    make: the operator for a fused activation (`clamps` says whether it takes one).
    shape, index: the graph's shape, and the file's order on it.
    kept: the only quantisation that the operator can give; exact: one in which the result is not rounded.
    alike: the operands must have the quantisation of the result.
    dtype: element type of what the operator gives: "int8", or "int16"; "" for any, as a change of scale alone does.
    program: of a function of x alone (`ops/model/function.py`); alone: the operator that has it, where it is one operator of the file.
    low, high: the clamp in real values.
    """

    origin: Operator
    kind: str
    make: Callable[[str], Op]
    inputs: dict[str, str]
    shape: tuple[int, ...]
    index: Index
    layer: Layer | None = None
    clamps: bool = True
    kept: Quantization | None = None
    exact: Quantization | None = None
    alike: bool = False
    dtype: str = "int8"
    program: tuple[str, ...] = ()
    alone: Op | None = None
    low: float = -np.inf
    high: float = np.inf


AnyValue = Constant | Activation | Pending


def held(dtype: str) -> str:
    """The element type in which the graph holds what is of this type in the file."""
    return "int16" if dtype == "int16" else "int8"


def positions(shape: tuple[int, ...]) -> Index:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def is_ordered(order: Index) -> bool:
    return bool(np.array_equal(order.ravel(), np.arange(order.size)))


def activation_name(low: float, high: float, y: TensorType) -> str | None:
    """The fused activation that clamps reals to [low, high]; None where the result's range shows a clamp we have not."""
    for name, interval in _INTERVALS.items():
        if interval == (low, high):
            return name
    step, zero = np.float32(y.scale), y.zero_point

    def quantized(real: float, limit: int) -> int:
        if not np.isfinite(real):
            return limit
        ratio = np.float32(real) / step
        return int(np.clip(zero + np.floor(np.abs(ratio) + np.float32(0.5)) * np.sign(ratio), -128, 127))

    wanted = (quantized(low, -128), quantized(high, 127))
    return next((name for name in _INTERVALS if clamp_range(name, y) == wanted), None)


def strided_axes(order: Index) -> list[tuple[int, int]] | None:
    """(length, stride), outermost first, of a flat order that a transpose gives; None where no transpose does."""
    axes: list[tuple[int, int]] = []
    rest = order
    while rest.size > 1:
        stride = int(rest[1] - rest[0])
        broken = np.flatnonzero(rest != rest[0] + stride * np.arange(rest.size))
        run = int(broken[0]) if broken.size else rest.size
        if rest.size % run:
            return None
        axes.insert(0, (run, stride))
        rest = rest[::run]
    rebuilt = np.zeros(1, np.int64)
    for length, stride in axes:
        rebuilt = (rebuilt[:, None] + stride * np.arange(length)).ravel()
    return axes if np.array_equal(rebuilt, order) else None


def transposition(shape: tuple[int, ...], order: Index, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Source shape and permutation (batch in front) that bring the elements of a value of `shape` into `order`."""
    if len(shape) <= 4:
        for permutation in permutations(range(1, len(shape))):
            found = positions(shape).transpose(0, *permutation)
            if found.shape == order.shape and np.array_equal(found, order):
                return shape, (0, *permutation)
    axes = strided_axes(order.ravel())
    if axes is None or len(axes) > 3:
        raise CompileError(
            where,
            "needs its input in an order of elements that no transpose of up to three axes gives",
            "flatten channels-first data only in front of Gemm or MatMul, and keep reshapes from splitting channels",
        )
    by_stride = sorted(range(len(axes)), key=lambda i: -axes[i][1])
    return (1, *(axes[i][0] for i in by_stride)), (0, *(by_stride.index(i) + 1 for i in range(len(axes))))


def column_order(rows: Index) -> Index | None:
    """The order within a row where every row of [rows, K] is a contiguous block in one order; else None."""
    depth = rows.shape[1]
    inside = rows % depth
    contiguous = not np.any(rows // depth != np.arange(rows.shape[0])[:, None])
    return inside[0] if contiguous and not np.any(inside != inside[0]) else None
