"""Damage to ONNX files: to the messages, by what protobuf says of their fields, and to the bytes that hold them."""

from __future__ import annotations

import random
import struct
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import TensorProto

INTEGERS = (-(2**63), -(2**31), -129, -2, -1, 0, 1, 2, 3, 4, 7, 16, 127, 128, 255, 1000, 65536, 2**22, 2**31 - 1, 2**40, 2**63 - 1)
REALS = (float("nan"), float("inf"), float("-inf"), -1.0, -0.0, 0.0, 1e-45, 1e-39, 1.2e-38, 1e-6, 0.5, 2.0, 1e20, 3e38)
OPERATORS = (
    "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose",
    "DequantizeLinear", "Div", "Dropout", "DynamicQuantizeLinear", "Expand", "Flatten", "GRU", "Gather", "Gemm", "GlobalAveragePool",
    "HardSigmoid", "HardSwish", "Identity", "If", "LSTM", "LayerNormalization", "LeakyRelu", "Loop", "MatMul", "Max", "MaxPool", "Min", "Mul",
    "Pad", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
    "QLinearMatMul", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax", "QuantizeLinear", "Range", "ReduceMax", "ReduceMean", "ReduceProd",
    "Relu", "Reshape", "Resize", "Scan", "Shape", "Sigmoid", "Size", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Tanh", "Transpose",
    "Unsqueeze", "Where",
)  # fmt: skip
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "nowhere")
ATTRIBUTES = (
    "allowzero", "alpha", "auto_pad", "axes", "axis", "block_size", "ceil_mode", "count_include_pad", "dilations", "group", "keepdims",
    "channels_last", "end", "epsilon", "kernel_shape", "mode", "opset", "pads", "perm", "shape", "split", "start", "strides", "to", "training_mode",
    "transA", "transB", "value", "value_int", "value_ints", "value_float",
)  # fmt: skip
PLACES = ("importers.py", "weights.bin", "../conftest.py", "../../secret", "/etc/passwd", "/dev/zero", ".", "\0", "x" * 5000)
NAMES = ("", "nowhere", "a/b;c", "*\\\n/", "\u202e", "x" * 5000)


def mutated(data: bytes, r: random.Random) -> bytes:
    """One to three changes to the messages, or to the bytes."""
    if r.random() < 0.15:
        return _damaged(data, r)
    proto = onnx.load_model_from_string(data)
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        _change(proto, r)
    return bytes(proto.SerializeToString())


def _change(proto: onnx.ModelProto, r: random.Random) -> None:
    graph, kind = proto.graph, r.randrange(8)
    node = r.choice(graph.node) if graph.node else None
    if kind == 0 and node is not None:
        node.op_type = r.choice(OPERATORS)
        node.domain = r.choice(DOMAINS) if r.random() < 0.3 else "com.microsoft" if node.op_type.startswith(("QLinear", "QGemm")) else ""
    elif kind == 1 and node is not None:
        value = r.choice((r.choice(INTEGERS), r.choice(REALS), "SAME_UPPER", [r.choice(INTEGERS) for _ in range(r.randrange(1, 6))]))
        node.attribute.append(onnx.helper.make_attribute(r.choice(ATTRIBUTES), value))
    elif kind == 2 and node is not None and node.input:
        names = [n for other in graph.node for n in (*other.input, *other.output)]
        node.input[r.randrange(len(node.input))] = r.choice((r.choice(names), r.choice(NAMES)))
    elif kind == 3 and graph.initializer:
        tensor = r.choice(graph.initializer)
        _damage_tensor(tensor, r)
    elif kind == 4 and graph.input:
        dims = r.choice(graph.input).type.tensor_type.shape.dim
        if dims:
            r.choice(dims).dim_value = r.choice(INTEGERS)
    else:
        _change_field(_some_message(proto, r), r, proto)


