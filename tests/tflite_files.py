"""Models in the format of TensorFlow Lite, made tensor by tensor: what exporters write, and what none would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite


@dataclass
class FileTensor:
    """A tensor of a file that no well-behaved writer would write."""

    shape: tuple[int, ...]
    type: str = "INT8"
    scale: tuple[float, ...] | None = (0.05,)
    zero: tuple[int, ...] = (0,)
    axis: int = 0
    data: np.ndarray | None = None
    name: str = "t"
    signature: tuple[int, ...] | None = None


@dataclass
class FileOperator:
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    custom: str = ""


def build(tensors: list[FileTensor], operators: list[FileOperator], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bytes:
    """A flatbuffer of exactly these tensors and operators, however senseless."""
    b = flatbuffers.Builder(512)

    def table(kind: str, fields: dict[str, Any]) -> int:
        getattr(tflite, f"{kind}Start")(b)
        for name, value in fields.items():
            getattr(tflite, f"{kind}Add{name}")(b, value)
        return int(getattr(tflite, f"{kind}End")(b))

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def ints(values: tuple[int, ...]) -> int:
        return int(b.CreateNumpyVector(np.array(values, np.int32)))

    constants = [t for t in tensors if t.data is not None]
    buffers = [table("Buffer", {})]
    buffers += [table("Buffer", {"Data": b.CreateNumpyVector(np.frombuffer(t.data.tobytes(), np.uint8))}) for t in constants if t.data is not None]
    written = []
    for t in tensors:
        number = 0 if t.data is None else 1 + next(i for i, c in enumerate(constants) if c is t)
        fields = {"Shape": ints(t.shape), "Type": getattr(tflite.TensorType, t.type), "Buffer": number, "Name": b.CreateString(t.name)}
        if t.signature is not None:
            fields["ShapeSignature"] = ints(t.signature)
        if t.scale is not None:
            quantization = {
                "Scale": b.CreateNumpyVector(np.array(t.scale, np.float32)),
                "ZeroPoint": b.CreateNumpyVector(np.array(t.zero, np.int64)),
                "QuantizedDimension": t.axis,
            }
            fields["Quantization"] = table("QuantizationParameters", quantization)
        written.append(table("Tensor", fields))
    calls, codes = [], []
    for number, op in enumerate(operators):
        fields = {"OpcodeIndex": number, "Inputs": ints(op.inputs), "Outputs": ints(op.outputs)}
        if op.table:
            fields |= {"BuiltinOptionsType": getattr(tflite.BuiltinOptions, op.table), "BuiltinOptions": table(op.table, op.fields)}
        calls.append(table("Operator", fields))
        code = getattr(tflite.BuiltinOperator, op.kind)
        custom = {"CustomCode": b.CreateString(op.custom)} if op.custom else {}
        codes.append(table("OperatorCode", {"DeprecatedBuiltinCode": min(code, 127), "BuiltinCode": code, **custom}))
    subgraph = {"Tensors": vector(written), "Inputs": ints(inputs), "Outputs": ints(outputs), "Operators": vector(calls)}
    model = {"Version": 3, "OperatorCodes": vector(codes), "Subgraphs": vector([table("SubGraph", subgraph)]), "Buffers": vector(buffers)}
    b.Finish(table("Model", model), file_identifier=b"TFL3")
    return bytes(b.Output())


def dense(**changes: Any) -> bytes:
    """A fully connected layer 4 -> 3. `changes` replaces tensors by name: x, w, bias, y; or inputs of the operator."""
    rng = np.random.default_rng(0)
    w, bias = rng.integers(-127, 128, (3, 4)).astype(np.int8), rng.integers(-99, 99, 3).astype(np.int32)
    tensors = {
        "x": FileTensor((1, 4), name="x"),
        "w": FileTensor((3, 4), scale=(0.01,), data=w, name="model/head/MatMul"),
        "bias": FileTensor((3,), "INT32", (0.0005,), data=bias, name="b"),
        "y": FileTensor((1, 3), zero=(5,), name="y"),
    }
    inputs = changes.pop("inputs", (0, 1, 2))
    for name, fields in changes.items():
        tensors[name] = FileTensor(**{**vars(tensors[name]), **fields})
    operator = FileOperator("FULLY_CONNECTED", inputs, (3,), "FullyConnectedOptions")
    return build(list(tensors.values()), [operator], (0,), (3,))


# -- models with ends of other types ------------------------------------------------------------------
IMAGE, HIDDEN, LOGIT = 0.00392157, 0.05, 0.1


def layer_tensors(rng: np.random.Generator, rows: int, depth: int, name: str) -> list[FileTensor]:
    """Weights and bias of a fully connected layer."""
    w, bias = rng.integers(-127, 128, (rows, depth)).astype(np.int8), rng.integers(-99, 99, rows).astype(np.int32)
    return [FileTensor((rows, depth), scale=(0.01,), data=w, name=f"{name}/MatMul"), FileTensor((rows,), "INT32", None, data=bias, name=f"{name}/b")]


def classifier(source: FileTensor, result: FileTensor, seed: int = 0, bare: bool = False, wide: bool = False) -> bytes:
    """QUANTIZE, two layers 6 -> 5 -> 3, softmax, QUANTIZE: with UINT8 ends what TFLiteConverter writes for inference_input_type = tf.uint8.

    bare: without both QUANTIZE. wide: the softmax gives INT16.
    """
    rng = np.random.default_rng(seed)
    x, y = FileTensor((1, 6), scale=(IMAGE,), zero=(-128,), name="x"), FileTensor((1, 3), scale=(1 / 256,), zero=(-128,), name="y")
    if wide:
        y = FileTensor((1, 3), "INT16", (1 / 65536,), (-(2**15),), name="y")
    inner = [FileTensor((1, 5), scale=(HIDDEN,), zero=(-128,), name="h"), FileTensor((1, 3), scale=(LOGIT,), zero=(3,), name="l")]
    tensors = [source, x, *layer_tensors(rng, 5, 6, "m/first"), inner[0], *layer_tensors(rng, 3, 5, "m/head"), inner[1], y, result]
    operators = [
        FileOperator("QUANTIZE", (0,), (1,)),
        FileOperator("FULLY_CONNECTED", (1, 2, 3), (4,), "FullyConnectedOptions", {"FusedActivationFunction": 1}),
        FileOperator("FULLY_CONNECTED", (4, 5, 6), (7,), "FullyConnectedOptions"),
        FileOperator("SOFTMAX", (7,), (8,), "SoftmaxOptions", {"Beta": 1.0}),
        FileOperator("QUANTIZE", (8,), (9,)),
    ]
    return build(tensors, operators[1:-1], (1,), (8,)) if bare else build(tensors, operators, (0,), (9,))


def uint8_classifier() -> bytes:
    source = FileTensor((1, 6), "UINT8", (IMAGE,), (0,), name="image")
    return classifier(source, FileTensor((1, 3), "UINT8", (1 / 256,), (0,), name="classes"))


def many_ends() -> bytes:
    """Inputs of three types, outputs of four; one output is also an operand, one is another's bytes under a shape of its own."""
    rng = np.random.default_rng(7)
    wide = FileTensor((1, 5), "INT16", (0.001,), (0,), name="wide")
    tensors = [
        FileTensor((1, 3), "UINT8", (0.02,), (100,), name="bytes"),
        wide,
        FileTensor((1, 2, 2), name="plain"),
        FileTensor((1, 3), zero=(4,), scale=(0.03,), name="b"),
        FileTensor((1, 5), zero=(-9,), scale=(0.2,), name="w"),
        *layer_tensors(rng, 5, 3, "m/first"),
        FileTensor((1, 5), scale=(HIDDEN,), zero=(1,), name="h"),
        FileTensor((1, 5), scale=(0.1,), zero=(-3,), name="sum"),
        FileTensor((1, 5, 1), scale=(0.1,), zero=(-3,), name="shaped"),
        FileTensor((1, 5), "INT32", (0.0001,), (0,), name="long"),
        FileTensor((1, 5), "UINT8", (0.07,), (30,), name="short"),
        FileTensor((1, 4), name="flat"),
        *layer_tensors(rng, 3, 4, "m/second"),
        FileTensor((1, 3), scale=(HIDDEN,), zero=(8,), name="other"),
        FileTensor((1, 3), "INT16", (0.002,), (0,), name="sixteen"),
    ]
    operators = [
        FileOperator("QUANTIZE", (0,), (3,)),
        FileOperator("QUANTIZE", (1,), (4,)),
        FileOperator("FULLY_CONNECTED", (3, 5, 6), (7,), "FullyConnectedOptions"),
        FileOperator("ADD", (7, 4), (8,), "AddOptions"),
        FileOperator("RESHAPE", (8,), (9,)),
        FileOperator("QUANTIZE", (8,), (10,)),
        FileOperator("QUANTIZE", (7,), (11,)),
        FileOperator("RESHAPE", (2,), (12,)),
        FileOperator("FULLY_CONNECTED", (12, 13, 14), (15,), "FullyConnectedOptions"),
        FileOperator("QUANTIZE", (15,), (16,)),
    ]
    return build(tensors, operators, (0, 1, 2), (7, 9, 10, 11, 16))


