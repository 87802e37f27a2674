"""Every C kernel against the NumPy meaning of its operator, bit for bit.

The C is driven through the operator's own `kernel_call`, so that the names and types of parameters, the order of
arguments and the size of the scratch are checked as well. Buffers are surrounded by guard bytes.
KT_TEST_CFLAGS adds compiler flags (sanitizers, for example).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest

from kiloc import numerics as nm
from kiloc.ir.types import Quantization, TensorType, activation, gradient, scalar
from kiloc.ops import Environment, Names, NodeTypes, Op
from kiloc.ops._window import Window, same_padding
from kiloc.ops.add import Add
from kiloc.ops.average_pool_2d import AveragePool2D, AveragePoolGradient, window_counts
from kiloc.ops.conv_2d import Conv2D
from kiloc.ops.depthwise_conv_2d import DepthwiseConv2D, DepthwiseInputGradient, depthwise_prescale_shift
from kiloc.ops.fully_connected import FullyConnected
from kiloc.ops.gradient_mask import ApplyMask, MaskGradient, SaveMask
from kiloc.ops.gradient_sum import GradientSum
from kiloc.ops.input_gradient import LinearInputGradient, prescale_shift
from kiloc.ops.kernel import Argument, Scratch, Table
from kiloc.ops.lora import AdaptRange, LoRADown, LoRAInnerGradient
from kiloc.ops.loss import MeanSquaredError, SoftmaxCrossEntropy
from kiloc.ops.max_pool_2d import MaxPool2D, MaxPoolGradient
from kiloc.ops.mean import Mean, MeanGradient
from kiloc.ops.optimizer import SGD, StepBlock16, StepInt32
from kiloc.ops.pad import Pad, PadGradient
from kiloc.ops.parameter_gradient import BiasGradient, WeightGradient
from kiloc.ops.requantize import Requantize
from kiloc.ops.softmax import Softmax, SoftmaxGradient
from kiloc.ops.transpose import Transpose

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
FOLDERS = ("kernels", "loss", "optim")
HEADERS = ("kernels.h", "loss.h", "optim.h")
FLAGS = "-std=c99 -O2 -Wall -Wextra -Wconversion -Werror -pedantic -ffp-contract=off -fPIC".split()
GUARD = 64
CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}

Rng = np.random.Generator
Array = np.ndarray[Any, Any]

PRIMITIVES = """
void run_high_multiply(int32_t n, const int32_t *a, const int32_t *b, int32_t *y);
void run_divide_by_power(int32_t n, const int32_t *a, const int32_t *b, int32_t *y);
void run_requantize(int32_t n, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *y);
void run_requantize_once(int32_t n, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *y);
void run_shift_round(int32_t n, const int32_t *a, const int32_t *b, int32_t *y);
void run_saturate8(int32_t n, const int32_t *a, int32_t *y);
void run_bit_length(int32_t n, const int32_t *a, int32_t *y);
void run_power_of_two(int32_t n, const int32_t *a, float *y);
void run_exponent_for(int32_t n, const float *a, float limit, int32_t lowest, int32_t *y);
void run_round_half_up(int32_t n, const float *a, int32_t *y);
void run_exp(int32_t n, const float *a, float *y);
void run_log(int32_t n, const float *a, float *y);
void run_sqrt(int32_t n, const float *a, float *y);
"""


def primitives_source() -> str:
    """A translation unit that applies each primitive of kt/numerics.h to arrays."""
    text = '#include "kt/numerics.h"\n'
    for line in PRIMITIVES.strip().splitlines():
        name = re.findall(r"run_(\w+)\(", line)[0]
        arguments = re.findall(r"(?:(\*)|float |int32_t )([a-z]+)(?=[,)])", line)[1:-1]
        actual = ", ".join(a + ("[i]" if pointer else "") for pointer, a in arguments)
        actual = f"kt_magnitude({actual})" if name == "bit_length" else actual
        prototype = line.rstrip(";")
        text += f"{prototype};\n{prototype} {{ int32_t i; for (i = 0; i < n; i++) {{ y[i] = kt_{name}({actual}); }} }}\n"
    return text


def declarations() -> str:
    """The headers' structs and prototypes, as cffi reads them."""
    text = ""
    for header in HEADERS:
        text += (RUNTIME / "include" / "kt" / header).read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.S)
    return re.sub(r"^#.*$", "", text, flags=re.M)


@dataclass
class Library:
    ffi: cffi.FFI
    lib: Any

    def pointer(self, array: Array, ctype: str | None = None) -> Any:
        return self.ffi.cast(f"{ctype or CTYPES[array.dtype.name]} *", array.ctypes.data)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("kernels")
    helper = folder / "primitives.c"
    helper.write_text(primitives_source())
    flags = [*FLAGS, f"-I{RUNTIME / 'include'}", *shlex.split(os.environ.get("KT_TEST_CFLAGS", ""))]
    sources = [helper, *(s for f in FOLDERS for s in sorted((RUNTIME / "src" / f).glob("*.c")))]
    running = []
    for i in (0, 1):  # two compilers at once
        part = folder / str(i)
        part.mkdir()
        running.append(subprocess.Popen(["gcc", *flags, "-c", *map(str, sources[i::2])], cwd=part))
    assert [r.wait() for r in running] == [0, 0]
    shared = folder / "kernels.so"
    subprocess.run(["gcc", *flags, "-shared", *map(str, folder.glob("*/*.o")), "-o", str(shared)], check=True)
    ffi = cffi.FFI()
    ffi.cdef(declarations() + PRIMITIVES)
    return Library(ffi, ffi.dlopen(str(shared)))