def _damage_tensor(tensor: TensorProto, r: random.Random) -> None:
    kind = r.randrange(8)
    if kind == 0:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=r.choice(PLACES))
        for key in ("offset", "length"):
            if r.random() < 0.7:
                tensor.external_data.add(key=key, value=r.choice((*map(str, INTEGERS), "", "x", "1e9", str(len(tensor.raw_data)))))
    elif kind > 5 and tensor.raw_data:
        _overwrite(tensor, r)
    elif kind == 1:
        tensor.raw_data = tensor.raw_data[: r.randrange(len(tensor.raw_data) + 1)]
    elif kind == 2:
        tensor.dims.append(r.choice(INTEGERS))
    elif kind == 3 and tensor.dims:
        tensor.dims[r.randrange(len(tensor.dims))] = r.choice(INTEGERS)
    elif kind == 4:
        tensor.data_type = r.randrange(30)
    else:
        tensor.ClearField("raw_data")
        tensor.int32_data.extend(r.choice((-(2**31), -129, -1, 0, 1, 128, 255, 2**31 - 1)) for _ in range(r.randrange(9)))


def _overwrite(tensor: TensorProto, r: random.Random) -> None:
    """Values: scales, zero points, dims and axes among them."""
    size, code = {TensorProto.FLOAT: (4, "f"), TensorProto.INT64: (8, "q"), TensorProto.INT32: (4, "i")}.get(tensor.data_type, (1, "B"))
    data = bytearray(tensor.raw_data)
    for _ in range(r.choice((1, 1, 3))):
        at = r.randrange(max(len(data) // size, 1)) * size
        limit = 1 << (8 * size - 1)
        value = r.choice(REALS) if code == "f" else r.choice([i for i in INTEGERS if -limit <= i < limit]) if size > 1 else r.randrange(256)
        data[at : at + size] = struct.pack(f"<{code}", value)
    tensor.raw_data = bytes(data)


def _some_message(proto: Message, r: random.Random) -> Message:
    """A walk down from the model, which ends anywhere."""
    found = proto
    while True:
        inner: list[Message] = []
        for field, value in found.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                inner.append(r.choice(value) if _repeated(found, field) else value)
        if not inner or (found is not proto and r.random() < 0.3):
            return found
        found = r.choice(inner)


def _repeated(message: Message, field: FieldDescriptor) -> bool:
    return hasattr(getattr(message, field.name), "extend")


def _change_field(message: Message, r: random.Random, proto: onnx.ModelProto) -> None:
    field = r.choice(message.DESCRIPTOR.fields)
    repeated, kind = _repeated(message, field), r.random()
    if field.type == FieldDescriptor.TYPE_MESSAGE or kind < 0.2:
        if repeated and len(getattr(message, field.name)):
            _rearrange(getattr(message, field.name), r)
        else:
            message.ClearField(field.name)
        return
    value = _value(field, r, proto)
    try:
        if not repeated:
            setattr(message, field.name, value)
        elif len(getattr(message, field.name)) and kind < 0.7:
            values = getattr(message, field.name)
            values[r.randrange(len(values))] = value
        else:
            getattr(message, field.name).append(value)
    except ValueError:  # an enumeration or a range that protobuf itself checks
        message.ClearField(field.name)


def _rearrange(values: Any, r: random.Random) -> None:
    """An element taken out, doubled or moved to the end."""
    element, kind = values[r.randrange(len(values))], r.randrange(3)
    if kind != 2:
        values.append(element)
    if kind != 1:
        values.remove(element)


def _value(field: FieldDescriptor, r: random.Random, proto: onnx.ModelProto) -> Any:
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return r.choice(REALS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return r.choice((*NAMES, *(n for node in list(proto.graph.node)[:50] for n in node.output)))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return r.randbytes(r.randrange(40))
    if field.type == FieldDescriptor.TYPE_INT32 or field.type == FieldDescriptor.TYPE_ENUM:
        return r.choice([i for i in INTEGERS if abs(i) < 2**31])
    return abs(r.choice(INTEGERS)) if field.type == FieldDescriptor.TYPE_UINT64 else r.choice(INTEGERS)


def _damaged(data: bytes, r: random.Random) -> bytes:
    changed = bytearray(data)
    at, run, kind = r.randrange(len(changed)), r.choice((1, 2, 4, 9)), r.randrange(4)
    if kind == 0:
        for i in range(at, min(at + run, len(changed))):
            changed[i] = r.randrange(256)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        del changed[at : at + run]
    else:
        changed[at:at] = r.randbytes(run)
    return bytes(changed)