def whole(*values: int, shape: tuple[int, ...] | None = None) -> FileTensor:
    """A constant of whole numbers."""
    data = np.array(values, np.int32).reshape(len(values) if shape is None else shape)
    return FileTensor(data.shape, "INT32", None, data=data, name="constant")


def computed_shape(batch: int = 1, result: tuple[int, ...] = (1, 12)) -> bytes:
    """Flatten as TensorFlow exports it: RESHAPE to PACK of the STRIDED_SLICE of SHAPE and a constant."""
    rng = np.random.default_rng(2)
    slice_options = {"BeginMask": 0, "EndMask": 0, "EllipsisMask": 0, "NewAxisMask": 0, "ShrinkAxisMask": 1}
    tensors = [
        FileTensor((batch, 2, 3, 2), name="x"),
        FileTensor((4,), "INT32", None, name="shape"),
        whole(0),
        whole(1),
        whole(1),
        FileTensor((), "INT32", None, name="batch"),
        whole(12, shape=()),
        FileTensor((2,), "INT32", None, name="flat_shape"),
        FileTensor(result, name="flat"),
        *layer_tensors(rng, 3, 12, "m/head"),
        FileTensor((batch, 3), scale=(0.1,), name="y"),
    ]
    operators = [
        FileOperator("SHAPE", (0,), (1,), "ShapeOptions", {"OutType": 2}),
        FileOperator("STRIDED_SLICE", (1, 2, 3, 4), (5,), "StridedSliceOptions", slice_options),
        FileOperator("PACK", (5, 6), (7,), "PackOptions", {"ValuesCount": 2, "Axis": 0}),
        FileOperator("RESHAPE", (0, 7), (8,)),
        FileOperator("FULLY_CONNECTED", (8, 9, 10), (11,), "FullyConnectedOptions"),
    ]
    return build(tensors, operators, (0,), (11,))