# -- driving the C through kernel_call --------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One node: its operator, the types and arrays of its operands, and the types of its results."""

    op: Op
    types: Mapping[str, TensorType]
    arrays: Mapping[str, Array]
    results: tuple[TensorType, ...] = ()

    def node_types(self) -> NodeTypes:
        return NodeTypes(self.types, self.result_types())

    def result_types(self) -> tuple[TensorType, ...]:
        inferred = self.op.infer(NodeTypes(self.types, self.results))
        return self.results if inferred is None else inferred

    def expected(self) -> dict[str, Array]:
        e = Environment(self.types, self.result_types(), self.arrays)
        with np.errstate(divide="ignore", over="ignore"):
            results = self.op.evaluate(e)
            return {**{f"result {i}": r for i, r in enumerate(results)}, **self.op.evaluate_update(e)}


@dataclass
class Guarded:
    """An array between guard bytes."""

    whole: Array
    array: Array

    @staticmethod
    def of(size: int, dtype: str) -> Guarded:
        count = size * np.dtype(dtype).itemsize
        whole = np.full(count + 2 * GUARD, 0xA5, np.uint8)
        return Guarded(whole, whole[GUARD : GUARD + count].view(dtype))

    def check(self, name: str) -> None:
        assert (self.whole[:GUARD] == 0xA5).all() and (self.whole[self.whole.size - GUARD :] == 0xA5).all(), f"write outside {name}"


@dataclass
class Run:
    """Buffers of one call, and what must outlive it."""

    library: Library
    case: Case
    in_place: bool
    buffers: dict[str, Guarded] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, array in self.case.arrays.items():
            assert array.dtype.name == self.case.types[name].dtype and array.size == self.case.types[name].size, name
            self.buffers[name] = Guarded.of(array.size, array.dtype.name)
            self.buffers[name].array[:] = array.ravel()
        for i, t in enumerate(self.case.result_types()):
            shared = self.case.op.in_place if self.in_place and i == 0 else None
            self.buffers[f"result {i}"] = self.buffers[shared] if shared else Guarded.of(t.size, t.dtype)

    def pointer(self, value: str, expected: Any) -> Any:
        array = self.buffers[value].array
        item = expected.item.cname
        assert item == CTYPES[array.dtype.name], f"{value} is {array.dtype}, the C takes {item}"
        return self.library.pointer(array)

    def fill(self, struct: Any, fields: Mapping[str, Any]) -> None:
        members = dict(self.library.ffi.typeof(struct).item.fields)
        for name, value in fields.items():
            ctype = members[name].type
            if isinstance(value, Mapping):
                self.fill(self.library.ffi.addressof(struct, name), value)
            elif isinstance(value, Argument):
                setattr(struct, name, self.pointer(value.value, ctype))
            elif isinstance(value, Table):
                assert ctype.item.cname == value.ctype == CTYPES[value.data.dtype.name], name
                self.kept.append(np.ascontiguousarray(value.data))
                setattr(struct, name, self.library.pointer(self.kept[-1]))
            else:
                if isinstance(value, tuple):
                    assert len(value) == ctype.length, f"{name} has {ctype.length} entries, given {len(value)}"
                setattr(struct, name, value)

    def call(self) -> dict[str, Array]:
        ffi, op, types = self.library.ffi, self.case.op, self.case.node_types()
        names = Names({o: o for o in self.case.types}, tuple(f"result {i}" for i in range(len(types.results))))
        call = op.kernel_call(types, names)
        assert call is not None and (RUNTIME / "src" / call.file).is_file()
        function = getattr(self.library.lib, call.symbol)
        formal = ffi.typeof(function).args
        actual = []
        if call.struct:
            assert formal[0].item.cname == call.struct
            struct = ffi.new(f"{call.struct} *")
            self.fill(struct, call.fields)
            actual.append(struct)
        for argument in call.arguments:
            expected = formal[len(actual)]
            if isinstance(argument, Scratch):
                self.buffers["scratch"] = Guarded.of(call.scratch, "uint8")
                actual.append(ffi.cast("void *", self.buffers["scratch"].array.ctypes.data))
            else:
                actual.append(ffi.NULL if argument == "NULL" else self.pointer(argument.value, expected))  # type: ignore[union-attr]
        assert len(actual) == len(formal)
        function(*actual)
        for name, buffer in self.buffers.items():
            buffer.check(name)
        return {name: buffer.array for name, buffer in self.buffers.items()}


def assert_equal(found: Array, expected: Array, what: str) -> None:
    expected = np.ascontiguousarray(expected).ravel()
    assert found.dtype == expected.dtype, what
    if found.dtype == np.float32:
        found, expected = found.view(np.int32), expected.view(np.int32)
    np.testing.assert_array_equal(found, expected, what)


