"""ONNX operators of a QDQ model, one function each: operands of the file to nodes of the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.types import Quantization
from ..ops._window import Window, same_padding
from ..ops.model.add import Add
from ..ops.model.average_pool_2d import AveragePool2D
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.fully_connected import FullyConnected
from ..ops.model.max_pool_2d import MaxPool2D
from ..ops.model.mean import Mean
from ..ops.model.pad import Pad
from ..ops.model.softmax import Softmax
from .build import QUANTIZE_HINT, checked_quantization
from .limits import check_size, checked_window
from .onnx_file import EXPORT_AGAIN, QUANTIZE, Operator
from .onnx_shapes import SHAPE_OPERATORS, Handler
from .onnx_values import Values, checked_axes
from .qdq import UNBOUNDED, Activation, AnyValue, Array, Bias, Constant, Index, Layer, Pending, column_order, is_ordered, positions

_BIAS_HINT = (
    "only the bias of a layer may be constant, with nothing between the two: fuse MatMul and Add to Gemm before quantising "
    "(onnxruntime.quantization.shape_inference.quant_pre_process does)"
)
_SOFTMAX = Quantization((1 / 256,), -128)


# -- quantisation -------------------------------------------------------------------------------------
def _quantize(v: Values, op: Operator) -> AnyValue:
    x = v.value(op.input(0), op.where)
    if isinstance(x, Constant):
        return _quantized_constant(v, op, x)
    q, dtype = v.parameters(op)
    if isinstance(x, Activation):
        if x.dtype != "float32":
            raise CompileError(op.where, f"quantises a tensor of type {x.dtype}", EXPORT_AGAIN)
        if v.quantization(x) == q:
            return replace(x, dtype=dtype)
        x = v.requantized(x, op)
    return Activation(v.emitted(x, q, op.outputs[0]), x.index, dtype)


def _quantized_constant(v: Values, op: Operator, x: Constant) -> Constant:
    """Weights that the file keeps in float in front of their QuantizeLinear."""
    if x.data.dtype.kind != "f" or x.data.size == 0:
        raise CompileError(op.where, f"quantises a constant of type {x.data.dtype}", EXPORT_AGAIN)
    to = v.dequantized_constant(op, x)
    dtype = v.constant(op, 2).data.dtype if op.input(2) else np.dtype(np.uint8)
    codes = np.rint(x.data.astype(np.float32) / to.scales().astype(np.float32)) + to.zero_point
    if dtype.kind not in "iu" or not np.all(np.isfinite(codes)):
        raise CompileError(op.where, f"quantises '{x.name}' to {dtype}, or values that are not finite", EXPORT_AGAIN)
    return Constant(x.name, np.clip(codes, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype))


def _dequantize(v: Values, op: Operator) -> AnyValue:
    x = v.value(op.input(0), op.where)
    if isinstance(x, Constant):
        if x.data.dtype.kind not in "iu" or x.scale is not None:
            raise CompileError(op.where, f"dequantises a constant of type {x.data.dtype}", EXPORT_AGAIN)
        return v.dequantized_constant(op, x)
    q, dtype = v.parameters(op)
    if isinstance(x, Pending) or x.dtype != dtype:
        raise CompileError(op.where, f"dequantises a tensor that is not {dtype}", EXPORT_AGAIN)
    if v.quantization(x) != q:
        raise CompileError(op.where, "its scale or zero point differs from the tensor's QuantizeLinear", EXPORT_AGAIN)
    return replace(x, dtype="float32")


# -- layers with weights ------------------------------------------------------------------------------
def _weights(v: Values, op: Operator, transposed: bool = False) -> Constant:
    """Symmetric int8 weights with the output channels in front."""
    w = v.constant(op, 1)
    if w.scale is None:
        raise CompileError(op.where, f"its weights '{w.name}' are {w.data.dtype}, not quantised", QUANTIZE_HINT)
    if str(w.data.dtype) not in ("int8", "uint8"):
        raise CompileError(op.where, f"has weights of type {w.data.dtype}; only int8 is supported", QUANTIZE_HINT)
    if w.zero_point != (128 if w.data.dtype == np.uint8 else 0):
        raise CompileError(op.where, f"has weights with zero point {w.zero_point}", "export with symmetric weights (weight_type=QuantType.QInt8)")
    check_size(op.where, w.data.shape)
    return w.rearranged(lambda a: a.swapaxes(0, 1)) if transposed else w


def _layer(v: Values, op: Operator, x: str, w: Constant, data: Array, axis: int) -> Layer:
    """`data` are the weights as the operator wants them, with output channels along `axis`."""
    scales = w.scales_along(0)
    if scales is None:
        raise CompileError(op.where, "has weight scales along another axis than the output channels", "quantise per tensor or per output channel")
    q = checked_quantization(op.where, scales, np.zeros(1, np.int64), axis)
    units = np.broadcast_to(np.float64(v.b.values[x].type.scale) * scales, (w.data.shape[0],))
    centred = (data.astype(np.int64) - w.zero_point).astype(np.int8)
    return Layer(w.name, centred, q, units)


def _bias(op: Operator, c: Constant, p: Pending) -> Bias:
    """What a constant adds to each channel (the last axis of the result's value)."""
    if c.data.dtype.kind not in "iuf":
        raise CompileError(op.where, f"has a bias of type {c.data.dtype}", EXPORT_AGAIN)
    found = []
    for part in (c.centred(), c.scales()):
        if part.ndim > p.index.ndim or any(a not in (1, b) for a, b in zip(part.shape[::-1], p.index.shape[::-1], strict=False)):
            raise CompileError(op.where, f"adds a constant of shape {part.shape} to {p.index.shape}", EXPORT_AGAIN)
        flat = np.empty(p.index.size)
        flat[p.index.ravel()] = np.broadcast_to(part, p.index.shape).ravel()
        rows = flat.reshape(-1, p.shape[-1])
        if np.any(rows != rows[0]) or not np.all(np.isfinite(rows[0])):
            raise CompileError(op.where, f"adds a constant of shape {part.shape}, not one finite number a channel", "only biases may be constant")
        found.append(rows[0])
    return Bias(c.name, found[0], found[1])


def _with_bias(op: Operator, c: Constant, p: Pending) -> Pending:
    assert p.layer is not None
    bias = _bias(op, c, p)
    return replace(p, layer=replace(p.layer, bias=p.layer.bias.plus(bias) if p.layer.bias else bias))


def _image(op: Operator, x: Activation) -> Index:
    """The order of x as [1, H, W, C]; a signal [1, C, L] is an image of width 1."""
    order = x.index[..., None] if x.index.ndim == 3 else x.index
    if order.ndim != 4 or order.shape[0] != 1:
        raise CompileError(op.where, f"has an input of shape {x.index.shape}", "two-dimensional operators with a batch of 1 are supported")
    return order.transpose(0, 2, 3, 1)


def _file_order(shape: tuple[int, ...], rank: int) -> Index:
    """The index of a result that the file holds channels-first, as an image or as a signal."""
    order = positions(shape).transpose(0, 3, 1, 2)
    return order[..., 0] if rank == 3 else order


def _pair(op: Operator, name: str, rank: int, default: list[int] | None) -> tuple[int, int]:
    """A spatial attribute as (height, width)."""
    found = op.ints_of(name, default)
    if found is None or len(found) != rank - 2 or any(not 0 < i <= 1 << 16 for i in found):
        raise CompileError(op.where, f"attribute {name} is {found}", EXPORT_AGAIN)
    return found[0], found[1] if rank == 4 else 1


def _window(op: Operator, image: tuple[int, ...], rank: int, kernel: tuple[int, int]) -> Window:
    """Stride, dilation and padding; ceil_mode as a longer border behind the image."""
    ones = [1] * (rank - 2)
    stride, dilation = _pair(op, "strides", rank, ones), _pair(op, "dilations", rank, ones)
    mode, pads = op.text_of("auto_pad", "NOTSET"), op.ints_of("pads", [0, 0] * (rank - 2)) or []
    if len(pads) != 2 * (rank - 2) or any(not 0 <= p <= 1 << 16 for p in pads) or mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise CompileError(op.where, f"pads {pads} with auto_pad {mode}", EXPORT_AGAIN)
    before, after = [0, 0], [0, 0]
    for i in range(rank - 2):
        if mode == "NOTSET":
            before[i], after[i] = pads[i], pads[i + rank - 2]
        elif mode != "VALID":
            upper = same_padding(image[i + 1], kernel[i], stride[i], dilation[i])
            before[i], after[i] = upper if mode == "SAME_UPPER" else upper[::-1]
        spare = image[i + 1] + before[i] + after[i] - (kernel[i] - 1) * dilation[i] - 1
        if op.int_of("ceil_mode", 0) and spare % stride[i] and (spare // stride[i] + 1) * stride[i] < image[i + 1] + before[i]:
            after[i] += stride[i] - spare % stride[i]
    return checked_window(op.where, Window(kernel, stride, (before[0], before[1], after[0], after[1]), dilation), image)


def _conv(v: Values, op: Operator) -> AnyValue:
    x, w = v.activation(op), _weights(v, op)
    order, rank = _image(op, x), x.index.ndim
    data = w.data[..., None] if rank == 3 else w.data
    group, channels = op.int_of("group", 1), order.shape[3]
    if w.data.ndim != rank or group < 1 or data.shape[1] * group != channels or data.shape[0] % group:
        raise CompileError(op.where, f"has weights {w.data.shape} in {group} groups for an input of {x.index.shape}", EXPORT_AGAIN)
    kernel = (data.shape[2], data.shape[3])
    if _pair(op, "kernel_shape", rank, list(w.data.shape[2:])) != kernel:
        raise CompileError(op.where, f"attribute kernel_shape is {op.ints_of('kernel_shape')} for weights {w.data.shape}", EXPORT_AGAIN)
    window = _window(op, order.shape, rank, kernel)
    shape = (1, *window.output(order.shape[1], order.shape[2]), data.shape[0])
    check_size(op.where, shape)
    value = v.arrange(x, order, order.shape, op.where)
    if group == 1:
        layer = _layer(v, op, value, w, data.transpose(0, 2, 3, 1), 0)
        p = Pending(op, "conv", lambda a: Conv2D(activation=a, window=window), {"x": value}, shape, _file_order(shape, rank), layer)
    elif group == channels:
        layer = _layer(v, op, value, w, data.transpose(1, 2, 3, 0), 3)
        p = Pending(op, "depthwise", lambda a: DepthwiseConv2D(window, a), {"x": value}, shape, _file_order(shape, rank), layer)
    else:
        raise CompileError(op.where, f"{group} groups of {channels} channels", "only one group, or one group a channel, is supported")
    if not op.input(2):
        return p
    bias = v.constant(op, 2)
    if bias.data.shape != (data.shape[0],):
        raise CompileError(op.where, f"has a bias of shape {bias.data.shape} for {data.shape[0]} channels", EXPORT_AGAIN)
    return _with_bias(op, bias.rearranged(lambda a: a.reshape(1, -1, *[1] * (rank - 2))), p)


def _fully_connected(v: Values, op: Operator, w: Constant) -> Pending:
    """Rows of x times w [N, K]. Where x lies in another order than the file's, the weights' columns move instead."""
    x = v.activation(op)
    if w.data.ndim != 2 or x.index.ndim < 1 or x.index.shape[-1] != w.data.shape[1]:
        raise CompileError(op.where, f"multiplies {x.index.shape} by weights of {w.data.shape[::-1]}", "weights must be a constant matrix")
    channels, depth = w.data.shape
    columns, value = column_order(x.index.reshape(-1, depth)), x.value
    if columns is None:
        columns, value = np.arange(depth), v.arrange(x, x.index, _batched((*x.index.shape,)), op.where)
    file_shape = (*x.index.shape[:-1], channels)
    shape = _batched(file_shape)
    check_size(op.where, shape)
    data = np.empty(w.data.shape, w.data.dtype)
    data[:, columns] = w.data
    layer = _layer(v, op, value, w, data, 0)
    return Pending(op, "fc", lambda a: FullyConnected(activation=a), {"x": value}, shape, positions(file_shape), layer)


def _batched(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) > 1 and shape[0] == 1 else (1, *shape)


def _gemm(v: Values, op: Operator) -> AnyValue:
    if op.int_of("transA", 0) or op.float_of("alpha", 1.0) != 1.0 or (op.input(2) and op.float_of("beta", 1.0) != 1.0):
        raise CompileError(op.where, "transA, alpha and beta are not supported", "export with transA = 0 and alpha = beta = 1")
    if v.constant(op, 1).data.ndim != 2:
        raise CompileError(op.where, f"has weights of shape {v.constant(op, 1).data.shape}", EXPORT_AGAIN)
    p = _fully_connected(v, op, _weights(v, op, transposed=not op.int_of("transB", 0)))
    return _with_bias(op, v.constant(op, 2), p) if op.input(2) else p


def _matmul(v: Values, op: Operator) -> AnyValue:
    if not isinstance(v.value(op.input(1), op.where), Constant):
        raise CompileError(op.where, "operator MatMul is not supported on two activations", "only products with constant weights are supported")
    if v.constant(op, 1).data.ndim != 2:
        raise CompileError(op.where, f"has weights of shape {v.constant(op, 1).data.shape}", "weights must be a constant matrix")
    return _fully_connected(v, op, _weights(v, op, transposed=True))


# -- element by element -------------------------------------------------------------------------------
def _add(v: Values, op: Operator) -> AnyValue:
    operands = [v.value(op.input(i), op.where) for i in (0, 1)]
    for x, c in (operands, operands[::-1]):
        if isinstance(c, Constant):
            if isinstance(x, Pending) and x.layer and (x.low, x.high) == UNBOUNDED:
                return _with_bias(op, c, x)
            raise CompileError(op.where, f"operator Add is not supported with the constant '{c.name}'", _BIAS_HINT)
    x, other = v.activation(op, 0), v.activation(op, 1)
    if x.index.shape != other.index.shape:
        raise CompileError(op.where, f"adds {x.index.shape} and {other.index.shape}", "only equal shapes are supported")
    shape = v.type(x).shape
    order = np.empty_like(other.index).ravel()
    order[x.index.ravel()] = other.index.ravel()
    inputs = {"x": x.value, "other": v.arrange(other, order, shape, op.where)}
    return Pending(op, "add", lambda a: Add(activation=a), inputs, shape, x.index)


def _clamped(v: Values, op: Operator, low: float, high: float) -> AnyValue:
    x = v.value(op.input(0), op.where)
    if not isinstance(x, Pending):
        x = v.requantized(v.activation(op), op)
    if np.isnan(low) or np.isnan(high) or low > high or high < 0 or low > 0:
        raise CompileError(op.where, f"a clip to [{low}, {high}] is not supported", "use Relu, or Clip to [0, 6] or [-1, 1]")
    return replace(x, low=min(max(x.low, low), high), high=min(max(x.high, low), high))


def _relu(v: Values, op: Operator) -> AnyValue:
    return _clamped(v, op, 0.0, np.inf)


def _clip(v: Values, op: Operator) -> AnyValue:
    limits = []
    for position, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        if op.input(position):
            c = v.constant(op, position)
            if c.data.size != 1 or c.data.dtype.kind not in "iuf":
                raise CompileError(op.where, f"its {name} is a {c.data.dtype} of shape {c.data.shape}", EXPORT_AGAIN)
            limits.append(float((c.centred() * c.scales()).ravel()[0]))
        else:
            limits.append(op.float_of(name, default))
    biggest = float(np.finfo(np.float32).max)
    low, high = limits
    return _clamped(v, op, -np.inf if low <= -biggest else low, np.inf if high >= biggest else high)


# -- pools and reductions -----------------------------------------------------------------------------
def _pool_window(op: Operator, image: tuple[int, ...], rank: int) -> Window:
    """The window of a pool, which must meet the image everywhere."""
    w = _window(op, image, rank, _pair(op, "kernel_shape", rank, None))
    out = w.output(image[1], image[2])
    check_size(op.where, (1, *out, image[3]))
    for i in (0, 1):
        reach = (w.kernel[i] - 1) * w.dilation[i] + 1
        if w.pad[i] >= reach or (out[i] - 1) * w.stride[i] >= image[i + 1] + w.pad[i]:
            raise CompileError(op.where, f"pads {w.pad} leave a window without an element of the image", EXPORT_AGAIN)
    return w


def _max_pool(v: Values, op: Operator) -> AnyValue:
    x = v.settled(v.value(op.input(0), op.where), op.where)
    order, rank = _image(op, x), x.index.ndim
    window = _pool_window(op, order.shape, rank)
    shape = (1, *window.output(order.shape[1], order.shape[2]), order.shape[3])
    value, q = v.arrange(x, order, order.shape, op.where), v.quantization(x)
    p = Pending(op, "max_pool", lambda a: MaxPool2D(window, a), {"x": value}, shape, _file_order(shape, rank), kept=q, exact=q)
    return p if x.dtype == "float32" else replace(v.settled(p, op.where), dtype=x.dtype)


def _average_pool(v: Values, op: Operator) -> AnyValue:
    x = v.activation(op)
    order, rank, q = _image(op, x), x.index.ndim, v.quantization(x)
    window = _pool_window(op, order.shape, rank)
    if window.kernel == order.shape[1:3] and not any(window.pad) and not _keeps_scale(v, op, q):
        return _global_average_pool(v, op)
    value = v.arrange(x, order, order.shape, op.where)
    if any(window.pad) and op.int_of("count_include_pad", 0):
        if op.int_of("ceil_mode", 0):
            raise CompileError(op.where, "ceil_mode together with count_include_pad is not supported", "pad in front of the pool")
        value, window = _padded(v, op, value, window.pad, q.zero_point), replace(window, pad=(0, 0, 0, 0))
    size = v.b.values[value].type.shape
    shape = (1, *window.output(size[1], size[2]), size[3])
    return Pending(op, "average_pool", lambda a: AveragePool2D(window, a), {"x": value}, shape, _file_order(shape, rank), kept=q)


def _keeps_scale(v: Values, op: Operator, q: Quantization) -> bool:
    """The result is quantised as the operand, which AVERAGE_POOL_2D needs."""
    return all(c.kind == QUANTIZE and v.parameters(c)[0] == q for c in v.model.consumers(op.outputs[0]))


def _global_average_pool(v: Values, op: Operator) -> AnyValue:
    rank = v.activation(op).index.ndim
    return _mean(v, op, list(range(2, rank)), True)


def _reduce_mean(v: Values, op: Operator) -> AnyValue:
    rank, axes = v.activation(op).index.ndim, v.integers(op, 1, "axes")
    if not axes:
        raise CompileError(op.where, "reduces every axis, the batch included", "name the axes to reduce")
    return _mean(v, op, checked_axes(op, axes, rank), bool(op.int_of("keepdims", 1)))


def _mean(v: Values, op: Operator, axes: list[int], keep: bool) -> Pending:
    """The mean of neighbouring axes: the reduced ones first, last or where they are, whichever the value already has."""
    x = v.activation(op)
    rank, shape = x.index.ndim, x.index.shape
    if not axes or axes[0] < 1 or shape[0] != 1:
        raise CompileError(op.where, f"reduces axes {axes} of {shape}", "the batch axis cannot be reduced")
    others = [i for i in range(1, rank) if i not in axes]
    orders = [[0, *axes, *others], [0, *others, *axes]] + ([list(range(rank))] if axes[-1] - axes[0] == len(axes) - 1 else [])
    chosen = next((o for o in orders if is_ordered(x.index.transpose(o))), orders[0])
    order, start = x.index.transpose(chosen), chosen.index(axes[0])
    value, reduced = v.arrange(x, order, order.shape, op.where), tuple(range(start, start + len(axes)))
    kept = tuple(shape[i] for i in others)
    index = positions((1, *(1 if i in axes else shape[i] for i in range(1, rank))) if keep else (1, *kept))
    return Pending(op, "mean", lambda _: Mean(reduced), {"x": value}, (1, *kept) if kept else (1, 1), index, clamps=False)


def _softmax(v: Values, op: Operator) -> AnyValue:
    x = v.activation(op)
    rank = x.index.ndim
    if rank < 1:
        raise CompileError(op.where, "has an input without axes", EXPORT_AGAIN)
    axis = checked_axes(op, [op.int_of("axis", -1 if v.model.opset >= 13 else 1)], rank)[0]
    last = range(axis, axis + 1) if v.model.opset >= 13 else range(axis, rank)
    order = [i for i in range(rank) if i not in last] + list(last)
    moved = x.index.transpose(order)
    shape = _batched((*moved.shape[: rank - len(last)], int(np.prod(moved.shape[rank - len(last) :]))))
    value = v.arrange(x, moved, shape, op.where)
    index = positions(moved.shape).transpose(np.argsort(order))
    return Pending(op, "softmax", lambda _: Softmax(1.0), {"x": value}, shape, index, clamps=False, kept=_SOFTMAX)


def _padded(v: Values, op: Operator, value: str, pad: tuple[int, int, int, int], fill: int) -> str:
    type_ = v.b.values[value].type
    n, h, w, c = type_.shape
    shape = (n, h + pad[0] + pad[2], w + pad[1] + pad[3], c)
    check_size(op.where, shape)
    return v.b.node(v.name("pad"), Pad(pad, fill), {"x": value}, replace(type_, shape=shape), op.where)


def _pad(v: Values, op: Operator) -> AnyValue:
    x = v.settled(v.value(op.input(0), op.where), op.where)
    order, rank, pads = _image(op, x), x.index.ndim, v.integers(op, 1, "pads") or []
    axes = v.integers(op, 3)
    amounts = np.zeros((2, rank), np.int64)
    where = list(range(rank)) if axes is None else [a % rank for a in axes]
    if len(where) > rank or len(pads) != 2 * len(where) or any(not 0 <= p <= 1 << 16 for p in pads) or op.text_of("mode", "constant") != "constant":
        raise CompileError(op.where, f"pads {pads} in mode {op.text_of('mode', 'constant')}", "only constant padding is supported")
    amounts[:, where] = np.array(pads, np.int64).reshape(2, -1)
    if np.any(amounts[:, :2]):
        raise CompileError(op.where, f"pads {pads} of batch or channels", "only height and width can be padded")
    top, bottom = amounts[:, 2].tolist()
    left, right = amounts[:, 3].tolist() if rank == 4 else (0, 0)
    value = v.arrange(x, order, order.shape, op.where)
    value = _padded(v, op, value, (top, left, bottom, right), _fill(v, op, x))
    return Activation(value, _file_order(v.b.values[value].type.shape, rank), x.dtype)


def _fill(v: Values, op: Operator, x: Activation) -> int:
    """The code of the border: a real value behind DequantizeLinear, else the file's own code."""
    c = v.constant(op, 2) if op.input(2) else None
    real = float((c.centred() * c.scales()).ravel()[0]) if c is not None and c.data.size else op.float_of("value", 0.0)
    if not np.isfinite(real):
        raise CompileError(op.where, f"pads with {real}", "pad with zero")
    q = v.quantization(x)
    if x.dtype == "float32":
        return int(np.clip(np.rint(real / q.per_tensor) + q.zero_point, -128, 127))
    return int(np.clip(real - 128 * (x.dtype == "uint8"), -128, 127))


OPERATORS: dict[str, Handler] = {
    **SHAPE_OPERATORS,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Relu": _relu,
    "Clip": _clip,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "ReduceMean": _reduce_mean,
    "Softmax": _softmax,
    "Pad": _pad,
}
