"""`kilotune quantize`: a float model and samples in, a fully quantised INT8 model out that `kt.load` reads.

.onnx files go through onnxruntime's static quantisation, .tflite files through ai-edge-quantizer. The settings are those that the compiler
needs: int8 activations with a zero point, symmetric int8 weights a channel, int32 biases.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError
from kiloc.ir import run

from .data import Dataset, Wanted
from .devices.errors import DeviceError
from .devices.manifest import Tensor
from .files import put_whole
from .model import Model, load

OLDEST_OPSET, OPSET = 13, 17
"""The first with scales a channel in QuantizeLinear, and what older files are converted to."""
Floats = NDArray[np.float32]
HELP = "change what it names in the model, or quantise it where it was trained: TFLiteConverter, or quantize_static(quant_format=QDQ)"
UNKNOWN_SCALE = math.nan
"""Of an input of a float model: images cannot tell from it how their pixels are scaled."""


@dataclass(frozen=True)
class Quantized:
    """A model that was quantised. accuracy: of the float file and of the int8 model on the samples; None where they have no labels."""

    model: Model
    samples: int
    accuracy_before: float | None
    accuracy_after: float | None


@dataclass(frozen=True)
class FloatModel:
    """A file that computes in float32. shapes: of its inputs, the batch axis first, which is 1."""

    path: Path
    shapes: tuple[tuple[int, ...], ...]
    classes: int

    def wanted(self) -> Wanted:
        """What samples must look like."""
        return Wanted(tuple(Tensor(shape, UNKNOWN_SCALE, 0) for shape in self.shapes), "labels", self.classes)


def open_float(path: str) -> FloatModel:
    """Shapes of a float model. CompileError where it is none, DeviceError where what reads it is not installed."""
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CompileError(path, f"cannot be read: {error.strerror}", "check the path") from None
    if file.suffix.lower() == ".onnx":
        return _open_onnx(file, content)
    if file.suffix.lower() == ".tflite":
        return _open_tflite(file, content)
    raise CompileError(path, "is neither a .tflite nor an .onnx file", "export the model in one of these formats")


def quantize(model: FloatModel, samples: Dataset, output: str, calibration: int = 200) -> Quantized:
    """Quantise by at most `calibration` of the samples, write the file whole, and load it as `kt.load` does."""
    arrays = _checked(model, samples)
    rows = np.unique(np.linspace(0, len(samples) - 1, min(calibration, len(samples))).round().astype(int))
    if Path(output).suffix.lower() != model.path.suffix.lower():
        raise CompileError(output, f"the model is a {model.path.suffix} file, and stays one", f"name the output with {model.path.suffix}")
    write, execute = (_quantize_onnx, _run_onnx) if model.path.suffix.lower() == ".onnx" else (_quantize_tflite, _run_tflite)
    chosen = [a[rows] for a in arrays]
    try:
        put_whole(Path(output), lambda temporary: write(model, chosen, temporary))
    except OSError as error:
        raise CompileError(output, f"cannot be written: {error.strerror}", "make room, or choose another place") from None
    made = load(output)
    if samples.y is None:
        return Quantized(made, len(rows), None, None)
    before = execute(model, arrays).reshape(len(samples), -1).argmax(axis=1)
    inputs = made.quantize_inputs([_reshaped(a, made, i) for i, a in enumerate(arrays)] if len(arrays) > 1 else _reshaped(arrays[0], made, 0))
    results = run(made.graph, dict(zip(made.graph.inputs, inputs, strict=True)))
    after = results[made.graph.outputs[0]].reshape(len(samples), -1).argmax(axis=1)
    return Quantized(made, len(rows), float((before == samples.y).mean()), float((after == samples.y).mean()))


def _reshaped(a: Floats, made: Model, number: int) -> Floats:
    return a.reshape(len(a), *made.graph.type(made.graph.inputs[number]).shape[1:])


def _checked(model: FloatModel, samples: Dataset) -> list[Floats]:
    """Samples as float32 in the model's shape."""
    given = samples.x if isinstance(samples.x, list) else [samples.x]
    if len(given) != len(model.shapes):
        raise DeviceError(samples.source, f"holds {len(given)} inputs, the model has {len(model.shapes)}", "numpy.savez(path, x0=..., x1=...)")
    for array, shape in zip(given, model.shapes, strict=True):
        if array.shape[1:] != shape[1:]:
            what = f"x has shape {list(array.shape)}, expected [N, {', '.join(map(str, shape[1:]))}]"
            raise DeviceError(samples.source, what, "bring the samples into the order of the model's axes")
        if array.dtype == np.int8 or not np.isfinite(array.astype(np.float32)).all():
            raise DeviceError(samples.source, "x is int8 or not finite: a float model takes real values", "pass float32 samples")
    return [np.asarray(a, np.float32) for a in given]


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _needs(module: str, where: Path) -> None:
    if importlib.util.find_spec(module) is None:
        raise DeviceError(str(where), f"{module} is not installed, which quantises {where.suffix} files", "pip install 'kilotune[quantize]'")


# ---- .onnx ----


def _open_onnx(file: Path, content: bytes) -> FloatModel:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    _needs("onnxruntime", file)
    try:
        proto = onnx.load_model_from_string(content)
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise CompileError(str(file), f"is no valid .onnx file: {_first_line(error)}", "export the model again") from None
    if any(n.op_type == "QuantizeLinear" for n in proto.graph.node):
        raise CompileError(str(file), "is quantised already: it has QuantizeLinear nodes", "build it as it is, or quantise the float model")
    constants = {i.name for i in proto.graph.initializer}
    shapes = [_onnx_shape(file, value) for value in proto.graph.input if value.name not in constants]
    classes = math.prod(_onnx_shape(file, onnx.shape_inference.infer_shapes(proto).graph.output[0]))
    return FloatModel(file, tuple(shapes), classes)


