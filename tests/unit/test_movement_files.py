"""Operators that move values, as files of converters hold them: each file is run by TensorFlow Lite Micro, or where that has no kernel for it by
LiteRT's reference kernels, and by the interpreter of the graph that is read from it. Every value must agree."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from bounded_work import at_most
from test_operators_against_tflm import ARENA, difference
from test_tflite_frontend import FileOperator, FileTensor, build

from kiloc.errors import CompileError
from kiloc.frontend import tflite as reader
from kiloc.ir import interp
from kiloc.ir.verify import verify
from kiloc.passes.simplify import simplify


@dataclass(frozen=True)
class Made:
    """A file of one operator. inputs: shapes of activations, or constants; order: the positions of the operator's inputs among activations, then
    constants, by number; results: shapes."""

    kind: str
    activations: tuple[tuple[int, ...], ...]
    constants: tuple[Any, ...]
    order: tuple[int, ...]
    results: tuple[tuple[int, ...], ...]
    table: str = ""
    fields: tuple[tuple[str, Any], ...] = ()
    oracle: str = "tflm"

    def file(self, scale: float = 0.05) -> bytes:
        tensors = [FileTensor(s, zero=(3,), name=f"x{i}") for i, s in enumerate(self.activations)]
        for c in self.constants:
            codes = isinstance(c, np.ndarray) and c.dtype == np.int8
            data = c if codes else np.array(c, np.int32)
            tensors.append(FileTensor(data.shape, "INT8" if codes else "INT32", (0.05,) if codes else None, zero=(3,), data=data, name="c"))
        first = len(tensors)
        tensors += [FileTensor(s, scale=(scale,), zero=(3,), name=f"y{i}") for i, s in enumerate(self.results)]
        outputs = tuple(range(first, len(tensors)))
        operator = FileOperator(self.kind, self.order, outputs, self.table, dict(self.fields))
        return build(tensors, [operator], tuple(range(len(self.activations))), outputs)


def one(kind: str, x: tuple[int, ...], constants: tuple[Any, ...], y: tuple[int, ...], table: str = "", oracle: str = "tflm", **fields: Any) -> Made:
    return Made(kind, (x,), constants, tuple(range(len(constants) + 1)), (y,), table, tuple(fields.items()), oracle)


def strided(x: tuple[int, ...], begin: Any, end: Any, step: Any, y: tuple[int, ...], oracle: str = "tflm", **masks: int) -> Made:
    return one("STRIDED_SLICE", x, (begin, end, step), y, "StridedSliceOptions", oracle, **masks)


CODES = np.arange(-12, 12, dtype=np.int8)

CASES = {
    "split": Made("SPLIT", ((1, 6),), ([1],), (1, 0), ((1, 2), (1, 2), (1, 2)), "SplitOptions", (("NumSplits", 3),)),
    "split-rows": Made("SPLIT", ((1, 4, 3, 2),), (1,), (1, 0), ((1, 2, 3, 2), (1, 2, 3, 2)), "SplitOptions", (("NumSplits", 2),)),
    "split-v": Made("SPLIT_V", ((1, 9),), ([4, 2, -1], -1), (0, 1, 2), ((1, 4), (1, 2), (1, 3)), "SplitVOptions", (("NumSplits", 3),)),
    "split-batch": Made("SPLIT", ((4, 3),), (0,), (1, 0), ((2, 3), (2, 3)), "SplitOptions", (("NumSplits", 2),)),
    "unpack": Made("UNPACK", ((1, 3, 4),), (), (0,), ((1, 4), (1, 4), (1, 4)), "UnpackOptions", (("Axis", 1), ("Num", 3))),
    "unpack-batch": Made("UNPACK", ((1, 24),), (), (0,), ((24,),), "UnpackOptions", (("Axis", 0), ("Num", 1))),
    "unpack-rows": Made("UNPACK", ((3, 5),), (), (0,), ((5,), (5,), (5,)), "UnpackOptions", (("Axis", 0), ("Num", 3))),
    "pack": Made("PACK", ((1, 4), (1, 4), (1, 4)), (), (0, 1, 2), ((1, 3, 4),), "PackOptions", (("Axis", 1), ("ValuesCount", 3))),
    "pack-batch": Made("PACK", ((1, 4), (1, 4)), (), (0, 1), ((2, 1, 4),), "PackOptions", (("Axis", 0), ("ValuesCount", 2))),
    "pack-last": Made("PACK", ((2, 4), (2, 4)), (), (0, 1), ((2, 4, 2),), "PackOptions", (("Axis", -1), ("ValuesCount", 2))),
    "pack-one": Made("PACK", ((1, 4),), (), (0,), ((1, 1, 4),), "PackOptions", (("Axis", 0), ("ValuesCount", 1))),
    "concat": Made("CONCATENATION", ((1, 2, 3), (1, 2, 1)), (), (0, 1), ((1, 2, 4),), "ConcatenationOptions", (("Axis", -1),)),
    "concat-batch": Made("CONCATENATION", ((1, 2, 3), (1, 2, 3)), (), (1, 0), ((2, 2, 3),), "ConcatenationOptions", (("Axis", 0),)),
    "concat-rows": Made("CONCATENATION", ((2, 3), (1, 3)), (), (0, 1), ((3, 3),), "ConcatenationOptions", (("Axis", 0),)),
    "concat-same": Made("CONCATENATION", ((1, 3),), (), (0, 0), ((1, 6),), "ConcatenationOptions", (("Axis", 1),)),
    "concat-constant": Made("CONCATENATION", ((1, 24),), (CODES[None],), (1, 0), ((1, 48),), "ConcatenationOptions", (("Axis", 1),)),
    "slice": one("SLICE", (1, 5, 4, 3), ([0, 1, 0, 1], [1, 3, -1, 2]), (1, 3, 4, 2)),
    "slice-rows": one("SLICE", (5, 3), ([2, 0], [2, 3]), (2, 3)),
    "strided": strided((1, 7, 4, 3), [0, -2, 0, 0], [0, 0, 0, 3], [1, 1, 1, 1], (1, 2, 4, 3), EndMask=7),
    "strided-step": strided((1, 7, 4, 3), [0, 1, 0, 0], [1, 7, 4, 3], [1, 3, 2, 1], (1, 2, 2, 3)),
    "strided-back": strided((1, 7, 4), [0, 6, 0], [1, 0, 4], [1, -2, 1], (1, 3, 4)),
    "strided-shrink": strided((1, 7, 4), [0, 2, 0], [1, 3, 4], [1, 1, 1], (1, 4), ShrinkAxisMask=2),
    "strided-shrink-batch": strided((1, 7, 4), [0, 2, 0], [1, 5, 4], [1, 1, 1], (3, 4), ShrinkAxisMask=1),
    "strided-ellipsis": strided((1, 7, 4, 3), [0, 1], [0, 2], [1, 1], (1, 7, 4), "litert", EllipsisMask=1, ShrinkAxisMask=2),
    "strided-new": strided((1, 7, 4), [0, 0, 2], [1, 0, 5], [1, 1, 1], (1, 1, 3, 4), "litert", NewAxisMask=2),
    "gather": one("GATHER", (1, 5, 3), ([4, 0, 0],), (1, 3, 3), "GatherOptions", Axis=1),
    "gather-rows": one("GATHER", (5, 3), ([4, 0],), (2, 3), "GatherOptions", Axis=0),
    "gather-one": one("GATHER", (1, 5, 3), (2,), (1, 3), "GatherOptions", Axis=1),
    "gather-table": one("GATHER", (1, 5, 3), ([[2, 1], [0, 4]],), (1, 2, 2, 3), "GatherOptions", Axis=1),
    "tile": one("TILE", (1, 2, 3), ([1, 3, 2],), (1, 6, 6), "TileOptions", "litert"),
    "tile-batch": one("TILE", (1, 2, 3), ([4, 1, 1],), (4, 2, 3), "TileOptions", "litert"),
    "tile-apart": one("TILE", (1, 2, 3, 2, 2), ([1, 2, 1, 1, 2],), (1, 4, 3, 2, 4), "TileOptions", "litert"),
    "tile-nothing": one("TILE", (1, 2, 3), ([1, 1, 1],), (1, 2, 3), "TileOptions", "litert"),
    "mirror-reflect": one("MIRROR_PAD", (1, 4, 3, 2), ([[0, 0], [1, 2], [2, 0], [0, 1]],), (1, 7, 5, 3), "MirrorPadOptions", Mode=0),
    "mirror-symmetric": one("MIRROR_PAD", (1, 4, 3, 2), ([[0, 0], [1, 4], [3, 0], [0, 0]],), (1, 9, 6, 2), "MirrorPadOptions", Mode=1),
    "pad-channels": one("PAD", (1, 4, 3, 2), ([[0, 0], [0, 1], [0, 0], [1, 2]],), (1, 5, 3, 5), "PadOptions"),
    "pad-rows": one("PAD", (4, 3), ([[1, 2], [0, 1]],), (7, 4), "PadOptions"),
    "pad-batch": one("PAD", (1, 3), ([[1, 0], [0, 1]],), (2, 4), "PadOptions"),
    "pad-value": one("PADV2", (1, 4, 3), ([[0, 0], [1, 1], [0, 2]], np.array(9, np.int8)), (1, 6, 5), "PadV2Options"),
    "transpose-batch": one("TRANSPOSE", (1, 4, 3), ([1, 0, 2],), (4, 1, 3), "TransposeOptions"),
    "transpose-rows": one("TRANSPOSE", (4, 3, 2, 5), ([3, 1, 0, 2],), (5, 3, 4, 2), "TransposeOptions"),
    "transpose-five": one("TRANSPOSE", (1, 4, 3, 2, 5), ([0, 3, 1, 4, 2],), (1, 2, 4, 5, 3), "TransposeOptions"),
    "expand": one("EXPAND_DIMS", (1, 4), (1,), (1, 1, 4), "ExpandDimsOptions"),
    "squeeze": one("SQUEEZE", (1, 1, 4, 1), (), (4,), "SqueezeOptions"),
    "mean-apart": one("MEAN", (1, 4, 3, 5), ([1, 3],), (1, 3), "ReducerOptions"),
    "mean-apart-kept": one("MEAN", (1, 4, 3, 5), ([3, 1],), (1, 1, 3, 1), "ReducerOptions", KeepDims=True),
    "mean-batch": one("MEAN", (4, 5), ([0],), (5,), "ReducerOptions"),
    "mean-all": one("MEAN", (1, 4, 5), ([0, 1, 2],), (1,), "ReducerOptions"),
    "mean-over-one": one("MEAN", (1, 4, 1, 5), ([1, 3],), (1, 1), "ReducerOptions"),
    "max": one("REDUCE_MAX", (1, 4, 3, 5), ([1, 2],), (1, 5), "ReducerOptions"),
    "max-last": one("REDUCE_MAX", (1, 4, 3, 5), (-1,), (1, 4, 3, 1), "ReducerOptions", KeepDims=True),
    "max-apart": one("REDUCE_MAX", (1, 4, 3, 5), ([1, 3],), (1, 3), "ReducerOptions"),
    "max-rows": one("REDUCE_MAX", (6, 5), ([0],), (5,), "ReducerOptions"),
}  # fmt: skip


def resized(kind: str, size: tuple[int, int], result: tuple[int, int], corners: bool, half: bool) -> Made:
    table = "ResizeBilinearOptions" if kind == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    return one(kind, (1, *size, 3), (result,), (1, *result, 3), table, AlignCorners=corners, HalfPixelCenters=half)


for kind, (size, result), (corners, half) in product(
    ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
    (((4, 3), (8, 6)), ((4, 3), (7, 10)), ((9, 8), (4, 3)), ((1, 5), (3, 1)), ((5, 5), (5, 5)), ((13, 7), (40, 33))),
    ((False, False), (True, False), (False, True)),
):
    CASES[f"{kind.lower()}-{size}-{result}-{corners}-{half}".replace(" ", "")] = resized(kind, size, result, corners, half)


def run_tflm(data: bytes, inputs: list[np.ndarray], outputs: int = 1) -> list[np.ndarray]:
    interpreter = pytest.importorskip("tflite_micro").runtime.Interpreter.from_bytes(data, arena_size=ARENA)
    for i, x in enumerate(inputs):
        interpreter.set_input(x, i)
    interpreter.invoke()
    return [interpreter.get_output(i).copy() for i in range(outputs)]


def run_litert(data: bytes, inputs: list[np.ndarray], outputs: int = 1) -> list[np.ndarray]:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for detail, x in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def agrees(made: Made, scale: float = 0.05) -> None:
    rng, data = np.random.default_rng(1), made.file(scale)
    x = [rng.integers(-128, 128, s).astype(np.int8) for s in made.activations]
    theirs = {"tflm": run_tflm, "litert": run_litert}[made.oracle](data, x, len(made.results))
    graph = verify(reader.load(data, "case", "case.tflite"))
    for g in (graph, simplify(graph)):
        ours = interp.run(g, {n: a.reshape(g.type(n).shape) for n, a in zip(g.inputs, x, strict=True)})
        for output, expected in zip(g.outputs, theirs, strict=True):
            assert difference(ours[output].reshape(1, -1), expected.reshape(1, -1)) == ""


@pytest.mark.parametrize("name", CASES)
def test_equals_the_interpreter(name: str) -> None:
    agrees(CASES[name])


@pytest.mark.parametrize("name", ["split", "pack", "strided", "transpose-batch", "pad-channels"])
def test_codes_are_moved_as_they_are(name: str) -> None:
    """Where the file gives the result another scale than its input has, TensorFlow Lite Micro takes no notice, and what follows reads the new one."""
    agrees(CASES[name], scale=0.07)
    graph = reader.load(CASES[name].file(0.07), "case", "case.tflite")
    assert graph.type(graph.outputs[0]).scale == pytest.approx(0.07)


def test_tensors_of_different_scales_are_not_joined() -> None:
    """Neither interpreter does it."""
    data = CASES["concat"].file(0.07)
    with pytest.raises(CompileError, match="of different scales"):
        reader.load(data, "case", "case.tflite")
    with pytest.raises(RuntimeError):
        run_tflm(data, [])


REFUSED = {
    "a part without end": (one("SLICE", (1, 5, 4, 3), ([0, 1, 0, 0], [1, 2**31 - 2, -1, -1]), (1, 3, 4, 3)), "takes"),
    "an odd number of amounts": (one("MIRROR_PAD", (1, 4, 2), ([0, 0, 1, 2, 0],), (1, 7, 2), "MirrorPadOptions", Mode=0), "mirrors 5 amounts"),
}
"""Files that the fuzzer found, as small as they can be."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    made, words = REFUSED[name]
    data = made.file()
    tracemalloc.start()
    try:
        with at_most(lines=100_000), pytest.raises(CompileError, match=words):
            reader.load(data, "case", "case.tflite")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def transposed(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: int, bias: bool, extra: tuple[int, int] = (0, 0), act: int = 0
) -> tuple[bytes, tuple[int, ...]]:
    """A file of one transposed convolution from 3 to 5 channels, and the shape of its input."""
    rng, x = np.random.default_rng(3), (1, *size, 3)
    out = [d * s if padding == 0 else (d - 1) * s + k for d, s, k in zip(size, stride, kernel, strict=True)]
    y = (1, out[0] + extra[0], out[1] + extra[1], 5)
    weights = rng.integers(-127, 128, (5, *kernel, 3)).astype(np.int8)
    scales = tuple(float(s) for s in rng.uniform(0.002, 0.01, 5))
    tensors = [
        FileTensor((4,), "INT32", None, data=np.array(y, np.int32), name="size"),
        FileTensor(weights.shape, scale=scales, zero=(0,) * 5, data=weights, name="w"),
        FileTensor(x, zero=(7,), name="x"),
        FileTensor((5,), "INT32", tuple(0.05 * s for s in scales), (0,) * 5, data=rng.integers(-900, 900, 5).astype(np.int32), name="b"),
        FileTensor(y, scale=(0.09,), zero=(-20,), name="y"),
    ]
    fields = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "FusedActivationFunction": act}
    operator = FileOperator("TRANSPOSE_CONV", (0, 1, 2, 3) if bias else (0, 1, 2), (4,), "TransposeConvOptions", fields)
    return build(tensors, [operator], (2,), (4,)), x


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [0, 1], ids=["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((3, 3), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (2, 2)), ((3, 3), (1, 1)), ((1, 1), (2, 2)), ((5, 2), (3, 1)), ((2, 2), (3, 3))],
)
def test_transposed_convolutions(kernel: tuple[int, int], stride: tuple[int, int], padding: int, bias: bool) -> None:
    data, shape = transposed((4, 5), kernel, stride, padding, bias)
    x = np.random.default_rng(4).integers(-128, 128, shape).astype(np.int8)
    graph = verify(reader.load(data, "case", "case.tflite"))
    assert difference(interp.infer(graph, x)[0], run_tflm(data, [x])[0]) == ""


@pytest.mark.parametrize("act", [1, 3])
def test_a_transposed_convolution_clamps(act: int) -> None:
    data, shape = transposed((4, 5), (3, 3), (2, 2), 0, True, act=act)
    x = np.random.default_rng(4).integers(-128, 128, shape).astype(np.int8)
    graph = verify(reader.load(data, "case", "case.tflite"))
    assert difference(interp.infer(graph, x)[0], run_tflm(data, [x])[0]) == ""
