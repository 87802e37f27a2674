"""The runtime under compilers and flags that are not the project's own: refused where bits would change, the same bits everywhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from gradients.graphs import residual

import kilotune as kt
from kiloc.cores import CORES
from kiloc.export import tflite
from kilotune import resources

from .board_programs import WARNINGS, linked, printed

TRAINING = Path(__file__).parent / "training.c"
RUNTIME = resources.runtime()
SOURCES = [str(source) for source in sorted((RUNTIME / "src").rglob("*.c")) if "monocypher.h" not in source.read_text()]
OWN = ("-std=c99", "-ffp-contract=off", "-O2")
"""What the project compiles with."""

LEVELS: dict[str, tuple[str, ...]] = {"O0": ("-O0",), "Os": ("-Os",), "O3": ("-O3",), "LTO": ("-O1", "-flto")}
UNSAFE = {
    "-ffast-math": "without -ffast-math",
    "-ffinite-math-only": "without -ffinite-math-only",
    "-funsafe-math-optimizations": "without -fassociative-math",
    "-fassociative-math -fno-signed-zeros -fno-trapping-math": "without -fassociative-math",
    "-freciprocal-math": "without -freciprocal-math",
    "-fno-signed-zeros": "without -fno-signed-zeros",
}
SAID_BY_CLANG = [("clang", flags) for flags in ("-ffast-math", "-ffinite-math-only")]
FLOAT_HEADERS = (
    "checked_values",
    "kernels/convolution",
    "kernels/depthwise",
    "kernels/gain",
    "kernels/parameter",
    "loss",
    "numerics",
    "optim",
    "random",
)
FUSED = r"\bvfn?m[as]\w*\.f32"
"""Instructions of an FPU that round a product and a sum once. VMLA and its like, which older ones have as well, round twice."""


def compiler(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} not found: on Debian, apt install {'gcc-arm-none-eabi' if 'arm' in name else name}")
    return path


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with float in all its parts (LoRA, biases, Adam), packed for the DSP extension, whose gradients take a trained path."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "model.tflite").write_bytes(tflite.write(residual()))
    method = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly("third")]
    options = {"method": method, "optimizer": kt.Adam(), "target": "cortex-m4", "name": "model", "measure": False}
    return kt.build(kt.load(folder / "model.tflite"), folder / "build", **options).directory


@pytest.fixture(scope="module")
def expected(build: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the session prints where the project's own flags compiled it."""
    program = tmp_path_factory.mktemp("expected") / "program"
    text = printed(linked([build], TRAINING, "posix", program, compiler("gcc"), OWN), "posix")
    assert text.startswith("status 00000000\n")
    return text


# ---- Flags that change what float arithmetic means ----


@pytest.mark.parametrize(("name", "flags"), [*((name, flags) for name in ("gcc", "arm-none-eabi-gcc") for flags in UNSAFE), *SAID_BY_CLANG])
def test_unsafe_flags_are_refused(name: str, flags: str, tmp_path: Path) -> None:
    """By every header with float arithmetic, or tests for NaN, in it or behind it."""
    command = [compiler(name), "-std=c99", "-O2", f"-I{RUNTIME / 'include'}", "-fsyntax-only"]
    for header in FLOAT_HEADERS:
        source = tmp_path / f"{header.replace('/', '_')}.c"
        source.write_text(f'#include "kt/{header}.h"\n')
        assert subprocess.run([*command, str(source)], check=False).returncode == 0
        done = subprocess.run([*command, *flags.split(), str(source)], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and f"build {UNSAFE[flags]}" in done.stderr, f"kt/{header}.h, {flags}: {done.stderr}"


def test_every_source_with_float_is_under_the_guard() -> None:
    """What a source includes, as the compiler resolves it. kt/model.h only declares: an application may include it under any flags."""
    for source in SOURCES:
        command = [compiler("gcc"), "-std=c99", f"-I{RUNTIME / 'include'}", "-M", source]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        read = [Path(name) for name in found if "/kt/" in name or "/src/" in name]
        code = "".join(path.read_text() for path in read if path.name != "model.h")
        names = [path.name for path in read]
        assert "strict_float.h" in names or not re.search(r"\b(float|double)\b", re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)), source


