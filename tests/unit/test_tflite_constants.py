"""What exporters compute from shapes and other constants is computed at import; and what stands in a model's way is said all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tflite_files import FileOperator, FileTensor, build, computed_shape, dense, layer_tensors

from kiloc.errors import CompileError, ModelError
from kiloc.frontend import tflite as reader
from kiloc.frontend.refusals import MOST, Refusals
from kiloc.frontend.tflite_constants import fold, reshaped
from kiloc.frontend.tflite_file import Operator, Tensor
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify


def load(data: bytes) -> Graph:
    return verify(reader.load(data, "model", "model.tflite"))


@pytest.mark.parametrize(("batch", "result"), [(1, (1, 12)), (-1, (-1, 12)), (1, (-1, -1)), (-1, ())])
def test_flatten_as_exporters_write_it(batch: int, result: tuple[int, ...]) -> None:
    graph = load(computed_shape(batch, result))
    assert [n.op.mnemonic for n in graph.nodes] == ["reshape", "fully_connected"]
    assert graph.type(graph.nodes[0].outputs[0]).shape == (1, 12)


def constant_of(kind: str, arrays: list[Any], dtype: str = "INT32", outputs: int = 1, **options: int) -> list[np.ndarray]:
    """What an operator makes of constants."""
    empty = (np.zeros(0), np.zeros(0, np.int64), 0)
    inputs = [Tensor(i, "c", np.asarray(a).shape, "INT32", *empty, np.asarray(a, np.int32)) for i, a in enumerate(arrays)]
    results = [Tensor(90 + i, "y", (), dtype, *empty, None) for i in range(outputs)]
    assert fold(Operator(0, kind, list(inputs), results, options or None))
    found = [t.data for t in results]
    assert all(d is not None and d.shape == t.shape for d, t in zip(found, results, strict=True))
    return [np.asarray(d) for d in found]


MASKS = dict.fromkeys(("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"), 0)
FOLDED: dict[str, tuple[str, list[Any], dict[str, int], Any]] = {
    "pack": ("PACK", [[1, 2], [3, 4]], {"Axis": 1}, [[1, 3], [2, 4]]),
    "concatenation": ("CONCATENATION", [[1, 2], [3]], {"Axis": 0}, [1, 2, 3]),
    "gather": ("GATHER", [[5, 6, 7], [2, 0]], {"Axis": 0, "BatchDims": 0}, [7, 5]),
    "slice": ("SLICE", [[4, 5, 6], [1], [-1]], {}, [5, 6]),
    "strided slice backwards": ("STRIDED_SLICE", [[4, 5, 6], [2], [0], [-1]], MASKS, [6, 5]),
    "strided slice with masks": ("STRIDED_SLICE", [[4, 5, 6], [2], [2], [1]], {**MASKS, "BeginMask": 1}, [4, 5]),
    "one of many": ("STRIDED_SLICE", [[4, 5, 6], [-1], [0], [1]], {**MASKS, "ShrinkAxisMask": 1}, 6),
    "reshape": ("RESHAPE", [[1, 2, 3, 4], [2, -1]], {}, [[1, 2], [3, 4]]),
    "expand": ("EXPAND_DIMS", [[1, 2], [-1]], {}, [[1], [2]]),
    "transpose": ("TRANSPOSE", [[[1, 2], [3, 4]], [1, 0]], {}, [[1, 3], [2, 4]]),
    "tile": ("TILE", [[1, 2], [2]], {}, [1, 2, 1, 2]),
    "fill": ("FILL", [[2, 1], 7], {}, [[7], [7]]),
    "cast": ("CAST", [[3]], {}, [3]),
    "add": ("ADD", [[1, 2], 3], {}, [4, 5]),
    "mul": ("MUL", [[1, 2], [3, 4]], {}, [3, 8]),
    "division": ("FLOOR_DIV", [[7, -7], 2], {}, [3, -4]),
    "remainder": ("FLOOR_MOD", [[7, -7], 3], {}, [1, 2]),
    "product": ("REDUCE_PROD", [[2, 3, 4], [0]], {"KeepDims": 0}, 24),
    "product of a row": ("REDUCE_PROD", [[[2, 3], [4, 5]], [1]], {"KeepDims": 1}, [[6], [20]]),
    "range": ("RANGE", [1, 7, 2], {}, [1, 3, 5]),
}


@pytest.mark.parametrize("case", FOLDED)
def test_constants(case: str) -> None:
    kind, arrays, options, expected = FOLDED[case]
    found = constant_of(kind, arrays, **options)[0]
    assert np.array_equal(found, expected) and found.shape == np.shape(expected) and found.dtype == np.int32


REFUSED: dict[str, tuple[str, list[Any], dict[str, int], str]] = {
    "no shape": ("RESHAPE", [[1, 2, 3], [2, -1]], {}, "no shape"),
    "two free axes": ("RESHAPE", [[1, 2], [-1, -1]], {}, "no shape"),
    "a huge tile": ("TILE", [[1, 2], [2**30]], {}, "beyond any model"),
    "a huge fill": ("FILL", [[2**30, 2**30], 7], {}, "beyond any model"),
    "a huge sum": ("ADD", [np.zeros((1, 4000)), np.zeros((4000, 1))], {}, "beyond any model"),
    "a huge product": ("REDUCE_PROD", [[2**30, 2**30], [0]], {"KeepDims": 0}, "does not fit INT32"),
    "a division by zero": ("FLOOR_DIV", [[1], [0]], {}, "division by zero"),
    "an axis that is not there": ("REDUCE_PROD", [[2, 3], [4]], {"KeepDims": 0}, "axes"),
    "an index that is not there": ("GATHER", [[2, 3], [4]], {"Axis": 0, "BatchDims": 0}, "cannot be computed"),
    "no options": ("PACK", [[1], [2]], {}, "options are missing"),
    "different parts": ("CONCATENATION", [[[1, 2]], [3]], {"Axis": 0}, "cannot be computed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_constants_that_do_not_fit(case: str) -> None:
    kind, arrays, options, words = REFUSED[case]
    with pytest.raises(CompileError, match=words):
        constant_of(kind, arrays, **options)


def test_reshaped() -> None:
    assert reshaped([1, -1], 12) == (1, 12) and reshaped([3, 4], 12) == (3, 4)
    for wrong in ([5, -1], [3, 3], [0, -1], [-2, -6]):
        with pytest.raises(ValueError, match="shape"):
            reshaped(wrong, 12)


def test_constants_with_scales_are_moved_but_not_computed_with() -> None:
    """Weights that are transposed in the file are constants; an ADD of two int8 constants is no matter of shapes."""
    scaled = (np.array([0.5]), np.array([0]), 0)
    matrix = Tensor(0, "w", (2, 3), "INT8", *scaled, np.arange(6, dtype=np.int8).reshape(2, 3))
    order = Tensor(1, "p", (2,), "INT32", np.zeros(0), np.zeros(0, np.int64), 0, np.array([1, 0], np.int32))
    result = Tensor(2, "t", (3, 2), "INT8", *scaled, None)
    assert fold(Operator(0, "TRANSPOSE", [matrix, order], [result], None))
    assert result.data is not None and result.data.dtype == np.int8 and result.data.tolist() == [[0, 3], [1, 4], [2, 5]]
    other = Tensor(3, "s", (2, 3), "INT8", *scaled, None)
    assert not fold(Operator(1, "ADD", [matrix, matrix], [other], None)) and other.data is None
    rescaled = Tensor(4, "t", (3, 2), "INT8", np.array([0.25]), np.array([0]), 0, None)
    assert not fold(Operator(2, "TRANSPOSE", [matrix, order], [rescaled], None))


def test_weights_of_four_bits() -> None:
    """Two values a byte, the first in the lower half; of an odd number the last half is not read."""
    values = np.array([[-8, 7, 3], [0, -1, 5], [1, 2, -7]], np.int8)
    flat = np.append(values.ravel(), 0)
    packed = ((flat[0::2] & 15) | (flat[1::2] << 4)).astype(np.uint8).view(np.int8)
    graph = load(dense(w={"type": "INT4", "shape": (3, 3), "data": packed}, x={"shape": (1, 3)}))
    assert np.array_equal(graph.values["head.weights"].data, values)
    with pytest.raises(CompileError, match="bytes of data for 9 values of 4 bits"):
        load(dense(w={"type": "INT4", "shape": (3, 3), "data": packed[:-1]}, x={"shape": (1, 3)}))


# -- all reasons --------------------------------------------------------------------------------------
def several_faults() -> bytes:
    """Two operators that nobody knows, one of them twice, a float tensor inside, and what follows from them."""
    rng = np.random.default_rng(0)
    inner = [FileTensor((1, 4), name=f"t{i}") for i in range(4)]
    tensors = [
        FileTensor((1, 4), name="x"),
        *inner,
        FileTensor((1, 4), "FLOAT32", None, name="float"),
        *layer_tensors(rng, 3, 4, "m/head"),
        FileTensor((1, 3)),
    ]
    operators = [
        FileOperator("ATAN2", (0, 0), (1,)),
        FileOperator("COS", (1,), (2,)),
        FileOperator("ATAN2", (2, 2), (3,)),
        FileOperator("DEQUANTIZE", (3,), (5,)),
        FileOperator("QUANTIZE", (5,), (4,)),
        FileOperator("FULLY_CONNECTED", (4, 6), (8,), "FullyConnectedOptions", {"FusedActivationFunction": 9}),
    ]
    return build(tensors, operators, (0,), (8,))


def test_all_reasons_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        load(several_faults())
    error = caught.value
    assert len(error.reasons) == 4 and error.where == "model.tflite"
    text = str(error)
    assert text.startswith(
        "model.tflite: 4 things stand in its way\n- operator 0 ATAN2 't0', operator 2 ATAN2 't2': operator ATAN2 is not supported\n"
    )
    for words in ("COS", "DEQUANTIZE", "fused activation 9"):
        assert words in text and words in error.what
    assert "depends on" not in text and text.count("supported are") == 1


def test_one_reason_reads_as_before() -> None:
    with pytest.raises(ModelError) as caught:
        load(dense(x={"zero": (200,)}))
    error = caught.value
    assert len(error.reasons) == 1 and error.where.startswith("model.tflite: tensor 0 'x'")
    assert str(error) == f"{error.where}: {error.what}\n  hint: {error.hint}"


def test_reasons_have_an_end() -> None:
    refusals = Refusals()
    with pytest.raises(ModelError) as caught:
        for i in range(10 * MOST):
            with refusals.attempt():
                raise CompileError("here", f"reason {i}", "none")
    assert len(caught.value.reasons) == MOST


def test_a_mistake_of_ours_is_no_reason() -> None:
    refusals = Refusals()
    with pytest.raises(AttributeError), refusals.attempt():
        raise AttributeError("ours")
    assert not refusals


def test_float_models_get_one_reason() -> None:
    w = FileTensor((3, 4), "FLOAT32", None, data=np.ones((3, 4), np.float32))
    tensors = [FileTensor((1, 4), "FLOAT32", None, name="x"), w, FileTensor((1, 3), "FLOAT32", None)]
    layer = FileOperator("FULLY_CONNECTED", (0, 1), (2,), "FullyConnectedOptions")
    with pytest.raises(ModelError) as caught:
        load(build(tensors, [layer], (0,), (2,)))
    assert len(caught.value.reasons) == 1 and "to full INT8" in caught.value.hint


def test_float_ends_that_are_quantised_twice() -> None:
    """One FLOAT32 input that two branches quantise alike is one input."""
    tensors = [FileTensor((1, 4), "FLOAT32", None, name="x"), *(FileTensor((1, 4), name=name) for name in ("a", "b", "sum"))]
    operators = [FileOperator("QUANTIZE", (0,), (1,)), FileOperator("QUANTIZE", (0,), (2,)), FileOperator("ADD", (1, 2), (3,), "AddOptions")]
    graph = load(build(tensors, operators, (0,), (3,)))
    assert len(graph.inputs) == 1 and set(graph.nodes[0].inputs.values()) == set(graph.inputs)
    tensors[2] = FileTensor((1, 4), scale=(0.07,), name="b")
    with pytest.raises(ModelError, match="quantised in different ways"):
        load(build(tensors, operators, (0,), (3,)))