def _onnx_shape(file: Path, value: Any) -> tuple[int, ...]:
    kind = value.type.tensor_type
    if kind.elem_type != 1:
        raise CompileError(str(file), f"{value.name} is not FLOAT32", "export the model with float inputs and outputs")
    shape = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
    if shape:
        shape[0] = shape[0] or 1
    if not shape or min(shape) < 1:
        raise CompileError(str(file), f"the shape of {value.name} is open: {shape}", "export it with fixed sizes; the first axis may be open")
    if shape[0] != 1:
        raise CompileError(str(file), f"{value.name} has a batch of {shape[0]}", "export the model with a batch of one, or an open one")
    return tuple(shape)


def _quantize_onnx(model: FloatModel, arrays: list[Floats], output: Path) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One sample at a time, as the file takes them."""

        def __init__(self, names: list[str]) -> None:
            self.rows = iter([{n: a[i : i + 1] for n, a in zip(names, arrays, strict=True)} for i in range(len(arrays[0]))])

        def get_next(self) -> dict[str, Floats] | None:
            return next(self.rows, None)

    with tempfile.TemporaryDirectory() as scratch, _quiet():
        source, prepared = Path(scratch) / "source.onnx", Path(scratch) / "prepared.onnx"
        proto = onnx.load(str(model.path))
        if next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), OPSET) < OLDEST_OPSET:
            proto = onnx.version_converter.convert_version(proto, OPSET)
        _fix_batch(proto)
        onnx.save(proto, str(source))
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            constants = {i.name for i in proto.graph.initializer}
            quantize_static(
                str(prepared), str(output), Reader([v.name for v in proto.graph.input if v.name not in constants]), quant_format=QuantFormat.QDQ,
                per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
            )  # fmt: skip
        except OSError:
            raise
        except Exception as error:  # onnxruntime raises types of its own, and plain ones
            raise CompileError(str(model.path), f"onnxruntime does not quantise it: {_first_line(error)}", HELP) from None


def _fix_batch(proto: Any) -> None:
    """An open batch axis becomes 1."""
    for value in (*proto.graph.input, *proto.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1


def _run_onnx(model: FloatModel, arrays: list[Floats]) -> Floats:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    rows = [session.run(None, {n: a[i : i + 1] for n, a in zip(names, arrays, strict=True)})[0] for i in range(len(arrays[0]))]
    return np.concatenate([np.asarray(r) for r in rows])


# ---- .tflite ----


def _open_tflite(file: Path, content: bytes) -> FloatModel:
    _needs("ai_edge_litert", file)
    engine = _litert(file, content)
    inputs, outputs = engine.get_input_details(), engine.get_output_details()
    for detail in (*inputs, *outputs):
        if detail["dtype"] != np.float32:
            raise CompileError(str(file), f"{detail['name']} is {np.dtype(detail['dtype']).name}: it is quantised already", "pass the float model")
    if any(d["dtype"] == np.int8 and d["quantization_parameters"]["scales"].size for d in engine.get_tensor_details()):
        raise CompileError(str(file), "holds int8 tensors: it is quantised already, at least in part", "pass the float model")
    shapes = tuple(tuple(int(n) for n in d["shape"]) for d in inputs)
    return FloatModel(file, shapes, int(np.prod(outputs[0]["shape"])))


def _litert(file: Path, content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        with _quiet():
            engine = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
            engine.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise CompileError(str(file), f"is no valid .tflite file: {_first_line(error)}", "export the model again") from None
    return engine


def _quantize_tflite(model: FloatModel, arrays: list[Floats], output: Path) -> None:
    _needs("ai_edge_quantizer", model.path)
    with _quiet():
        from ai_edge_quantizer import quantizer, recipe

        engine = _litert(model.path, model.path.read_bytes())
        signatures = engine.get_signature_list()
        key = next(iter(signatures), None)
        if key is None:
            hint = "export it again by tf.lite.TFLiteConverter.from_saved_model or from_keras_model, which write one"
            raise CompileError(str(model.path), "has no signature, which ai-edge-quantizer needs", hint)
        names = signatures[key]["inputs"]
        rows = [{n: a[i : i + 1] for n, a in zip(names, arrays, strict=True)} for i in range(len(arrays[0]))]
        try:
            work = quantizer.Quantizer(str(model.path), recipe.static_wi8_ai8())
            found = work.quantize(work.calibrate({key: rows}, num_threads=1))
        except Exception as error:  # the quantizer raises plain types
            raise CompileError(str(model.path), f"ai-edge-quantizer does not quantise it: {_first_line(error)}", HELP) from None
        output.write_bytes(bytes(found.quantized_model))


def _run_tflite(model: FloatModel, arrays: list[Floats]) -> Floats:
    engine = _litert(model.path, model.path.read_bytes())
    rows = []
    for i in range(len(arrays[0])):
        for detail, a in zip(engine.get_input_details(), arrays, strict=True):
            engine.set_tensor(detail["index"], a[i : i + 1])
        engine.invoke()
        rows.append(engine.get_tensor(engine.get_output_details()[0]["index"]).copy())
    return np.concatenate(rows)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the quantisers log: what went wrong is in their exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
