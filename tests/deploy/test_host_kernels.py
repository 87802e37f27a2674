"""What the host runs: kernels for the vectors of whatever computer it is, with the bits of portable C, and samples on several threads."""

from __future__ import annotations

import platform
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.ops._window import Window
from kiloc.ops.model.reshape import Reshape
from kilotune import DeviceError, boards, host_runtime, resources, toolchain
from kilotune.devices import host
from kilotune.devices.manifest import Manifest

from .board_programs import WARNINGS

TRAINING = Path(__file__).parent / "training.c"


def odd_sizes() -> Graph:
    """Channels that are no multiples of a vector's lanes, a border on one side, strides and a dilation."""
    m = Maker("model", (1, 13, 11, 3), seed=5)
    x = m.conv("input", "first", 20, Window((3, 3), (2, 2), (1, 1, 1, 1)), "relu")
    x = m.depthwise(x, "second", 1, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    x = m.conv(x, "third", 37, Window((1, 1)), "relu")
    x = m.depthwise(x, "fourth", 1, Window((3, 2), (2, 1), (0, 0, 1, 1)))
    x = m.conv(x, "fifth", 18, Window((2, 2), dilation=(1, 2)), "relu")
    x = m.op(x, "flat", Reshape((1, m.type(x).size)), (1, m.type(x).size))
    return m.finish(m.dense(x, "last", 5))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    """A method for each layer, so that every way of training one runs."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "model.tflite").write_bytes(tflite.write(odd_sizes()))
    methods = [kt.Full("third,fourth"), kt.LoRA(rank=3, layers="fifth"), kt.ScaleShift("first,second"), kt.BiasOnly("last")]
    return kt.build(kt.load(folder / "model.tflite"), folder / "build", method=methods, name="model", measure=False)


def samples(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, (count, 13, 11, 3)).astype(np.int8)


def test_vectors_train_and_infer_with_the_bits_of_portable_c(build: kt.Build) -> None:
    x, found = samples(12), {}
    for kernels in host_runtime.KERNELS:
        with build.open(kernels=kernels) as device:
            losses = [device.train_step(x[i], i % 5) for i in range(6)]
            device.apply()
            found[kernels] = (losses, device.state(), device.infer(x).tobytes())
    assert found["vector"] == found["portable"]


def test_vectors_of_any_processor_give_the_same_bits(build: kt.Build, tmp_path: Path) -> None:
    program = compiled(build, "gcc", ("-U__SSE2__", "-U__ARM_NEON"), tmp_path / "program")
    assert subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout == expected(build)


@pytest.mark.parametrize("beyond", [(), (host_runtime.DOT_PRODUCTS,)], ids=["vectors", "dot products"])
def test_vectors_of_64_bit_arm_give_the_same_bits(build: kt.Build, beyond: tuple[str, ...], tmp_path: Path, arm64: tuple[str, str]) -> None:
    compiler, emulator = arm64
    program = compiled(build, compiler, ("-static", *beyond), tmp_path / "program")
    assert subprocess.run([emulator, str(program)], capture_output=True, text=True, check=True).stdout == expected(build)


def expected(build: kt.Build) -> str:
    """What the session prints, from the device whose kernels the tests above compare with portable C."""
    seed, losses, results = 7, 0, 0
    with build.open() as device:
        for step in range(12):
            x = np.empty(13 * 11 * 3, np.uint8)
            for i in range(x.size):
                seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
                x[i] = seed >> 24
            sample = x.view(np.int8).reshape(1, 13, 11, 3)
            losses = zlib.crc32(np.float32(device.train_step(sample, step % 5)).tobytes(), losses)
            if step % 3 == 2:
                device.apply()
            results = zlib.crc32(np.asarray(device.infer(sample)).tobytes(), results)
        state = zlib.crc32(device.state())
    return f"status {0:08x}\nlosses {losses:08x}\nresults {results:08x}\nstate {state:08x}\n"


def compiled(build: kt.Build, compiler: str, flags: tuple[str, ...], output: Path) -> Path:
    """A session of training and the model in vectors, by any compiler."""
    manifest, folder, board = Manifest.load(build.directory), build.directory, boards.load("posix")
    include = [resources.runtime() / "include", *(folder / name for name in manifest.include), resources.boards(), resources.boards() / "common"]
    sources = [host_runtime.source(name) if name.startswith("runtime") else folder / name for name in manifest.sources]
    command = [compiler, "-std=c99", "-O1", "-ffp-contract=off", "-DKT_VECTOR=1", *WARNINGS, *flags, *(f"-I{path}" for path in include)]
    done = subprocess.run(
        [*command, str(TRAINING), *map(str, [*board.sources, *sources]), "-o", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def test_threads_change_no_result(build: kt.Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_WORTH_THREADS", 0)
    x, found = samples(61), []
    for threads in (1, 3):
        with build.open(threads=threads) as device:
            device.train_step(x[0], 1)
            device.apply()
            found.append((device.infer(x).tobytes(), device.predict(x).tolist(), device.evaluate(x, np.arange(61) % 5), device.state()))
    assert found[0] == found[1]


def test_a_build_whose_runtime_was_edited_runs_what_it_brings(build: kt.Build, tmp_path: Path) -> None:
    shutil.copytree(build.directory, tmp_path / "edited")
    with build.open() as device:
        assert device.kernels == "vector"
    source = tmp_path / "edited" / "runtime" / "src" / "product" / "panel.c"
    source.write_text(source.read_text() + "/* edited */\n")
    with kt.open_build(tmp_path / "edited").open() as device:
        assert device.kernels == "portable"
    with pytest.raises(DeviceError, match="its runtime is not that of this kilotune"):
        kt.open_build(tmp_path / "edited").open(kernels="vector")


def test_options_are_checked(build: kt.Build) -> None:
    with pytest.raises(DeviceError, match="kernels: vector, portable"):
        build.open(kernels="fast")
    with pytest.raises(DeviceError, match="pass 1 or more"):
        build.open(threads=0)


def test_computers_that_share_a_cache_do_not_share_programs(build: kt.Build, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    monkeypatch.setattr(toolchain, "_link", lambda program, name: keys.append(program.key()))
    for flags in ((), ("-mavx2",)):
        monkeypatch.setattr(host_runtime, "machine_flags", lambda compiler, flags=flags: flags)
        toolchain.host_library(build.directory)
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("machine", "macro", "flags"),
    [
        ("x86_64", "__AVX2__", ("-mavx2",)),
        ("AMD64", "__SSE2__", ()),
        ("aarch64", "__ARM_FEATURE_DOTPROD", (host_runtime.DOT_PRODUCTS,)),
        ("arm64", "__ARM_FEATURE_DOTPROD", (host_runtime.DOT_PRODUCTS,)),
        ("arm64", "__ARM_NEON", ()),
        ("riscv64", "__AVX2__", ()),
    ],
)
def test_what_this_processor_has_is_asked_for(machine: str, macro: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(host_runtime, "_defined", lambda compiler, *flags: frozenset([f"#define {macro} 1"] if "-march=native" in flags else []))
    assert host_runtime.machine_flags.__wrapped__("gcc") == flags


def test_a_compiler_says_what_a_processor_with_dot_products_has(arm64: tuple[str, str]) -> None:
    assert "#define __ARM_FEATURE_DOTPROD 1" in host_runtime._defined(arm64[0], host_runtime.DOT_PRODUCTS)
    assert "#define __ARM_FEATURE_DOTPROD 1" not in host_runtime._defined(arm64[0])
