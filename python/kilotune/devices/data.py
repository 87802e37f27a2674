"""Samples and targets as users give them, checked and turned into the bytes that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .manifest import Manifest, Tensor, places
from .recordings import input_of, is_recordings

Samples = ArrayLike | Sequence[ArrayLike]
"""One array [N, ...], or a list of them for a model of several inputs."""


def round_away(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nearest integer, halves away from zero, exactly: C's roundf."""
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= np.float32(0.5), whole + np.copysign(np.float32(1), x), whole).astype(np.float32)


def quantize(x: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """TensorFlow Lite's AffineQuantize: round(x / scale) + zero_point, in float32, clamped to the tensor's type."""
    low, high = tensor.range
    with np.errstate(over="ignore"):
        scaled = np.clip(x.astype(np.float32) / np.float32(tensor.scale), 4.0 * low - 1e6, 4.0 * high + 1e6)
    return np.asarray(np.clip(round_away(scaled).astype(np.float64) + tensor.zero_point, low, high).astype(tensor.dtype))


def dequantize(q: NDArray[Any], tensor: Tensor) -> NDArray[np.float32]:
    """Real values of a tensor."""
    return (q.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)


def _shape_text(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(n) for n in shape) + "]"


def _check_finite(x: NDArray[Any], what: str) -> None:
    if not np.isfinite(x).all():
        at = np.unravel_index(int(np.argmin(np.isfinite(x))), x.shape)
        raise ValueError(f"{what} holds {x[at]} at {_shape_text([int(i) for i in at])}: only finite values can be used")


def _one_input(x: Any, tensor: Tensor, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{what} is not an array: {error}") from None
    if tensor.tokens and array.dtype.kind in "iuf" and array.dtype != np.dtype(tensor.dtype):
        _check_finite(array, what)
        wrong = array[(array < 0) | (array >= tensor.tokens)]
        if wrong.size:
            raise ValueError(f"{what} holds token {wrong[0]}: the model has {tensor.tokens}, 0 to {tensor.tokens - 1}")
        array = (np.rint(array).astype(np.int64) + tensor.zero_point).astype(tensor.dtype)
    if array.dtype not in (np.float32, np.float64, np.dtype(tensor.dtype)):
        raise ValueError(f"{what} has dtype {array.dtype}: give float32 or float64 (quantised here) or {tensor.dtype} (taken as is)")
    if array.shape[1:] != tensor.sample_shape or array.ndim != len(tensor.shape):
        raise ValueError(f"{what} has shape {_shape_text(array.shape)}, expected {_shape_text(['N', *tensor.sample_shape])}")
    if array.dtype == tensor.dtype:
        return array
    _check_finite(array, what)
    return quantize(array, tensor)


def packed(arrays: Sequence[NDArray[Any]], tensors: tuple[Tensor, ...]) -> NDArray[Any]:
    """Tensors of N samples in one buffer each, [N, values], as the model's interface has it.

    The values have the type of the first tensor, which is at the beginning: `unpacked` gives all of them.
    """
    if len(tensors) == 1:
        return np.array(arrays[0].reshape(len(arrays[0]), tensors[0].size), tensors[0].stored, order="C")
    at, size = places(tensors)
    rows = np.zeros((len(arrays[0]), size), np.uint8)
    for array, tensor, begin in zip(arrays, tensors, at, strict=True):
        flat = np.ascontiguousarray(array.reshape(len(array), tensor.size), tensor.stored)
        rows[:, begin : begin + tensor.size * tensor.width] = flat.view(np.uint8)
    return rows.view(tensors[0].stored)


def unpacked(rows: NDArray[Any], tensors: tuple[Tensor, ...]) -> list[NDArray[Any]]:
    """The tensors [N, ...] of such buffers."""
    if len(tensors) == 1 and rows.dtype == tensors[0].stored:
        return [rows.astype(tensors[0].dtype, "C").reshape(len(rows), *tensors[0].sample_shape)]
    found, data = [], np.ascontiguousarray(rows).view(np.uint8)
    for tensor, begin in zip(tensors, places(tensors)[0], strict=True):
        part = np.ascontiguousarray(data[:, begin : begin + tensor.size * tensor.width])
        found.append(part.view(tensor.stored).astype(tensor.dtype).reshape(len(rows), *tensor.sample_shape))
    return found


def prepare_inputs(x: Samples, manifest: Manifest, what: str = "x") -> NDArray[Any]:
    """All inputs of N samples in one buffer each, in the model's order: see `packed`. Of recordings the front end makes the input."""
    count = len(manifest.inputs)
    if manifest.features is not None and is_recordings(recordings := np.asarray(x), manifest.features):
        x = input_of(recordings, manifest.features, manifest.inputs[0])
    if count == 1:
        arrays = [_one_input(x, manifest.inputs[0], what)]
    else:
        if not isinstance(x, (list, tuple)) or len(x) != count:
            given = f"{len(x)} arrays" if isinstance(x, (list, tuple)) else type(x).__name__
            raise ValueError(f"{what} must be a list of {count} arrays, one for each input of the model, not {given}")
        arrays = [_one_input(a, t, f"{what}[{i}]") for i, (a, t) in enumerate(zip(x, manifest.inputs, strict=True))]
        if len({len(a) for a in arrays}) != 1:
            raise ValueError(f"{what} holds different numbers of samples: {[len(a) for a in arrays]}")
    return packed(arrays, manifest.inputs)


def rows(x: Samples, chosen: NDArray[np.bool_], manifest: Manifest) -> Samples:
    """Some of the samples [N, ...]."""
    if len(manifest.inputs) == 1:
        return np.asarray(x)[chosen]
    return [np.asarray(array)[chosen] for array in x]  # type: ignore[union-attr]


def with_batch_axis(x: Samples, manifest: Manifest) -> Samples:
    """One sample, given with or without the batch axis, as samples [1, ...]."""

    def one(array: Any, tensor: Tensor) -> Any:
        a = np.asarray(array)
        return a[np.newaxis] if a.shape == tensor.sample_shape or is_recordings(a[np.newaxis], manifest.features) else a

    if len(manifest.inputs) == 1:
        batch: Samples = one(x, manifest.inputs[0])
        return batch
    if isinstance(x, (list, tuple)) and len(x) == len(manifest.inputs):
        return [one(a, t) for a, t in zip(x, manifest.inputs, strict=True)]
    return x


def prepare_labels(y: ArrayLike, count: int, classes: int, what: str = "y") -> NDArray[np.int32]:
    """Class numbers [N], checked against the number of samples and of classes."""
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{what} has dtype {labels.dtype}: labels are integers, one for each sample")
    if labels.shape != (count,):
        raise ValueError(f"{what} has shape {_shape_text(labels.shape)}, expected [{count}]: one label for each sample")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise ValueError(f"{what} holds label {labels[wrong[0]]} at [{wrong[0]}]: the model has {classes} classes, 0 to {classes - 1}")
    return labels.astype(np.int32)


def prepare_values(y: ArrayLike, count: int, tensor: Tensor, loss: str | None = None, what: str = "y") -> NDArray[np.float32]:
    """Targets that are values as float32 [N, values], for the output that the loss reads: the first.

    Those of "soft_cross_entropy" may be class numbers [N], too: distributions of one class.
    """
    array = np.asarray(y)
    if loss == "soft_cross_entropy" and array.ndim == 1 and array.dtype.kind in "iu":
        return np.eye(tensor.size, dtype=np.float32)[prepare_labels(array, count, tensor.size, what)]
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what} has dtype {array.dtype}: targets are numbers in the output's real units")
    if array.shape == (count,) and tensor.size == 1:
        array = array.reshape(count, 1)
    if array.shape == (count,) and array.dtype.kind in "iu" and tensor.size > 1:
        text = f"labels are for cross-entropy, this loss takes {tensor.size} numbers a sample"
        raise ValueError(f"{what} has shape {_shape_text(array.shape)}: {text}")
    if array.shape not in ((count, *tensor.sample_shape), (count, tensor.size)):
        raise ValueError(f"{what} has shape {_shape_text(array.shape)}, expected {_shape_text([count, *tensor.sample_shape])}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    _check_finite(array, what)
    return np.ascontiguousarray(array.reshape(count, tensor.size))


DISTRIBUTION_ERROR = 1e-3
"""That the sum of a target distribution may differ from 1."""


def check_probabilities(values: NDArray[np.float32], loss: str, what: str = "y") -> None:
    """Refuses targets [N, n] that the losses of probabilities do not take: "bce", and "soft_cross_entropy", whose targets sum to 1."""
    wrong = np.argwhere((values < 0) | (values > 1))
    if wrong.size:
        at = [int(i) for i in wrong[0]]
        title, hint = ("binary cross-entropy", "0 or 1 for each output") if loss == "bce" else ("soft cross-entropy", "a probability for each class")
        raise ValueError(f"{what} holds {values[tuple(at)]:g} at {_shape_text(at)}, outside [0, 1]: {title} takes {hint}")
    if loss == "soft_cross_entropy":
        sums = values.sum(axis=1, dtype=np.float64)
        off = np.flatnonzero(np.abs(sums - 1) > DISTRIBUTION_ERROR)
        if off.size:
            hint = "soft cross-entropy takes distributions, whose sum is 1: divide each by its sum"
            raise ValueError(f"{what} sums to {sums[off[0]]:g} at [{off[0]}]: {hint}")


def one_target(y: ArrayLike, manifest: Manifest) -> NDArray[Any]:
    """One target, given with or without the batch axis, as targets of one sample."""
    array, tensor = np.asarray(y), manifest.outputs[0]
    if manifest.targets == "labels":
        return array.reshape(1) if array.size == 1 else array
    if manifest.loss == "soft_cross_entropy" and array.shape == () and array.dtype.kind in "iu":
        return array.reshape(1)
    bare = array.size == tensor.size and array.shape in ((), tensor.sample_shape, (tensor.size,))
    return array.reshape(1, -1) if bare else array
