"""What a model's header offers firmware beside the calls, with the bits of Python: quantisation, the largest output, texts of statuses."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden.reference import tiny
from gradients.graphs import Maker
from numpy.typing import NDArray

import kilotune as kt
from kiloc.emit.c_names import c_float
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType
from kiloc.ops.model.requantize import Requantize
from kilotune import resources
from kilotune.devices.data import dequantize, quantize
from kilotune.devices.errors import STATUS
from kilotune.devices.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
C = ("gcc", "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-O2")
CXX = ("g++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2")

PROGRAM = """
#include "model.h"
#include <stdio.h>
#include <string.h>

static MODEL_INPUT_TYPE input;
static MODEL_OUTPUT_TYPE scores[MODEL_OUTPUT_BYTES / sizeof(MODEL_OUTPUT_TYPE)];

static void print_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    printf("%08lx\\n", (unsigned long)bits);
}

int main(void)
{
    print_bits(MODEL_INPUT_SCALE);
    print_bits(MODEL_OUTPUT_SCALE);
    printf("%d %d\\n", MODEL_INPUT_ZERO_POINT, MODEL_OUTPUT_ZERO_POINT);
    float x;
    while (fread(&x, sizeof x, 1, stdin) == 1) {
        input = model_quantize_input(x);
        printf("%ld\\n", (long)input);
    }
    for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++) {
        scores[i] = (MODEL_OUTPUT_TYPE)(i % 3 == 1 ? 77 : i);
        print_bits(model_dequantize_output(scores[i]));
    }
    printf("%ld\\n", (long)model_argmax_output(scores));
    return 0;
}
"""


def typed(source: str, result: str) -> Graph:
    """A layer between values of other types."""
    zero = {"uint8": 131, "int16": 0, "int32": 0, "int8": 3}
    m = Maker("model", (1, 8), 3)
    m.b = type(m.b)("model", "model.test")
    m.b.input(TensorType((1, 8), source, Quantization((0.0123,), zero[source])), "input")
    x = m.op("input", "narrow", Requantize(), (1, 8), 1 / 64, 3)
    y = m.dense(x, "dense", 9)
    return m.finish(m.b.node("wide", Requantize(), {"x": y}, TensorType((1, 9), result, Quantization((0.3,), zero[result])), "wide"))


GRAPHS: dict[str, Callable[[], Graph]] = {
    "int8": tiny,
    "uint8": lambda: typed("uint8", "uint8"),
    "int16": lambda: typed("int16", "int16"),
    "int32": lambda: typed("int8", "int32"),
}


def built(graph: Graph, folder: Path) -> Path:
    return kt.build(kt.Model(_file(folder), graph), folder / "build", name="model", measure=False).directory


def _file(folder: Path) -> Path:
    """The file that a build names the hash of."""
    (folder / "model.tflite").write_bytes(tflite.write(tiny()))
    return folder / "model.tflite"


def compiled(program: str, build: Path, folder: Path, compiler: tuple[str, ...]) -> Path:
    """A program with a build's own sources, which are C whatever the program is."""
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} not found: on Debian, apt install {compiler[0]}")
    manifest = Manifest.load(build)
    includes = [f"-I{build / name}" for name in manifest.include]
    objects = []
    for i, source in enumerate(s for s in manifest.sources if re.search(r"core/(quantize|status)\.c", s)):
        objects.append(folder / f"{i}.o")
        subprocess.run(["gcc", "-std=c99", "-O2", *includes, "-c", build / source, "-o", objects[-1]], check=True)
    file = folder / ("main.c" if compiler[0] == "gcc" else "main.cpp")
    file.write_text(program)
    done = subprocess.run([*compiler, *includes, file, *objects, "-o", folder / "program"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def values(scale: float) -> NDArray[np.float32]:
    """Real values on, beside and between the steps, halves among them, and beyond every limit."""
    steps = np.concatenate([np.arange(-300, 300), np.arange(-33000, 33000, 97)]).astype(np.float32)
    halves = ((steps + np.float32(0.5)) * np.float32(scale)).astype(np.float32)
    beside = [np.nextafter(halves, np.float32(end)) for end in (-np.inf, np.inf)]
    wide = np.float32([0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 2147483520.0, -2147483648.0, 16777217.0, 8388607.5 * scale, -8388607.5 * scale])
    random = np.random.default_rng(1).normal(0, 100 * scale, 3000).astype(np.float32)
    return np.concatenate([halves, *beside, (steps * np.float32(scale)).astype(np.float32), wide, random])


@pytest.mark.parametrize("compiler", [C, CXX], ids=["C", "C++"])
@pytest.mark.parametrize("case", GRAPHS)
def test_bits_of_python(case: str, compiler: tuple[str, ...], tmp_path: Path) -> None:
    build = built(GRAPHS[case](), tmp_path)
    manifest = Manifest.load(build)
    source, result = manifest.inputs[0], manifest.outputs[0]
    program = PROGRAM.replace("MODEL_INPUT_TYPE", f"{source.dtype}_t").replace("MODEL_OUTPUT_TYPE", f"{result.dtype}_t")
    x = values(source.scale)
    done = subprocess.run([compiled(program, build, tmp_path, compiler)], input=x.tobytes(), capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    assert lines[:3] == [bits(source.scale), bits(result.scale), f"{source.zero_point} {result.zero_point}"]
    assert np.array_equal(np.array(lines[3 : 3 + len(x)], np.int64), quantize(x, source).astype(np.int64))
    scores = np.array([77 if i % 3 == 1 else i for i in range(result.size)], result.dtype)
    assert lines[3 + len(x) : -1] == [bits(real) for real in dequantize(scores, result)]
    assert lines[-1] == "1", "the first of equal ones"


def bits(x: float) -> str:
    return struct.pack(">f", np.float32(x)).hex()


def test_infinity_and_nan(tmp_path: Path) -> None:
    """Python refuses them; a sensor may give them."""
    build = built(tiny(), tmp_path)
    program = PROGRAM.replace("MODEL_INPUT_TYPE", "int8_t").replace("MODEL_OUTPUT_TYPE", "int8_t")
    x = np.float32([np.inf, -np.inf, np.nan])
    done = subprocess.run([compiled(program, build, tmp_path, C)], input=x.tobytes(), capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[3:6] == ["127", "-128", str(Manifest.load(build).inputs[0].zero_point)]


def test_scales_are_exact_literals() -> None:
    rng = np.random.default_rng(0)
    for scale in np.exp(rng.uniform(-30, 10, 2000)).astype(np.float32):
        assert np.float32(c_float(float(scale)).removesuffix("f")) == scale


def test_every_status_has_a_text(tmp_path: Path) -> None:
    """The texts of Python begin alike: what a person reads on a serial port is what the host would say."""
    numbers = {int(n): name for name, n in re.findall(r"(KT_\w+) = (\d+)", (resources.runtime() / "include/kt/model.h").read_text())}
    assert set(numbers) - {0} == {n for n in STATUS if n < 64}
    program = (
        '#include "model.h"\n#include <stdio.h>\nint main(void) { for (int i = -1; i < 70; i++) puts(kt_status_text((kt_status)i)); return 0; }\n'
    )
    done = subprocess.run([compiled(program, built(tiny(), tmp_path), tmp_path, C)], capture_output=True, text=True, check=True)
    texts = dict(zip(range(-1, 70), done.stdout.splitlines(), strict=True))
    assert {n for n, text in texts.items() if text != "an unknown status"} == set(numbers)
    assert len({texts[n] for n in numbers}) == len(numbers)
    assert all(len(text) < 100 for text in texts.values())


def test_the_example_in_cxx_compiles_and_learns(tmp_path: Path) -> None:
    """examples/cplusplus under the flags that its page names."""
    model = kt.load(ROOT / "examples/digits/digits.tflite")
    build = kt.build(model, tmp_path / "model", method=kt.BiasOnly(layers="all"), optimizer=kt.SGD(lr=0.2), measure=False).directory
    if shutil.which("g++") is None:
        pytest.skip("g++ not found: on Debian, apt install g++")
    manifest = Manifest.load(build)
    includes = [f"-I{build / name}" for name in manifest.include]
    objects = tmp_path / "objects"
    objects.mkdir()
    subprocess.run(["gcc", "-std=c99", "-O2", *includes, "-c", *(build / s for s in manifest.sources if "/dsp/" not in s)], cwd=objects, check=True)
    command = [*CXX, *includes, ROOT / "examples/cplusplus/main.cpp", *objects.glob("*.o"), "-o", tmp_path / "program"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout.splitlines()
    page = (ROOT / "examples/cplusplus/README.md").read_text()
    assert said == re.findall(r"^    ((?:before|after).*)$", page, re.MULTILINE)
