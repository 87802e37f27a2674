"""Drives C kernels through the `kernel_call` of their operators, and compares them with the operators' NumPy meaning.

The names and types of parameters, the order of arguments and the size of the scratch are checked as well. Buffers are
surrounded by guard bytes. KT_TEST_CFLAGS adds compiler flags (sanitizers, for example).
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest

from kiloc.ir.kernel_call import Argument, First, Pointers, Scratch, Table
from kiloc.ir.operator import Environment, Names, NodeTypes, Op
from kiloc.ir.types import TensorType
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.average_pool_2d import window_counts
from kilotune import host_runtime, resources, runtime_files, toolchain
from kilotune.cache import cache_directory

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
FOLDERS = ("kernels", "loss", "optim")
FAMILIES = sorted(path.stem for path in (RUNTIME / "include/kt/kernels").glob("*.h"))
HEADERS = ("kernels/window.h", *(f"kernels/{family}.h" for family in FAMILIES if family != "window"), "loss.h", "optim.h")
FLAGS = "-std=c99 -O2 -Wall -Wextra -Wconversion -Werror -pedantic -ffp-contract=off -fPIC".split()
GUARD = 64
CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "uint16": "uint16_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t", "float32": "float"}

Rng = np.random.Generator
Array = np.ndarray[Any, Any]

PRIMITIVES = """
void run_high_multiply(int32_t n, const int32_t *a, const int32_t *b, int32_t *y);
void run_high_product_of_halves(int32_t n, const int32_t *a, const int32_t *b, int32_t *y);
void run_divide_by_power(int32_t n, const int32_t *a, const int32_t *b, int32_t *y);
void run_requantize(int32_t n, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *y);
void run_requantize_right(int32_t n, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *y);
void run_requantize_wide(int32_t n, const int64_t *a, const int32_t *b, const int32_t *c, int32_t *y);
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
void run_random_key(int32_t n, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *y);
void run_random_unit(int32_t n, const int32_t *a, const int32_t *b, float *y);
void run_round_stochastic(int32_t n, const float *a, const int32_t *b, const int32_t *c, int32_t *y);
"""


def primitives_source() -> str:
    """A translation unit that applies each primitive of kt/numerics.h to arrays."""
    text = '#include "kt/numerics.h"\n#include "kt/random.h"\n'
    for line in PRIMITIVES.strip().splitlines():
        name = re.findall(r"run_(\w+)\(", line)[0]
        arguments = re.findall(r"(?:(\*)|float |int32_t )([a-z]+)(?=[,)])", line)[1:-1]
        actual = ", ".join(a + ("[i]" if pointer else "") for pointer, a in arguments)
        actual = f"kt_magnitude({actual})" if name == "bit_length" else actual
        actual = actual.replace("a[i]", "(uint32_t)a[i]") if name == "random_unit" else actual
        actual = actual.replace("b[i]", "(uint32_t)b[i]") if name == "round_stochastic" else actual
        prototype, cast = line.rstrip(";"), "(int32_t)" if name == "random_key" else ""
        text += f"{prototype};\n{prototype} {{ int32_t i; for (i = 0; i < n; i++) {{ y[i] = {cast}kt_{name}({actual}); }} }}\n"
    return text


def portable(folder: str) -> list[Path]:
    """The sources of a folder of runtime/src that define something on this computer."""
    return sorted(s for s in (RUNTIME / "src" / folder).rglob("*.c") if s.parent.name not in resources.ARCHITECTURES)


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


def in_vectors(source: Path) -> Path:
    """What a computer runs in place of a source of the runtime."""
    return host_runtime.source(f"runtime/{source.relative_to(RUNTIME).as_posix()}")


def knows(source: Path, name: str) -> bool:
    """Whether a source, or a header of the kernels that it includes, is another one with this definition (KT_VECTOR, say)."""
    files = [RUNTIME / path for path in runtime_files.headers([source.relative_to(RUNTIME)], [])]
    return any(name in file.read_text() for file in (source, *files) if file.name != "architecture.h")


@contextmanager
def alone() -> Iterator[None]:
    """One process of the session at a time: the others find what it has built."""
    with (cache_directory() / "kernels.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def compiled(vector: bool = False, in_integers: bool = False) -> Library:
    """Every kernel, loss and update of the runtime as one shared library, built once a session. vector: for the vectors of this computer;
    in_integers: as for cores without a unit for float32."""
    compiler = toolchain.host_compiler()
    extra = shlex.split(os.environ.get("KT_TEST_CFLAGS", ""))
    flags = (*FLAGS, *extra)
    in_lanes = (*flags, *host_runtime.machine_flags(compiler.program), "-DKT_VECTOR=1")
    with tempfile.TemporaryDirectory() as name, alone():
        helper = Path(name) / "primitives.c"
        helper.write_text(primitives_source())
        sources = [(helper, flags)]
        for source in (s for f in (*FOLDERS, "product") for s in portable(f)):
            if vector and knows(source, "KT_VECTOR"):
                sources.append((in_vectors(source), in_lanes))
            else:
                sources.append((source, (*flags, "-DKT_SOFT_FLOAT=1") if in_integers and knows(source, "KT_SOFT_FLOAT") else flags))
        units = tuple(toolchain._Unit(source, given, (RUNTIME / "include",), host_runtime.headers()) for source, given in sources)
        shared = toolchain._link(toolchain._Program(compiler, units, ("-shared", *extra), ".so"), "kernels")
        ffi = cffi.FFI()
        ffi.cdef(declarations() + PRIMITIVES)
        return Library(ffi, ffi.dlopen(str(shared)))


@pytest.fixture(scope="session")
def library() -> Library:
    return compiled()


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
    overlap: int | None = None
    """Bytes from the start of the operand of `Op.reach` to that of the first result, which lies over it; None: apart."""
    buffers: dict[str, Guarded] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, array in self.case.arrays.items():
            assert array.dtype.name == self.case.types[name].dtype and array.size == self.case.types[name].size, name
            self.buffers[name] = Guarded.of(array.size, array.dtype.name)
            self.buffers[name].array[:] = array.ravel()
        for i, t in enumerate(self.case.result_types()):
            shared = self.case.op.in_place if self.in_place and i == 0 else None
            if shared:
                held = self.buffers[shared]
                self.buffers[f"result {i}"] = Guarded(held.whole, held.array.view(t.dtype))
            else:
                self.buffers[f"result {i}"] = Guarded.of(t.size, t.dtype)
        if self.overlap is not None:
            self.lay_over(self.overlap)

    def lay_over(self, distance: int) -> None:
        """Put operand and first result into one block."""
        reached = self.case.op.reach(self.case.node_types())
        assert reached is not None
        operand, result = self.buffers[reached[0]].array, self.buffers["result 0"].array
        block = Guarded.of(max(operand.size - min(distance, 0), result.size + max(distance, 0)), "int8")
        at, to = max(-distance, 0), max(distance, 0)
        block.array[at : at + operand.size] = operand
        self.buffers[reached[0]] = Guarded(block.whole, block.array[at : at + operand.size])
        self.buffers["result 0"] = Guarded(block.whole, block.array[to : to + result.size])

    def pointer(self, value: str, expected: Any) -> Any:
        array = self.buffers[value].array
        item = expected.item.cname
        assert item in (CTYPES[array.dtype.name], "void"), f"{value} is {array.dtype}, the C takes {item}"
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
                setattr(struct, name, self.library.ffi.NULL if value == "NULL" else value)

    def prepared(self) -> Callable[[], None]:
        """The call itself: it may be made again and again on the same buffers."""
        ffi, op, types = self.library.ffi, self.case.op, self.case.node_types()
        names = Names({o: o for o in self.case.types}, tuple(f"result {i}" for i in range(len(types.results))))
        call = op.kernel_call(types, names)
        assert call is not None and (RUNTIME / "src" / call.file).is_file()
        function = getattr(self.library.lib, call.symbol)
        formal = ffi.typeof(function).args
        actual = []
        if call.struct:
            assert formal[0].item.cname == call.struct
            struct = ffi.new(formal[0])  # of a name, cffi would parse the declarations again
            self.fill(struct, call.fields)
            actual.append(struct)
        for argument in call.arguments:
            expected = formal[len(actual)]
            if isinstance(argument, Scratch):
                self.buffers["scratch"] = Guarded.of(call.scratch, "uint8")
                actual.append(ffi.cast("void *", self.buffers["scratch"].array.ctypes.data))
            elif isinstance(argument, First):
                actual.append(0)
            elif isinstance(argument, Pointers):
                self.kept.append(ffi.new(f"{expected.item.cname}[]", [self.pointer(v, expected.item) for v in argument.values]))
                actual.append(self.kept[-1])
            else:
                actual.append(ffi.NULL if argument == "NULL" else self.pointer(argument.value, expected))  # type: ignore[union-attr]
        assert len(actual) == len(formal)
        self.kept.append(actual)
        return lambda: function(*actual)

    def call(self) -> dict[str, Array]:
        self.prepared()()
        self.check_guards()
        return {name: buffer.array for name, buffer in self.buffers.items()}

    def check_guards(self) -> None:
        for name, buffer in self.buffers.items():
            buffer.check(name)


def assert_equal(found: Array, expected: Array, what: str) -> None:
    expected = np.ascontiguousarray(expected).ravel()
    assert found.dtype == expected.dtype, what
    if found.dtype == np.float32:
        found, expected = found.view(np.int32), expected.view(np.int32)
    np.testing.assert_array_equal(found, expected, what)


def works_in_place(case: Case) -> bool:
    """Whether the first result may take the bytes of an operand: it has the same size, as it does not where it is stretched or reduced."""
    operand = case.op.in_place
    return operand in case.types and any(t.bytes == case.types[operand].bytes for t in case.result_types()[:1])


def check(library: Library, case: Case, *others: Library) -> None:
    """Portable C, the kernels for the vectors of this computer, and others."""
    expected = case.expected()
    for kernels in (library, compiled(vector=True), *others):
        for in_place in (False, True) if works_in_place(case) else (False,):
            found = Run(kernels, case, in_place).call()
            for name, array in expected.items():
                assert_equal(found[name], array, f"{name}, in place: {in_place}, in vectors: {kernels is not library}")
            for name, array in case.arrays.items():
                if name not in expected and not (in_place and name == case.op.in_place):
                    assert_equal(found[name], array, f"{name} is only read")
        check_overlapping(kernels, case, expected)


def check_overlapping(library: Library, case: Case, expected: Mapping[str, Array]) -> None:
    """The first result over the operand that it may overwrite, as near as `Op.reach` allows, below and above it."""
    reached = case.op.reach(case.node_types())
    if reached is None:
        return
    operand, reach = reached
    below, above = reach.distances(case.result_types()[0].bytes, case.types[operand].bytes)
    for distance in (-below, above):
        found = Run(library, case, False, distance).call()
        for name, array in expected.items():
            assert_equal(found[name], array, f"{name}, {distance} bytes from {operand}")


# -- what cases are made of -------------------------------------------------------------------------------


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


def real(value: float) -> Array:
    """A scalar of float32."""
    return np.array([value], np.float32)


def scale(r: Rng, low: float = -9, high: float = 0) -> float:
    return float(np.float32(2.0 ** r.uniform(low, high)))


def zero_point(r: Rng) -> int:
    return int(r.choice([-128, -128, 127, 0, int(r.integers(-128, 128))]))


def pick(r: Rng, *values: Any) -> Any:
    return values[int(r.integers(len(values)))]


def bias(r: Rng, channels: int) -> Array:
    return r.integers(-(2**14), 2**14, channels).astype(np.int32) if r.random() < 0.8 else r.choice([-(2**30), 2**30], channels).astype(np.int32)


def accumulator(r: Rng, *shape: int) -> Array:
    return (r.normal(size=shape) * 10.0 ** r.integers(-6, 3)).astype(np.float32)


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


# -- tables of generated cases ----------------------------------------------------------------------------

Generators = Mapping[str, tuple[Callable[[Rng], Case], int]]
"""Name -> how a case is made, and how many of them."""


def seeds(generators: Generators) -> Iterator[tuple[str, int]]:
    for name, (_, count) in generators.items():
        for seed in range(count):
            yield name, seed


def generated(generators: Generators, name: str, seed: int) -> Case:
    return generators[name][0](np.random.default_rng([seed, *name.encode()]))


def called(cases: Iterable[Case]) -> dict[str, str]:
    """Kernel -> source file, as the cases' operators name them."""
    found = {}
    for case in cases:
        names = Names({o: o for o in case.types}, tuple(f"result {i}" for i in range(len(case.result_types()))))
        call = case.op.kernel_call(case.node_types(), names)
        assert call is not None
        found[call.symbol] = call.file
        assert all((RUNTIME / "src" / file).is_file() for file in call.files), call
    return found


def defined(*folders: str) -> dict[str, str]:
    """Kernel -> source file of these folders."""
    found = {}
    for folder in folders:
        for source in portable(folder):
            for symbol in re.findall(r"^void (kt_\w+)\(", source.read_text(), re.M):
                found[symbol] = source.relative_to(RUNTIME / "src").as_posix()
    return found


def declared() -> set[str]:
    return set(re.findall(r"^void (kt_\w+)\(", declarations(), re.M))