# ---- The same bits ----


def native_flags() -> tuple[str, ...]:
    """Flags with which this computer's gcc fuses a product and a sum where it may."""
    said = subprocess.run([compiler("gcc"), "-march=native", "-dM", "-E", "-"], input="", capture_output=True, text=True, check=True).stdout
    if "__FP_FAST_FMAF " not in said:
        pytest.skip("this processor has no FMA")
    return ("-march=native", "-O3")


@pytest.mark.parametrize("flags", ["-std=gnu99", "-std=c99 -ffp-contract=fast -flto"])
def test_a_processor_with_fma_gives_the_same_bits(flags: str, build: Path, expected: str, tmp_path: Path) -> None:
    program = linked([build], TRAINING, "posix", tmp_path / "program", compiler("gcc"), (*native_flags(), *flags.split()))
    assert printed(program, "posix") == expected


def test_clang_on_a_processor_with_fma_gives_the_same_bits(build: Path, expected: str, tmp_path: Path) -> None:
    """With all that no macro tells of but the contraction that it hides from pragmas."""
    flags = ("-std=c99", "-ffp-contract=on", "-fassociative-math", "-freciprocal-math", "-fno-signed-zeros", "-fno-trapping-math")
    program = linked([build], TRAINING, "posix", tmp_path / "program", compiler("clang"), (*native_flags(), *flags))
    assert printed(program, "posix") == expected


def test_no_core_fuses_a_product_and_a_sum(tmp_path: Path, arm_gcc: str) -> None:
    """Optimizers, losses and gradients of parameters, compiled as an embedded project would that knows nothing of contraction."""
    sources = [source for source in SOURCES if re.search(r"/optim/|/loss/|/(gain|bias|weight)_gradient", source)]
    flags = (*CORES["cortex-m4"].flags(), "-std=gnu11", "-O2", "-ffp-contract=fast", f"-I{RUNTIME / 'include'}")
    subprocess.run([arm_gcc, *flags, "-S", *sources], cwd=tmp_path, check=True)
    text = {path.stem: path.read_text() for path in tmp_path.glob("*.s")}
    assert sum("vmul.f32" in t for t in text.values()) > 10
    assert {name: re.findall(FUSED, t)[:3] for name, t in text.items() if re.search(FUSED, t)} == {}


@pytest.mark.parametrize(("name", "level"), [*(("gcc", level) for level in LEVELS), ("clang", "O0"), ("clang", "O3")])
def test_every_level_of_optimisation_gives_the_same_bits(name: str, level: str, build: Path, expected: str, tmp_path: Path) -> None:
    program = linked([build], TRAINING, "posix", tmp_path / "program", compiler(name), ("-std=c99", *LEVELS[level]))
    assert printed(program, "posix") == expected


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board", "level"),
    [("microbit-1m", "O0"), ("mps2-an385", "Os"), ("mps2-an386", "O0"), ("mps2-an386", "LTO"), ("mps2-an500", "O3"), ("mps2-an505", "O0"),
     ("mps3-an547", "O0"), ("mps3-an547", "LTO")],
)  # fmt: skip
def test_cores_at_every_level_of_optimisation(board: str, level: str, build: Path, expected: str, tmp_path: Path, qemu: str) -> None:
    program = linked([build], TRAINING, board, tmp_path / "program", compiler("arm-none-eabi-gcc"), ("-std=c99", *LEVELS[level]))
    assert printed(program, board) == expected


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_every_kernel_compiles_without_optimisation(core: str, tmp_path: Path, arm_gcc: str) -> None:
    flags = (*CORES[core].flags(), "-std=c99", "-O0", *WARNINGS, f"-I{RUNTIME / 'include'}")
    done = subprocess.run([arm_gcc, *flags, "-c", *SOURCES], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
