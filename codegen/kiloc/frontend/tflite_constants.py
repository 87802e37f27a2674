"""What a .tflite file computes from constants alone is computed when it is read: shapes mostly, which exporters take apart and put together.

The results are constants like those that stand in the file. Batches are 1, so that what SHAPE says is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..numerics import INT32_MAX
from .limits import ELEMENTS, RANK
from .tflite_file import Operator, Tensor

Array = NDArray[Any]
Fold = Callable[[Operator, list[Array]], list[Array]]

_NUMBERS = ("INT32", "INT64", "BOOL")
"""Types whose values are what they are: of other constants the scale would have to be regarded."""


def fold(op: Operator) -> bool:
    """Compute the results of an operator whose inputs are constants, as `data` of its results. False where it is none of those that can be.

    Raises CompileError where the constants do not fit each other.
    """
    if op.kind == "SHAPE" and op.inputs and op.inputs[0] is not None and all(t.dtype in _NUMBERS for t in op.outputs):
        return _keep(op, [np.array([1 if i == 0 and d < 1 else d for i, d in enumerate(op.inputs[0].shape)], np.int64)])
    given = [t for t in op.inputs if t is not None]
    arrays = [t.data for t in given if t.data is not None]
    if op.kind not in _FOLDS or not arrays or len(arrays) < len(given):
        return False
    moves, compute = _FOLDS[op.kind]
    scaled = [t for t in (*given, *op.outputs) if t.dtype not in _NUMBERS]
    if scaled and (not moves or any(t.scales.size > 1 or _scale(t) != _scale(scaled[0]) for t in scaled)):
        return False
    try:
        return _keep(op, compute(op, arrays))
    except (ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        shapes = ", ".join(str(list(a.shape)) for a in arrays)
        raise CompileError(op.where, f"cannot be computed from constants of shapes {shapes}: {error}", "export the model again") from None


def _scale(t: Tensor) -> tuple[list[float], list[int]]:
    return t.scales.tolist(), t.zero_points.tolist()


def _keep(op: Operator, results: list[Array]) -> bool:
    if len(results) != len(op.outputs):
        raise CompileError(op.where, f"has {len(op.outputs)} results, {len(results)} are computed", "export the model again")
    for t, data in zip(op.outputs, results, strict=True):
        if t.data is not None:
            raise CompileError(op.where, f"its result {t.where} is computed twice, or a constant", "export the model again")
        dtype = np.dtype({"INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}.get(t.dtype, data.dtype))
        if dtype.kind == "i" and data.size and abs(data).max() > np.iinfo(dtype).max:
            raise CompileError(op.where, f"its result {t.where} does not fit {t.dtype}", "export the model again")
        t.data = np.array(data, dtype, order="C")
        t.shape = tuple(int(d) for d in data.shape)
    return True


def _bounded(shape: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """A shape that is not beyond any model."""
    found = tuple(int(d) for d in shape)
    if len(found) > RANK or any(d < 0 for d in found) or prod(found) > ELEMENTS:
        raise ValueError(f"shape {list(found)} is beyond any model")
    return found


def _axes(data: Array, rank: int) -> tuple[int, ...]:
    axes = [int(a) for a in data.ravel()]
    if any(not -rank <= a < rank for a in axes):
        raise IndexError(f"axes {axes} of {rank}")
    return tuple(sorted({a % rank for a in axes}))


# -- what moves values ------------------------------------------------------------------------------------
def reshaped(given: list[int], size: int) -> tuple[int, ...]:
    """A shape with at most one -1, which takes what the others leave of `size`. ValueError."""
    free = [i for i, d in enumerate(given) if d == -1]
    others = prod(d for d in given if d != -1)
    if len(free) > 1 or others < 1 or size % others or (not free and others != size):
        raise ValueError(f"{size} values have no shape {given}")
    return _bounded([size // others if d == -1 else d for d in given])


def _reshape(op: Operator, a: list[Array]) -> list[Array]:
    return [a[0].reshape(reshaped([int(d) for d in (a[1].ravel() if len(a) > 1 else op.outputs[0].shape)], a[0].size))]


def _squeeze(op: Operator, a: list[Array]) -> list[Array]:
    return [a[0].reshape(_bounded(op.outputs[0].shape))]


def _expand(op: Operator, a: list[Array]) -> list[Array]:
    axis = int(a[1].ravel()[0])
    if not -a[0].ndim - 1 <= axis <= a[0].ndim:
        raise IndexError(f"axis {axis} of {a[0].ndim}")
    return [np.expand_dims(a[0], axis)]


def _pack(op: Operator, a: list[Array]) -> list[Array]:
    _bounded([len(a), *a[0].shape])
    return [np.stack(a, _option(op, "Axis"))]


def _concatenate(op: Operator, a: list[Array]) -> list[Array]:
    _bounded([sum(part.size for part in a)])
    return [np.concatenate(a, _option(op, "Axis"))]


def _gather(op: Operator, a: list[Array]) -> list[Array]:
    axis = _option(op, "Axis")
    if _option(op, "BatchDims") or a[1].dtype.kind != "i":
        raise ValueError("batches of indices are not supported")
    _bounded([a[0].size // max(a[0].shape[axis], 1) * a[1].size])
    return [np.take(a[0], a[1], axis)]


def _slice(op: Operator, a: list[Array]) -> list[Array]:
    begin, size = ([int(v) for v in x.ravel()] for x in a[1:3])
    if not len(begin) == len(size) == a[0].ndim or min(begin, default=0) < 0:
        raise ValueError(f"a slice from {begin} of {size}")
    return [a[0][tuple(slice(b, None if n < 0 else b + n) for b, n in zip(begin, size, strict=True))]]


def _strided_slice(op: Operator, a: list[Array]) -> list[Array]:
    begin, end, step = ([int(v) for v in x.ravel()] for x in a[1:4])
    masks = {name: _option(op, name) for name in ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")}
    if masks["EllipsisMask"] or masks["NewAxisMask"] or not len(begin) == len(end) == len(step) <= a[0].ndim or 0 in step:
        raise ValueError(f"a slice from {begin} to {end} in steps of {step}")
    index: list[slice | int] = []
    for i, (b, e, s) in enumerate(zip(begin, end, step, strict=True)):
        if masks["ShrinkAxisMask"] >> i & 1:
            index.append(b)
        else:
            index.append(slice(None if masks["BeginMask"] >> i & 1 else b, None if masks["EndMask"] >> i & 1 else e, s))
    return [np.asarray(a[0][tuple(index)])]


def _transpose(op: Operator, a: list[Array]) -> list[Array]:
    return [a[0].transpose([int(p) for p in a[1].ravel()])]


def _fill(op: Operator, a: list[Array]) -> list[Array]:
    return [np.full(_bounded([int(d) for d in a[0].ravel()]), a[1].ravel()[0])]


def _tile(op: Operator, a: list[Array]) -> list[Array]:
    times = [int(n) for n in a[1].ravel()]
    if len(times) != a[0].ndim or min(times, default=0) < 0:
        raise ValueError(f"tiles of {times}")
    _bounded([d * n for d, n in zip(a[0].shape, times, strict=True)])
    return [np.tile(a[0], times)]


def _cast(op: Operator, a: list[Array]) -> list[Array]:
    if op.outputs[0].dtype not in _NUMBERS:
        raise ValueError(f"CAST to {op.outputs[0].dtype}")
    return [a[0].astype(np.int64)]


def _option(op: Operator, name: str) -> int:
    if op.options is None:
        raise ValueError("its options are missing")
    return int(op.options[name])


# -- what computes with whole numbers ---------------------------------------------------------------------
def _of_two(compute: Callable[[Array, Array], Any]) -> Fold:
    def folded(op: Operator, a: list[Array]) -> list[Array]:
        _bounded(np.broadcast_shapes(a[0].shape, a[1].shape))
        x, y = (np.clip(v.astype(np.int64), -INT32_MAX, INT32_MAX) for v in a[:2])
        return [np.asarray(compute(x, y))]

    return folded


def _reduced(compute: Callable[..., Any]) -> Fold:
    def folded(op: Operator, a: list[Array]) -> list[Array]:
        if a[0].size > 4 * RANK:
            raise ValueError(f"{a[0].size} values to reduce")
        values = [int(v) for v in a[0].ravel()]
        return [np.asarray(compute(np.array(values, np.float64).reshape(a[0].shape), _axes(a[1], a[0].ndim), keepdims=bool(_option(op, "KeepDims"))))]

    return folded


def _divided(x: Array, y: Array) -> Array:
    if not np.all(y):
        raise ZeroDivisionError("a division by zero")
    return np.asarray(x // y)


def _chosen(op: Operator, a: list[Array]) -> list[Array]:
    _bounded(np.broadcast_shapes(*(v.shape for v in a[:3])))
    return [np.where(a[0], a[1], a[2])]


def _range(op: Operator, a: list[Array]) -> list[Array]:
    start, limit, step = (int(v.ravel()[0]) for v in a[:3])
    _bounded([len(range(start, limit, step))])
    return [np.arange(start, limit, step)]


_FOLDS: Mapping[str, tuple[bool, Fold]] = {
    "RESHAPE": (True, _reshape),
    "SQUEEZE": (True, _squeeze),
    "EXPAND_DIMS": (True, _expand),
    "PACK": (True, _pack),
    "CONCATENATION": (True, _concatenate),
    "GATHER": (True, _gather),
    "SLICE": (True, _slice),
    "STRIDED_SLICE": (True, _strided_slice),
    "TRANSPOSE": (True, _transpose),
    "TILE": (True, _tile),
    "FILL": (False, _fill),
    "CAST": (False, _cast),
    "ADD": (False, _of_two(np.add)),
    "SUB": (False, _of_two(np.subtract)),
    "MUL": (False, _of_two(np.multiply)),
    "DIV": (False, _of_two(_divided)),
    "FLOOR_DIV": (False, _of_two(_divided)),
    "FLOOR_MOD": (False, _of_two(lambda x, y: x - y * _divided(x, y))),
    "MAXIMUM": (False, _of_two(np.maximum)),
    "MINIMUM": (False, _of_two(np.minimum)),
    "EQUAL": (False, _of_two(np.equal)),
    "LESS": (False, _of_two(np.less)),
    "GREATER": (False, _of_two(np.greater)),
    "SELECT": (False, _chosen),
    "SELECT_V2": (False, _chosen),
    "RANGE": (False, _range),
    "REDUCE_PROD": (False, _reduced(np.prod)),
    "SUM": (False, _reduced(np.sum)),
    "REDUCE_MAX": (False, _reduced(np.max)),
    "REDUCE_MIN": (False, _reduced(np.min)),
}
"""Operator -> whether it only moves values, whatever their scale, and what it computes."""