def check(library: Library, case: Case) -> None:
    expected = case.expected()
    for in_place in (False, True) if case.op.in_place else (False,):
        found = Run(library, case, in_place).call()
        for name, array in expected.items():
            assert_equal(found[name], array, f"{name}, in place: {in_place}")
        for name, array in case.arrays.items():
            if name not in expected and not (in_place and name == case.op.in_place):
                assert_equal(found[name], array, f"{name} is only read")


# -- generated cases --------------------------------------------------------------------------------------


def int8(r: Rng, *shape: int, low: int = -128) -> Array:
    """Mostly uniform, sometimes only extremes or mostly zeros."""
    kind = r.integers(5)
    values = r.integers(low, 128, shape)
    if kind == 0:
        values = r.choice([low, 127], shape)
    if kind == 1:
        values = values * (r.random(shape) < 0.2)
    return values.astype(np.int8)


def codes(r: Rng, *shape: int) -> Array:
    return int8(r, *shape, low=-127)


def coarser(values: Array, step: int) -> Array:
    """Fewer different values, so that there are ties and small sums."""
    return (values.astype(np.int32) // step).astype(np.int8)


def one(value: int, dtype: str = "int8") -> Array:
    return np.array([value], dtype)


def scale(r: Rng, low: float = -9, high: float = 0) -> float:
    return float(np.float32(2.0 ** r.uniform(low, high)))


def zero_point(r: Rng) -> int:
    return int(r.choice([-128, -128, 127, 0, int(r.integers(-128, 128))]))


def pick(r: Rng, *values: Any) -> Any:
    return values[int(r.integers(len(values)))]


def window_and_size(r: Rng, empty: bool = True) -> tuple[Window, int, int]:
    """A window with its input's height and width; `empty` allows windows that lie in the border."""
    while True:
        size = (int(r.integers(1, 9)), int(r.integers(1, 9)))
        kernel = (int(r.integers(1, 5)), int(r.integers(1, 5))) if r.random() < 0.8 else (1, 1)
        stride = (int(r.integers(1, 4)), int(r.integers(1, 4))) if r.random() < 0.6 else (1, 1)
        dilation = (int(r.integers(1, 4)), int(r.integers(1, 4))) if r.random() < 0.3 else (1, 1)
        pad = (0, 0, 0, 0)
        if r.random() < 0.5:
            (t, b), (left, right) = (same_padding(size[a], kernel[a], stride[a], dilation[a]) for a in (0, 1))
            pad = (t, left, b, right)
        elif r.random() < 0.5:
            pad = tuple(int(p) for p in r.integers(0, 5, 4))  # type: ignore[assignment]
        window = Window(kernel, stride, pad, dilation)
        if min(window.output(*size)) < 1 or (not empty and window_counts(window, *size).min() == 0):
            continue
        return window, *size


def channel_scales(r: Rng, channels: int) -> Quantization:
    if r.random() < 0.2:
        return Quantization((scale(r),), 0)
    scales = [scale(r, -12, -4) for _ in range(channels)]
    if r.random() < 0.2:
        scales[0] = 1e-9
    return Quantization(tuple(float(np.float32(s)) for s in scales), 0, 0)


def bias(r: Rng, channels: int) -> Array:
    return r.integers(-(2**14), 2**14, channels).astype(np.int32) if r.random() < 0.8 else r.choice([-(2**30), 2**30], channels).astype(np.int32)


def result_scale(r: Rng, x: TensorType, weights: TensorType, depth: int) -> float:
    """So that results spread over int8; sometimes far off, so that shifts saturate."""
    product = x.scale * float(np.median(weights.channel_scales)) * max(depth, 1) ** 0.5 * 100
    return float(np.float32(product * pick(r, 1.0, 0.3, 5.0, 1e-4, 1e6)))


def linear(r: Rng, kind: str) -> Case:
    fully = kind == "once" or r.random() < 0.4
    ci, co, rank = int(r.integers(1, 12)), int(r.integers(1, 11)) if kind != "once" else 100, pick(r, 1, 4, 3)
    activation_name = pick(r, "none", "relu", "relu6", "relu_n1_to_1")
    rounding = "once" if kind == "once" else "twice"
    factor = float(r.uniform(0.1, 8))
    op: Op
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    if fully:
        rows = int(r.integers(1, 5)) if kind != "once" else 20
        x_shape, w_shape, y_shape = (1, rows, ci * 9), (co, ci * 9), (1, rows, co)
        op, positions = FullyConnected(activation_name, rounding, factor), rows
    else:
        window, h, w = window_and_size(r)
        out = window.output(h, w)
        x_shape, w_shape, y_shape = (1, h, w, ci), (co, *window.kernel, ci), (1, *out, co)
        op, positions = Conv2D(activation_name, rounding, factor, window), out[0] * out[1]
    x = activation(x_shape, scale(r), zero_point(r))
    weights = TensorType(w_shape, "int8", channel_scales(r, co))
    depth = int(np.prod(w_shape[1:]))
    y = activation(y_shape, result_scale(r, x, weights, depth), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x_shape), "weights": int8(r, *w_shape), "bias": bias(r, co)}
    exponent = int(r.integers(-20, 4)) if r.random() < 0.8 else int(r.integers(-90, 90))
    if kind == "lora":
        types |= {"lora_u": TensorType((1, positions, rank), "int8"), "lora_b": TensorType((co, rank), "int8")}
        types |= {"lora_range": scalar("int8"), "lora_b_exponent": scalar("int8")}
        arrays |= {"lora_u": codes(r, 1, positions, rank), "lora_b": codes(r, co, rank)}
        arrays |= {"lora_range": one(int(r.integers(0, 12))), "lora_b_exponent": one(exponent)}
    if kind == "delta":
        types |= {"delta": TensorType(w_shape, "int8"), "delta_exponent": scalar("int8")}
        arrays |= {"delta": codes(r, *w_shape), "delta_exponent": one(exponent)}
    return Case(op, types, arrays, (y,))


