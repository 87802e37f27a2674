"""ONNX operators that move values, make images larger or multiply activations, against onnxruntime, in the order of axes that files have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from qdq_models import IMAGE, Qdq, kinds, load, one, refused

from kiloc.export import onnx as writer
from kiloc.ir import interp
from kiloc.passes.simplify import simplify

Make = Callable[[Qdq, str], str]
NO_ROI = np.zeros(0, np.float32)


def layer(m: Qdq, x: str, scale: float = 0.4) -> str:
    """A convolution, so that the graph has its result channels last."""
    return m.d(m.q(m.op("Conv", x, m.weights(6, 4, 1, 1), m.bias(6)), scale))


def listed(m: Qdq, *values: int) -> str:
    return m.init(np.array(values, np.int64))


def split(m: Qdq, x: str, which: int, *sizes: int, **attributes: int) -> str:
    names = [m.fresh("part") for _ in range(len(sizes) or 2)]
    inputs = [x, listed(m, *sizes)] if sizes else [x]
    m.nodes.append(onnx.helper.make_node("Split", inputs, names, **attributes))
    return names[which]


def resize(mode: str, coordinates: str, *factors: float, nearest: str = "round_prefer_floor") -> Make:
    def make(m: Qdq, x: str) -> str:
        scales = m.init(np.array(factors, np.float32))
        more = {"nearest_mode": nearest} if mode == "nearest" else {}
        return m.op("Resize", x, m.init(NO_ROI), scales, mode=mode, coordinate_transformation_mode=coordinates, **more)

    return make


MOVES: dict[str, tuple[Make, tuple[int, ...]]] = {
    "split_channels": (lambda m, x: split(m, layer(m, x), 1, axis=1), IMAGE),
    "split_unevenly": (lambda m, x: split(m, layer(m, x), 2, 1, 2, 3, axis=1), IMAGE),
    "split_rows": (lambda m, x: split(m, x, 0, 5, 7, axis=-1), (1, 12)),
    "slice": (lambda m, x: m.op("Slice", layer(m, x), listed(m, 1, 0), listed(m, 99, -1), listed(m, 1, 3), listed(m, 2, 1)), IMAGE),
    "slice_backwards": (lambda m, x: m.op("Slice", layer(m, x), listed(m, -1), listed(m, -99), listed(m, 2), listed(m, -2)), IMAGE),
    "gather_one": (lambda m, x: m.op("Gather", layer(m, x), m.init(np.array(-2)), axis=1), IMAGE),
    "gather_some": (lambda m, x: m.op("Gather", layer(m, x), m.init(np.array([[5, 0], [1, 1]])), axis=1), IMAGE),
    "concat_channels": (lambda m, x: m.op("Concat", layer(m, x), layer(m, x, 0.3), x, axis=1), IMAGE),
    "concat_width": (lambda m, x: m.op("Concat", layer(m, x), layer(m, x), axis=3), IMAGE),
    "concat_batch": (lambda m, x: m.op("Concat", x, x, axis=0), (1, 12)),
    "concat_constant": (lambda m, x: m.op("Concat", m.weights(1, 2, 9, 7, axis=None), layer(m, x), axis=1), IMAGE),
    "concat_real": (lambda m, x: m.op("Concat", x, m.init(m.rng.normal(0, 2, (1, 3)).astype(np.float32)), axis=-1), (1, 12)),
    "resize_floor": (resize("nearest", "asymmetric", 1, 1, 2, 2, nearest="floor"), IMAGE),
    "resize_half_pixel": (resize("nearest", "half_pixel", 1, 1, 1.5, 0.6), IMAGE),
    "resize_prefer_ceil": (resize("nearest", "half_pixel", 1, 1, 0.5, 1.3, nearest="round_prefer_ceil"), IMAGE),
    "resize_align_corners": (resize("nearest", "align_corners", 1, 1, 1.7, 2, nearest="ceil"), IMAGE),
    "resize_signal": (resize("nearest", "asymmetric", 1, 1, 3, nearest="floor"), (1, 4, 9)),
    "resize_linear": (resize("linear", "half_pixel", 1, 1, 2, 2), IMAGE),
    "resize_linear_corners": (resize("linear", "align_corners", 1, 1, 2, 3), IMAGE),
    "resize_linear_asymmetric": (resize("linear", "asymmetric", 1, 1, 2, 4), IMAGE),
    "resize_to_sizes": (lambda m, x: m.op("Resize", x, m.init(NO_ROI), m.init(NO_ROI), listed(m, 1, 4, 18, 21), mode="linear"), IMAGE),
    "pad_channels": (lambda m, x: m.op("Pad", layer(m, x), listed(m, 0, 1, 2, 0, 0, 3, 0, 1), m.init(np.float32(0))), IMAGE),
    "pad_row": (lambda m, x: m.op("Pad", x, listed(m, 0, 2, 0, 3), m.init(np.float32(1.5))), (1, 12)),
    "pad_mirrored": (lambda m, x: m.op("Pad", layer(m, x), listed(m, 0, 0, 2, 1, 0, 0, 0, 3), mode="reflect"), IMAGE),
    "pad_edge": (lambda m, x: m.op("Pad", x, listed(m, 0, 0, 2, 0, 1, 1), mode="edge"), (1, 4, 9)),
    "global_max_pool": (lambda m, x: m.op("GlobalMaxPool", layer(m, x)), IMAGE),
    "unrounded_pool": (lambda m, x: m.op("Flatten", m.op("MaxPool", m.op("Conv", x, m.weights(6, 4, 1, 1)), kernel_shape=[2, 2])), IMAGE),
    "largest_of_two": (lambda m, x: m.op("Max", layer(m, x, 0.4), layer(m, x, 0.3)), IMAGE),
    "smallest_of_channels": (lambda m, x: m.op("Min", layer(m, x), m.d(m.q(m.op("GlobalAveragePool", layer(m, x)), 0.2))), IMAGE),
    "product": (lambda m, x: m.op("MatMul", x, m.op("Transpose", x, perm=[0, 2, 1])), (1, 7, 12)),
    "product_of_heads": (
        lambda m, x: m.op("MatMul", m.op("Transpose", m.op("Reshape", x, listed(m, 1, 6, 2, 4)), perm=[0, 2, 1, 3]),
                          m.op("Transpose", m.op("Reshape", x, listed(m, 1, 6, 2, 4)), perm=[0, 2, 3, 1])),
        (1, 6, 8),
    ),
    "squared_difference": (lambda m, x: (lambda d: m.op("Mul", d, d))(m.op("Sub", x, m.d(m.q(m.op("ReduceMean", x, axes=[2]), 0.02)))), (1, 5, 12)),
}  # fmt: skip
SCALES = {"product": 5.0, "product_of_heads": 5.0, "squared_difference": 1.0}
ERRORS = {"squared_difference": 2, "largest_of_two": 2, "smallest_of_channels": 2, "concat_channels": 2}
"""A step of the layer in front, and one of the operator."""


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str) -> None:
    make, shape = MOVES[name]
    m = one(make, *shape, scale=SCALES.get(name, 0.4))
    assert m.difference() <= ERRORS.get(name, 1)


TRANSPOSED: dict[str, Make] = {
    "plain": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 3, 3, axis=1), m.bias(6)),
    "strided": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 3, 2, axis=1), m.bias(6), strides=[2, 3], pads=[1, 0, 2, 1]),
    "output_padding": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 3, 3, axis=None), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),
    "dilated": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 2, 3, axis=1), dilations=[2, 1]),
    "cropped": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 2, 2, axis=1), pads=[2, 1, 2, 2]),
    "depthwise": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 1, 3, 3, axis=None), m.bias(4), group=4, strides=[2, 2]),
    "groups": lambda m, x: m.op("ConvTranspose", x, m.weights(4, 3, 3, 3, axis=None), m.bias(6), group=2, strides=[2, 1]),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str) -> None:
    m = one(TRANSPOSED[name], *IMAGE, scale=1.0)
    assert m.difference() <= 1
    assert {"conv_2d", "depthwise_conv_2d"} & set(kinds(m.load()))


def test_a_transposed_signal() -> None:
    m = one(lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 5, axis=1), m.bias(6), strides=[2], pads=[2, 1]), 1, 4, 9, scale=0.7)
    assert m.difference() <= 1


def test_parts_of_int8_tensors_need_no_dequantize() -> None:
    """As QOperator form has it."""
    m = Qdq()
    x = m.input(*IMAGE)
    part = m.alike(split(m, x, 1, axis=1), x)
    m.output(m.q(m.op("Conv", m.d(part), m.weights(3, 2, 3, 3)), 0.6))
    assert m.difference() <= 1


REFUSED: dict[str, tuple[Make, tuple[int, ...], str]] = {
    "cubic": (resize("cubic", "half_pixel", 1, 1, 2, 2), IMAGE, "resizes in mode cubic"),
    "cropping": (resize("nearest", "tf_crop_and_resize", 1, 1, 2, 2), IMAGE, "tf_crop_and_resize"),
    "linear_channels": (resize("linear", "half_pixel", 1, 2, 2, 2), IMAGE, "in mode linear"),
    "sizes": (lambda m, x: split(m, x, 0, 1, 2, axis=1), IMAGE, "splits an axis of 4 into [1, 2]"),
    "outside": (lambda m, x: m.op("Gather", x, m.init(np.array([4])), axis=1), IMAGE, "of an axis of 4"),
    "shapes": (lambda m, x: m.op("Concat", x, m.op("Transpose", x, perm=[0, 1, 3, 2]), axis=1), IMAGE, "joins"),
    "output_shape": (lambda m, x: m.op("ConvTranspose", x, m.weights(4, 6, 3, 3, axis=1), output_shape=[12, 12]), IMAGE, "output_shape"),
    "pad_batch": (lambda m, x: m.op("Pad", x, listed(m, 1, 0, 0, 0)), (1, 12), "the batch cannot be padded"),
    "pad_too_far": (lambda m, x: m.op("Pad", x, listed(m, 0, 12, 0, 0), mode="reflect"), (1, 12), "pads an axis of 12 by"),
    "fit": (lambda m, x: m.op("MatMul", x, x), (1, 7, 12), "multiplies"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, shape, words = REFUSED[name]
    refused(one(make, *shape).bytes(), words)


@pytest.mark.parametrize("name", MOVES)
def test_what_was_read_is_written(name: str) -> None:
    """The file that the writer makes of a model is read as the same integers."""
    make, shape = MOVES[name]
    graph = simplify(one(make, *shape, scale=SCALES.get(name, 0.4)).load())
    again = simplify(load(writer.write(graph)))
    x = np.random.default_rng(3).integers(-128, 128, (20, *shape[1:])).astype(np.int8)
    assert np.array_equal(interp.infer(again, x)[0].reshape(20, -1), interp.infer(graph, x)[0].reshape(20, -1))