def depthwise(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, factor = int(r.integers(1, 9)), pick(r, 1, 1, 2, 3)
    co = ci * factor
    x = activation((1, h, w, ci), scale(r), zero_point(r))
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    y = activation((1, *window.output(h, w), co), result_scale(r, x, weights, window.kernel[0] * window.kernel[1]), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x.shape), "weights": int8(r, *weights.shape), "bias": bias(r, co)}
    return Case(DepthwiseConv2D(window, pick(r, "none", "relu", "relu6")), types, arrays, (y,))


def input_gradient(r: Rng, lora: bool) -> Case:
    window, h, w = window_and_size(r)
    ci, co, rank = int(r.integers(1, 9)), int(r.integers(1, 9)), pick(r, 1, 4)
    extreme = lora and r.random() < 0.25
    if extreme:
        window, h, w, co = Window((1, 1)), 1, 2, pick(r, 3, 500)
    out = window.output(h, w)
    weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
    types = {"g": gradient((1, *out, co), scale(r)), "weights": weights}
    arrays = {"g": codes(r, 1, *out, co), "weights": int8(r, *weights.shape)}
    if lora:
        a_shape = (rank, *window.kernel, ci)
        types |= {"lora_du": gradient((1, out[0] * out[1], rank), 1.0), "lora_du_exponent": scalar("int8")}
        types |= {"lora_a": TensorType(a_shape, "int8"), "lora_a_exponent": scalar("int8")}
        arrays |= {"lora_du": codes(r, 1, out[0] * out[1], rank), "lora_a": codes(r, *a_shape)}
        arrays |= {"lora_du_exponent": one(int(r.integers(-12, 20))), "lora_a_exponent": one(int(r.integers(-24, 8)))}
    if extreme:  # near the ends of int32, so that addend and total saturate
        weights = TensorType(weights.shape, "int8", Quantization((0.5,), 0))
        types["weights"] = weights
        arrays |= {"g": np.full_like(arrays["g"], 127), "weights": np.full_like(arrays["weights"], pick(r, 127, -127))}
        arrays |= {"lora_du_exponent": one(100), "lora_a_exponent": one(20)}
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, float(r.uniform(0.1, 4)), (1, h, w, ci), 24 if extreme else int(r.integers(-2, 24)))
    return Case(op, types, arrays)


def depthwise_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, factor = int(r.integers(1, 9)), pick(r, 1, 2, 3)
    co, out = ci * factor, window.output(h, w)
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    values = int8(r, *weights.shape)
    p = depthwise_prescale_shift(values, weights.channel_scales, factor)
    op = DepthwiseInputGradient(window, (1, h, w, ci), (1, *out, co), p, int(r.integers(-2, 20)))
    return Case(op, {"g": gradient((1, *out, co), 1.0), "weights": weights}, {"g": codes(r, 1, *out, co), "weights": values})


def lora_down(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, rank, out = int(r.integers(1, 9)), pick(r, 1, 4, 6), window.output(h, w)
    a_shape = (rank, *window.kernel, ci)
    types = {"x": activation((1, h, w, ci), scale(r), zero_point(r)), "lora_a": TensorType(a_shape, "int8")}
    types |= {"lora_a_exponent": scalar("int8"), "lora_range": scalar("int8")}
    arrays = {"x": int8(r, 1, h, w, ci), "lora_a": codes(r, *a_shape)}
    exponent = int(r.integers(-14, -4)) if r.random() < 0.8 else int(r.integers(-32, 110))
    arrays |= {"lora_a_exponent": one(exponent), "lora_range": one(int(r.integers(-3, 5)))}
    if r.random() < 0.1:  # exactly 127 is not saturated, anything more is
        difference = pick(r, 1, 2)
        types["x"] = activation((1, h, w, ci), 1.0, 0)
        arrays |= {"x": np.zeros_like(arrays["x"]), "lora_a": np.full(a_shape, pick(r, 127, -127), np.int8)}
        arrays["x"][0, h // 2, w // 2, 0] = difference
        arrays |= {"lora_a_exponent": one(0), "lora_range": one(0)}
    if r.random() < 0.8:
        types["saturated"], arrays["saturated"] = scalar("int8"), one(pick(r, 0, 0, 1))
    return Case(LoRADown(window, (h, w, ci), (*out, rank)), types, arrays)


def lora_inner(r: Rng) -> Case:
    positions, channels, rank = int(r.integers(1, 20)), int(r.integers(1, 40)), pick(r, 1, 4, 7)
    types = {"g": gradient((1, positions, channels), 1.0), "lora_b": TensorType((channels, rank), "int8"), "lora_b_exponent": scalar("int8")}
    g = coarser(codes(r, 1, positions, channels), pick(r, 1, 1, 20, 128))
    arrays = {"g": g, "lora_b": codes(r, channels, rank), "lora_b_exponent": one(pick(r, -24, -9, 0, 120))}
    return Case(LoRAInnerGradient(1.0), types, arrays)


def accumulator(r: Rng, *shape: int) -> Array:
    return (r.normal(size=shape) * 10.0 ** r.integers(-6, 3)).astype(np.float32)


def bias_gradient(r: Rng) -> Case:
    positions, channels = int(r.integers(1, 60)), int(r.integers(1, 20))
    types = {"g": gradient((1, positions, channels), scale(r)), "exponent": scalar("int32"), "accumulator": TensorType((channels,), "float32")}
    exponent = one(pick(r, -26, -7, 0, -140, 130), "int32")
    return Case(BiasGradient(), types, {"g": codes(r, 1, positions, channels), "exponent": exponent, "accumulator": accumulator(r, channels)})


def weight_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, co = int(r.integers(1, 12)) if r.random() < 0.8 else 45, int(r.integers(1, 6))
    out, shape = window.output(h, w), (co, *window.kernel, ci)
    x = activation((1, h, w, ci), scale(r), zero_point(r)) if r.random() < 0.8 else TensorType((1, h, w, ci), "int8")
    types = {"g": gradient((1, *out, co), scale(r)), "x": x, "exponent": scalar("int32"), "accumulator": TensorType(shape, "float32")}
    arrays = {"g": codes(r, 1, *out, co), "x": int8(r, 1, h, w, ci), "exponent": one(pick(r, -26, -7, 0), "int32")}
    arrays["accumulator"] = accumulator(r, *shape)
    if r.random() < 0.5:
        types["exponent_offset"], arrays["exponent_offset"] = scalar("int8"), one(pick(r, -24, 3, 127, -128))
    return Case(WeightGradient(window, (h, w, ci), (*out, co), scale(r)), types, arrays)


def pool(r: Rng, op: type[Op]) -> Case:
    window, h, w = window_and_size(r)
    channels = int(r.integers(1, 9))
    x = activation((1, h, w, channels), scale(r), zero_point(r))
    y = activation((1, *window.output(h, w), channels), x.scale, x.zero_point)
    return Case(op(window, pick(r, "none", "relu", "relu6")), {"x": x}, {"x": int8(r, *x.shape)}, (y,))  # type: ignore[call-arg]


def average_pool_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r, empty=False)
    channels, shift = pick(r, 1, 5, 40), int(r.integers(8, 20))
    if r.random() < 0.3:  # windows of 1, 2 and 3 elements, so that their factors are rounded
        window, h, w, channels, shift = Window((3, 1), pad=(2, 0, 1, 0)), 4, 1, 1000, 15
    out = window.output(h, w)
    op = AveragePoolGradient(window, (1, h, w, channels), (1, *out, channels), int(window_counts(window, h, w).min()), shift)
    return Case(op, {"g": gradient((1, *out, channels), 1.0)}, {"g": codes(r, 1, *out, channels)})


def max_pool_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    channels, out = int(r.integers(1, 6)), window.output(h, w)
    types = {"g": gradient((1, *out, channels), 1.0), "x": activation((1, h, w, channels), 0.1, zero_point(r))}
    arrays = {"g": codes(r, 1, *out, channels), "x": coarser(int8(r, 1, h, w, channels), pick(r, 1, 32))}
    return Case(MaxPoolGradient(window, (1, h, w, channels), (1, *out, channels), int(r.integers(-1, 4))), types, arrays)


def mean(r: Rng) -> Case:
    shape = (1, *(int(n) for n in r.integers(1, 9, 3)))
    axes = pick(r, (1, 2), (1,), (2,), (3,), (1, 2, 3))
    x = activation(shape, scale(r), zero_point(r))
    y = activation(tuple(1 if i in axes else n for i, n in enumerate(shape)), x.scale * pick(r, 0.2, 1.0, 3.0), zero_point(r))
    return Case(Mean(axes), {"x": x}, {"x": int8(r, *shape)}, (y,))


def mean_gradient(r: Rng) -> Case:
    outer, count, inner = (int(n) for n in r.integers(1, 9, 3))
    op = MeanGradient((1, outer, count, inner), (outer, count, inner))
    return Case(op, {"g": gradient((1, outer, inner), 1.0)}, {"g": codes(r, 1, outer, inner)})


def add(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types = {o: activation(shape, scale(r), zero_point(r)) for o in ("x", "other")}
    y = activation(shape, types["x"].scale * pick(r, 1.0, 2.5, 1e-6), zero_point(r))
    return Case(Add(pick(r, "none", "relu", "relu6")), types, {o: int8(r, *shape) for o in types}, (y,))


def requantize(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    x = activation(shape, scale(r), zero_point(r))
    y = activation(shape, float(np.float32(x.scale * pick(r, 0.5, 1.0, 3.0, 1e-9, 1e12))), zero_point(r))
    return Case(Requantize(pick(r, "none", "relu", "relu6")), {"x": x}, {"x": int8(r, *shape)}, (y,))


def mask_gradient(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types = {"g": gradient(shape, 1.0), "y": activation(shape, 0.1, 0)}
    return Case(MaskGradient(pick(r, -128, 0), pick(r, 127, 50)), types, {"g": codes(r, *shape), "y": int8(r, *shape)})


def save_mask(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    return Case(SaveMask(pick(r, -128, 0), pick(r, 127, 50)), {"y": activation(shape, 0.1, 0)}, {"y": int8(r, *shape)})


def apply_mask(r: Rng) -> Case:
    size = int(r.integers(1, 70))
    types = {"g": gradient((1, size), 1.0), "mask": TensorType((1, (size + 7) // 8), "uint8")}
    return Case(ApplyMask(), types, {"g": codes(r, 1, size), "mask": r.integers(0, 256, types["mask"].shape).astype(np.uint8)})


def gradient_sum(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types = {o: gradient(shape, scale(r)) for o in ("g", "other")}
    return Case(GradientSum(int(r.integers(10, 17))), types, {o: codes(r, *shape) for o in types})


def pad(r: Rng) -> Case:
    h, w, c = (int(n) for n in r.integers(1, 6, 3))
    border = tuple(int(n) for n in r.integers(0, 4, 4))
    x = activation((1, h, w, c), 0.1, zero_point(r))
    y = activation((1, h + border[0] + border[2], w + border[1] + border[3], c), 0.1, x.zero_point)
    return Case(Pad(border, int(r.integers(-128, 128))), {"x": x}, {"x": int8(r, *x.shape)}, (y,))  # type: ignore[arg-type]


def pad_gradient(r: Rng) -> Case:
    h, w, c = (int(n) for n in r.integers(1, 6, 3))
    border = tuple(int(n) for n in r.integers(0, 4, 4))
    g = gradient((1, h + border[0] + border[2], w + border[1] + border[3], c), 1.0)
    return Case(PadGradient(border), {"g": g}, {"g": codes(r, *g.shape)})  # type: ignore[arg-type]


def transpose(r: Rng) -> Case:
    axes = int(r.integers(2, 5))
    x = activation((1, *(int(n) for n in r.integers(1, 6, axes - 1))), 0.1, 0)
    return Case(Transpose((0, *(int(i) + 1 for i in r.permutation(axes - 1)))), {"x": x}, {"x": int8(r, *x.shape)})


def softmax(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 4)), pick(r, 1, 2, 10, 35, 300, 3000))
    x = activation(shape, scale(r, -14, 4), 0)
    values = coarser(int8(r, *shape), pick(r, 1, 1, 16, 128))
    return Case(Softmax(pick(r, 1.0, 0.5)), {"x": x}, {"x": values}, (activation(shape, 1 / 256, -128),))


def softmax_gradient(r: Rng) -> Case:
    forward = softmax(r)
    shape = forward.types["x"].shape
    y = forward.expected()["result 0"]
    types = {"g": gradient(shape, 1.0), "y": forward.results[0]}
    return Case(SoftmaxGradient(shape, 1.0, int(r.integers(0, 20))), types, {"g": codes(r, *shape), "y": y})


def cross_entropy(r: Rng) -> Case:
    classes = pick(r, 1, 2, 10, 35, 1000)
    y = activation((1, classes), scale(r, -10, 3), zero_point(r))
    arrays = {"y": int8(r, 1, classes), "label": one(int(r.integers(classes)), "int32")}
    return Case(SoftmaxCrossEntropy(), {"y": y, "label": scalar("int32")}, arrays)


def squared_error(r: Rng) -> Case:
    size = pick(r, 1, 3, 64, 640)
    y = activation((1, size), scale(r, -10, 3), zero_point(r))
    values = int8(r, 1, size)
    near = (values - y.zero_point).astype(np.float32) * np.float32(y.scale)
    target = near if r.random() < 0.2 else near + accumulator(r, 1, size)
    return Case(MeanSquaredError(), {"y": y, "target": TensorType((1, size), "float32")}, {"y": values, "target": target.astype(np.float32)})


def sgd(r: Rng) -> Case:
    size = int(r.integers(1, 60))
    types = {"accumulator": TensorType((size,), "float32"), "count": scalar("int32"), "learning_rate": scalar("float32")}
    values = accumulator(r, size) * np.float32(pick(r, 0.0, 1.0, 1e-3, 1e25))
    arrays = {"accumulator": values, "count": one(pick(r, 1, 3, 8, 1000), "int32"), "learning_rate": np.array([r.uniform(0, 1)], np.float32)}
    if r.random() < 0.5:
        types["momentum"], arrays["momentum"] = TensorType((size,), "float32"), accumulator(r, size)
    return Case(SGD(pick(r, 0.0, 0.9), pick(r, 0.0, 1.0, 0.3)), types, arrays)


def step_int32(r: Rng) -> Case:
    size = int(r.integers(1, 40))
    types = {"value": TensorType((size,), "int32"), "accumulator": TensorType((size,), "float32")}
    arrays = {"value": bias(r, size), "accumulator": accumulator(r, size) * np.float32(pick(r, 0.0, 1.0, 1e30))}
    return Case(StepInt32(tuple(scale(r, -20, -5) for _ in range(size))), types, arrays)


def step_block16(r: Rng) -> Case:
    shape = (int(r.integers(1, 6)), int(r.integers(1, 12)))
    types = {"value": TensorType(shape, "int8"), "exponent": scalar("int8"), "master": TensorType(shape, "int16")}
    types |= {"master_exponent": scalar("int8"), "accumulator": TensorType(shape, "float32")}
    master = r.integers(-32767, 32768, shape) * pick(r, 0, 1, 1)
    if r.random() < 0.2:
        master.flat[0] = 32767
    arrays = {"value": codes(r, *shape), "exponent": one(0), "master": master.astype(np.int16)}
    step = accumulator(r, *shape) * np.float32(pick(r, 0.0, 0.0, 1e-3, 1.0, 1e35))
    arrays |= {"master_exponent": one(pick(r, -32, -20, -14, 90)), "accumulator": step}
    return Case(StepBlock16(), types, arrays)


def adapt_range(r: Rng) -> Case:
    types = {"lora_range": scalar("int8"), "saturated": scalar("int8")}
    return Case(AdaptRange(), types, {"lora_range": one(pick(r, 0, 29, 30, -4)), "saturated": one(pick(r, 0, 1))})


GENERATORS: dict[str, tuple[Callable[[Rng], Case], int]] = {
    "conv2d": (lambda r: linear(r, "plain"), 60),
    "conv2d_once": (lambda r: linear(r, "once"), 30),
    "conv2d_lora": (lambda r: linear(r, "lora"), 60),
    "conv2d_delta": (lambda r: linear(r, "delta"), 60),
    "conv2d_input_gradient": (lambda r: input_gradient(r, False), 40),
    "conv2d_lora_input_gradient": (lambda r: input_gradient(r, True), 40),
    "average_pool2d": (lambda r: pool(r, AveragePool2D), 30),
    "max_pool2d": (lambda r: pool(r, MaxPool2D), 30),
    "depthwise": (depthwise, 40),
    "depthwise_gradient": (depthwise_gradient, 40),
    "lora_down": (lora_down, 40),
    "weight_gradient": (weight_gradient, 50),
    "average_pool_gradient": (average_pool_gradient, 30),
    "max_pool_gradient": (max_pool_gradient, 30),
    "softmax": (softmax, 40),
    "sgd": (sgd, 40),
    "step_int32": (step_int32, 30),
    "step_block16": (step_block16, 40),
    "cross_entropy": (cross_entropy, 30),
    "squared_error": (squared_error, 30),
    **{
        f.__name__: (f, 16)
        for f in (
            lora_inner, bias_gradient, mean, mean_gradient, add, requantize, mask_gradient, save_mask, apply_mask,
            gradient_sum, pad, pad_gradient, transpose, softmax_gradient, adapt_range,
        )
    },
}  # fmt: skip


def seeds() -> Iterator[tuple[str, int]]:
    for name, (_, count) in GENERATORS.items():
        for seed in range(count):
            yield name, seed


def generated(name: str, seed: int) -> Case:
    return GENERATORS[name][0](np.random.default_rng([seed, *name.encode()]))


@pytest.mark.parametrize(("name", "seed"), list(seeds()))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(name, seed))


def test_every_kernel_has_cases_and_its_own_file() -> None:
    declared = set(re.findall(r"^void (kt_\w+)\(", declarations(), re.M))
    called = {}
    for name, seed in seeds():
        case = generated(name, seed)
        names = Names({o: o for o in case.types}, tuple(f"result {i}" for i in range(len(case.result_types()))))
        call = case.op.kernel_call(case.node_types(), names)
        assert call is not None
        called[call.symbol] = call.file
    assert set(called) == declared
    defined = {}
    for folder in FOLDERS:
        for source in (RUNTIME / "src" / folder).glob("*.c"):
            (symbol,) = re.findall(r"^void (kt_\w+)\(", source.read_text(), re.M)
            defined[symbol] = f"{folder}/{source.name}"
    assert defined == called


def test_loss_that_is_not_finite_is_reported(library: Library) -> None:
    for bad in (np.inf, np.nan, 1e30):
        case = Case(
            MeanSquaredError(),
            {"y": activation((1, 3), 0.1, 0), "target": TensorType((1, 3), "float32")},
            {"y": np.zeros((1, 3), np.int8), "target": np.array([[0, bad, 1]], np.float32)},
        )
        with np.errstate(all="ignore"):
            found = Run(library, case, False).call()
        assert not np.isfinite(found["result 2"][0])


# -- primitives -------------------------------------------------------------------------------------------

EDGES = np.array([0, 1, -1, 2, -2, 127, 128, -128, 2**30, -(2**30), 2**30 - 1, 2**31 - 1, -(2**31), -(2**31) + 1], np.int64)


def integers(seed: int) -> Array:
    """int32 of all magnitudes, with the edge values."""
    r = np.random.default_rng(seed)
    values = r.integers(-(2**31), 2**31, 100_000) >> r.integers(0, 32, 100_000)
    values[: EDGES.size**2] = np.tile(EDGES, EDGES.size) if seed % 2 else np.repeat(EDGES, EDGES.size)
    return values.astype(np.int32)


def primitive(library: Library, name: str, *operands: Any, dtype: str = "int32") -> Array:
    size = operands[0].size
    kept = [np.ascontiguousarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    result = np.empty(size, dtype)
    passed = [library.pointer(o) if isinstance(o, np.ndarray) else o for o in kept]
    getattr(library.lib, f"run_{name}")(size, *passed, library.pointer(result))
    return result


def shifts(low: int, high: int) -> Array:
    return np.random.default_rng(5).integers(low, high + 1, 100_000).astype(np.int32)


@pytest.mark.parametrize(
    ("name", "shift", "meaning"),
    [
        ("high_multiply", None, nm.high_multiply),
        ("divide_by_power", (0, 31), nm.divide_by_power),
        ("requantize", (-40, 40), nm.requantize),
        ("requantize_once", (-31, 29), nm.requantize_once),
        ("shift_round", (-40, 40), nm.shift_round),
    ],
)
def test_rounding_primitives(library: Library, name: str, shift: tuple[int, int] | None, meaning: Any) -> None:
    operands = [integers(0)]
    if name in ("high_multiply", "requantize", "requantize_once"):
        operands.append(integers(1))
    if shift:
        operands.append(shifts(*shift))
    assert_equal(primitive(library, name, *operands), meaning(*operands).astype(np.int32), name)


def test_integer_primitives(library: Library) -> None:
    values = integers(1)
    assert_equal(primitive(library, "saturate8", values), nm.saturate8(values.astype(np.int64)).astype(np.int32), "saturate8")
    assert_equal(primitive(library, "bit_length", values), nm.bit_length(values.astype(np.int64)).astype(np.int32), "bit_length")


def test_exponent_primitives(library: Library) -> None:
    exponents = np.arange(-126, 128, dtype=np.int32)
    assert_equal(primitive(library, "power_of_two", exponents, dtype="float32"), nm.power_of_two(exponents), "power_of_two")
    r = np.random.default_rng(3)
    largest = np.concatenate([[0.0], 2.0 ** r.uniform(-149, 127, 50_000), 127 * 2.0 ** np.arange(-60.0, 60.0)]).astype(np.float32)
    for limit, lowest in ((127.0, -100), (32767.0, -32)):
        found = primitive(library, "exponent_for", largest, limit, lowest)
        assert_equal(found, nm.exponent_for(largest, limit, lowest).astype(np.int32), "exponent_for")


def test_round_half_up(library: Library) -> None:
    r = np.random.default_rng(4)
    halves = np.arange(-2000, 2000) / 2
    values = np.concatenate([halves, r.normal(size=50_000) * 2.0 ** r.uniform(-10, 34, 50_000), [np.inf, -np.inf, 2.0**30, -(2.0**30)]])
    values = values.astype(np.float32)
    assert_equal(primitive(library, "round_half_up", values), nm.round_half_up(values).astype(np.int32), "round_half_up")


def test_functions(library: Library) -> None:
    r = np.random.default_rng(6)
    down = np.concatenate([[0.0, -87.0, -87.1, -1e30, -1e-30], -(2.0 ** r.uniform(-20, 7, 100_000))]).astype(np.float32)
    up = np.concatenate([[1.0, 2.0**-126, 3e38, 2.0**0.5], 2.0 ** r.uniform(-126, 127, 100_000), r.uniform(0.5, 2, 10_000)]).astype(np.float32)
    assert_equal(primitive(library, "exp", down, dtype="float32"), nm.exp(down), "exp")
    assert_equal(primitive(library, "log", up, dtype="float32"), nm.log(up), "log")
    roots = np.concatenate([[0.0], up]).astype(np.float32)
    assert_equal(primitive(library, "sqrt", roots, dtype="float32"), nm.sqrt(roots), "sqrt")


def test_functions_are_accurate() -> None:
    x = np.linspace(-80, 0, 10_001, dtype=np.float32)
    np.testing.assert_allclose(nm.exp(x), np.exp(x.astype(np.float64)), rtol=4e-7)
    y = np.geomspace(1e-30, 1e30, 10_001).astype(np.float32)
    np.testing.assert_allclose(nm.log(y), np.log(y.astype(np.float64)), rtol=4e-7, atol=1e-7)
    np.testing.assert_allclose(nm.sqrt(y), np.sqrt(y.astype(np.float64)), rtol=2e-7)
