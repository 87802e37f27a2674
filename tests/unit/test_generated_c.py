"""The generated C by itself: it compiles under strict warnings, asks nothing of a system, and keeps to its memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy.programs import compiled
from golden.reference import image, tiny
from gradients.graphs import every_operator, residual

import kilotune as kt
from kiloc.cores import CORES, WITHOUT_DSP
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.peft import Method
from kilotune import compilers
from kilotune.devices.manifest import Manifest

CASES: dict[str, tuple[Callable[[], Graph], Method | list[Method] | None, str, float]] = {
    "infer": (image, None, "cross_entropy", 0.0),
    "bias": (residual, kt.BiasOnly(), "cross_entropy", 0.9),
    "head": (tiny, kt.Head(), "cross_entropy", 0.0),
    "lora": (residual, [kt.LoRA(rank=2, layers="all"), kt.BiasOnly("third")], "cross_entropy", 0.9),
    "mse": (image, [kt.BiasOnly(), kt.Head()], "mse", 0.0),
    "all_operators": (every_operator, [kt.LoRA(rank=3, layers="all"), kt.BiasOnly()], "cross_entropy", 0.0),
}
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Wvla", "-pedantic", "-Werror", "-ffp-contract=off")
FREESTANDING = {"memcpy", "memset", "memcmp", "memmove"}
"""What a compiler may call in code without a library, and every firmware has."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """built("lora"): the build directory of a case, made once."""
    folder, made = tmp_path_factory.mktemp("builds"), {}

    def build(case: str) -> Path:
        if case not in made:
            make, method, loss, momentum = CASES[case]
            # Through a file where the format can hold the graph, else as it is: the file is only named in comments.
            graph, path = make(), folder / f"{case}.tflite"
            path.write_bytes(tflite.write(image() if case == "all_operators" else graph))
            model = kt.Model(path, graph) if case == "all_operators" else kt.load(path)
            made[case] = kt.build(model, folder / case, method=method, optimizer=kt.SGD(momentum=momentum), loss=loss, name=case).directory
        return made[case]

    return build


def run(*command: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def portable(target: str) -> list[str]:
    """What lets a core without the DSP extension take a build for another one."""
    return ["-DKT_PORTABLE"] if CORES[target].kernels in WITHOUT_DSP else []


def includes(folder: Path) -> list[str]:
    return [f"-I{folder}", f"-I{folder / 'runtime/include'}"]


@pytest.mark.parametrize("case", CASES)
def test_strict_warnings_of_the_host_compiler(case: str, built: Callable[[str], Path], tmp_path: Path) -> None:
    folder = built(case)
    for source in (f"{case}.c", f"{case}_interface.c"):
        run("gcc", *STRICT, "-O2", *includes(folder), "-c", folder / source, "-o", tmp_path / "out.o")


def cross_compiler(target: str, request: pytest.FixtureRequest) -> list[str]:
    """With what it needs to find its C library."""
    program = request.getfixturevalue("riscv_gcc" if CORES[target].family == "riscv" else "arm_gcc")
    return [str(program), *compilers.library_flags(target)]


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus", "rv32imc"])
@pytest.mark.parametrize("case", ["infer", "mse", "lora"])
def test_strict_warnings_of_the_cross_compiler(
    case: str, target: str, built: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, compiler = built(case), cross_compiler(target, request)
    for source in (f"{case}.c", f"{case}_interface.c"):
        flags = (*CORES[target].flags(), *portable(target), *STRICT, "-Os", *includes(folder))
        run(*compiler, *flags, "-c", folder / source, "-o", tmp_path / "out.o")


@pytest.mark.parametrize("case", ["infer", "lora", "mse"])
def test_header_in_cxx(case: str, built: Callable[[str], Path], tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ not found: on Debian, apt install g++")
    folder, source = built(case), tmp_path / "use.cpp"
    source.write_text(f'#include "{case}.h"\nint main() {{ return {case}_interface.model_bytes == sizeof({case}_model) ? 0 : 1; }}\n')
    run("g++", "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", *includes(folder), "-c", source, "-o", tmp_path / "use.o")


def test_a_buffer_that_is_too_small_is_a_warning(built: Callable[[str], Path], tmp_path: Path) -> None:
    """The signature names the sizes, which GCC 11 and later hold against what a call passes."""
    if int(run("gcc", "-dumpversion").split(".")[0]) < 11:
        pytest.skip("GCC before 11 does not compare the sizes of arrays")
    folder, source = built("infer"), tmp_path / "use.c"
    text = '#include "infer.h"\nint8_t in[INFER_INPUT_BYTES], out[INFER_OUTPUT_BYTES - {}];\n'
    text += "int use(infer_model *m) {{ return infer_infer(m, in, out); }}\n"
    for missing in (0, 1):
        source.write_text(text.format(missing))
        done = subprocess.run(
            ["gcc", *STRICT, "-O2", *includes(folder), "-c", str(source), "-o", str(tmp_path / "use.o")], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (missing == 0), done.stderr
    assert "stringop-overflow" in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_lines_are_short_and_the_file_is_clean(case: str, built: Callable[[str], Path]) -> None:
    for path in built(case).glob("*.[ch]"):
        text = path.read_text()
        assert text.endswith("\n") and "\t" not in text and "\n\n\n" not in text, path.name
        assert [line for line in text.splitlines() if len(line) > 120 or line != line.rstrip()] == [], path.name


def test_the_longest_name_breaks_lines_between_arguments(tmp_path: Path) -> None:
    graph, name = residual(), "a_model_with_a_name_of_forty_characters_"
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    folder = kt.build(kt.load(tmp_path / "model.tflite"), tmp_path / "b", method=[kt.LoRA(layers="all", rank=2), kt.BiasOnly()], name=name).directory
    code = [line for path in folder.glob("*.[ch]") for line in path.read_text().splitlines() if not line.lstrip().startswith(("/*", "*", "#"))]
    assert [line for line in code if len(line) > 120] == []
    for source in (f"{name}.c", f"{name}_interface.c"):
        run("gcc", *STRICT, *includes(folder), "-c", folder / source, "-o", tmp_path / "out.o")


def test_a_build_says_its_core_where_the_compiler_does_not(tmp_path: Path, arm_gcc: str) -> None:
    """Loads of two words on the Cortex-M7 alone, whose compiler defines what the Cortex-M4's does."""
    (tmp_path / "model.tflite").write_bytes(tflite.write(residual()))
    for target in ("cortex-m4", "cortex-m7"):
        folder = kt.build(kt.load(tmp_path / "model.tflite"), tmp_path / target, method=kt.BiasOnly(), target=target, name="model").directory
        command = (arm_gcc, *CORES[target].flags(), f"-I{folder / 'runtime/include'}", "-S", "-o", "-")
        text = run(*command, folder / "runtime/src/product/dsp/gradient.c")
        assert ("ldrd r0, r1" in text) == (target == "cortex-m7")


# ---- What the program needs ----


def undefined(compiler: str, nm: str, flags: tuple[str, ...], folder: Path, scratch: Path) -> set[str]:
    """Names that model and runtime ask of the program that they are linked into."""
    objects = []
    for i, source in enumerate(Manifest.load(folder).sources):
        objects.append(scratch / f"{i}.o")
        run(compiler, *flags, *includes(folder), "-c", folder / source, "-o", objects[-1])
    symbols = [line.rsplit(maxsplit=2) for line in run(nm, "-P", "--format=bsd", *objects).splitlines() if re.search(r" [A-Za-z] \w+$", line)]
    wanted = {name for *_, kind, name in symbols if kind in "Uw"}
    defined = {name for *_, kind, name in symbols if kind not in "Uw"}
    assert defined
    return wanted - defined


@pytest.mark.parametrize("case", ["all_operators", "mse"])
def test_no_allocation_no_system_no_mathematics_library(case: str, built: Callable[[str], Path], tmp_path: Path) -> None:
    flags = ("-std=c99", "-O1", "-fno-pic", "-fno-stack-protector")
    assert undefined("gcc", "nm", flags, built(case), tmp_path) <= FREESTANDING


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus"])
def test_the_cross_compiler_adds_only_its_own_helpers(target: str, built: Callable[[str], Path], tmp_path: Path, arm_gcc: str) -> None:
    flags = (*CORES[target].flags(), *portable(target), "-std=c99", "-O1", "-ffp-contract=off")
    found = undefined(arm_gcc, "arm-none-eabi-nm", flags, built("all_operators"), tmp_path) - FREESTANDING
    assert {name for name in found if not name.startswith(("__aeabi_", "__gnu_thumb1_case_"))} == set()
    assert {name for name in found if re.match(r"__aeabi_(d|[fil]+2d)", name)} == set(), "double precision is emulated on every core"


def test_a_call_of_the_system_is_noticed(built: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(built("head"), tmp_path / "build")
    path = folder / "head.c"
    path.write_text(path.read_text().replace("#include <string.h>", "#include <string.h>\n#include <math.h>\nfloat x(float v) { return sqrtf(v); }"))
    found = undefined("gcc", "nm", ("-std=c99", "-O1", "-fno-pic", "-fno-stack-protector"), folder, tmp_path)
    assert found - FREESTANDING == {"sqrtf"}


@pytest.mark.parametrize("case", ["infer", "lora"])
def test_sizes_are_numbers_of_the_preprocessor(case: str, built: Callable[[str], Path], tmp_path: Path) -> None:
    folder, manifest, source, name = built(case), Manifest.load(built(case)), tmp_path / "sizes.c", case.upper()
    sizes = {"ARENA_BYTES_INFER": manifest.arena_infer, "STATE_BYTES": manifest.state_bytes, "INPUT_BYTES": manifest.input_bytes}
    sizes["OUTPUT_BYTES"] = manifest.output_bytes
    if manifest.training:
        sizes |= {"ARENA_BYTES_TRAIN": manifest.arena_train, "ADAPTER_BYTES": manifest.adapter_bytes, "CLASSES": manifest.classes or 0}
    checks = "\n".join(f"#if {name}_{key} != {value}\n#error {key}\n#endif" for key, value in sizes.items())
    source.write_text(f'#include "{case}.h"\n{checks}\nint main(void) {{ return 0; }}\n')
    run("gcc", "-std=c99", "-Wundef", "-Werror", *includes(folder), "-c", source, "-o", tmp_path / "sizes.o")


def test_a_core_without_the_instructions_is_an_error_of_the_compiler(built: Callable[[str], Path], tmp_path: Path, arm_gcc: str) -> None:
    source, command = built("lora") / "lora.c", [arm_gcc, *CORES["cortex-m3"].flags(), "-std=c99", *includes(built("lora"))]
    done = subprocess.run([*command, "-c", str(source), "-o", str(tmp_path / "x.o")], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "which this one lacks" in done.stderr and "--target" in done.stderr
    run(*command, *portable("cortex-m3"), "-c", source, "-o", tmp_path / "x.o")
    own = kt.build(kt.load(built("lora").parent / "lora.tflite"), tmp_path / "own", target="cortex-m3", name="own", measure=False).directory
    run(arm_gcc, *CORES["cortex-m3"].flags(), "-std=c99", *includes(own), "-c", own / "own.c", "-o", tmp_path / "x.o")


def test_another_runtime_is_an_error_of_the_compiler(built: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(built("head"), tmp_path / "build")
    header = folder / "runtime/include/kt/model.h"
    header.write_text(re.sub(r"#define KT_ABI \d+", "#define KT_ABI 999", header.read_text()))
    command = ["gcc", *includes(folder), "-c", str(folder / "head.c"), "-o", str(tmp_path / "x.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "build it again" in done.stderr


# ---- What it does with its memory ----

PROGRAM = r"""
#include "NAME.h"
#include "kt/adapter.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); return 1; } } while (0)

static void *exact(size_t bytes)
{
    void *p = malloc(bytes); /* not a byte more: the sanitizer sees every access beyond */
    memset(p, 0xa5, bytes);
    return p;
}

static uint32_t seed = 1;
static uint8_t noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint8_t)(seed >> 24);
}

static void *random_bytes(size_t bytes)
{
    uint8_t *p = exact(bytes);
    size_t i;
    for (i = 0; i < bytes; i++) p[i] = noise();
    return p;
}

int main(void)
{
    NAME_model m, other;
    uint8_t *const small = exact(PREFIX_ARENA_BYTES_INFER);
    uint8_t *const shifted = exact(PREFIX_ARENA_BYTES_INFER + 8);
    uint8_t *const state = exact(PREFIX_STATE_BYTES);
    int8_t *const x = random_bytes(PREFIX_INPUT_BYTES), *const y = exact(PREFIX_OUTPUT_BYTES), *const z = exact(PREFIX_OUTPUT_BYTES);
    CHECK(NAME_init(&m, NULL, PREFIX_ARENA_BYTES_INFER, state, PREFIX_STATE_BYTES) == KT_ERROR_ARENA);
    CHECK(NAME_init(&m, small, PREFIX_ARENA_BYTES_INFER - 1, state, PREFIX_STATE_BYTES) == KT_ERROR_ARENA);
    CHECK(NAME_init(&m, shifted + 4, PREFIX_ARENA_BYTES_INFER, state, PREFIX_STATE_BYTES) == KT_ERROR_ARENA);
    CHECK(NAME_init(&m, small, PREFIX_ARENA_BYTES_INFER, state, PREFIX_STATE_BYTES) == KT_OK);
    CHECK(NAME_infer(&m, x, y) == KT_OK);
#ifdef PREFIX_ARENA_BYTES_TRAIN
    {
        uint8_t *const arena = exact(PREFIX_ARENA_BYTES_TRAIN), *const second = exact(PREFIX_STATE_BYTES);
        uint8_t *const adapter = exact(PREFIX_ADAPTER_BYTES), *const before = exact(PREFIX_STATE_BYTES);
        kt_target target = {0, NULL};
        size_t i, flip;
        int step;
        float loss = -1.0f;
#ifdef PREFIX_TARGET_VALUES
        float *const values = exact(sizeof(float) * PREFIX_TARGET_VALUES);
        for (i = 0; i < PREFIX_TARGET_VALUES; i++) values[i] = (float)i;
        target.values = values;
#endif
        CHECK(NAME_init(&m, small, PREFIX_ARENA_BYTES_INFER, NULL, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
        CHECK(NAME_init(&m, small, PREFIX_ARENA_BYTES_INFER, state, PREFIX_STATE_BYTES - 1) == KT_ERROR_STATE);
        CHECK(NAME_init(&m, small, PREFIX_ARENA_BYTES_INFER, state + 4, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
        {
            /* One block for both: the state below the arena, then above it, apart by nothing or sharing a word. */
            const size_t state_end = (PREFIX_STATE_BYTES + 7) / 8 * 8, arena_end = (PREFIX_ARENA_BYTES_TRAIN + 7) / 8 * 8;
            uint8_t *const block = malloc(state_end + arena_end);
            CHECK(NAME_init(&m, block, PREFIX_ARENA_BYTES_TRAIN, block, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
            CHECK(NAME_init(&m, block + state_end - 8, PREFIX_ARENA_BYTES_TRAIN, block, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
            CHECK(NAME_init(&m, block, PREFIX_ARENA_BYTES_TRAIN, block + arena_end - 8, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
            CHECK(NAME_init(&m, block + state_end, PREFIX_ARENA_BYTES_TRAIN, block, PREFIX_STATE_BYTES) == KT_OK);
            CHECK(NAME_init(&m, block, PREFIX_ARENA_BYTES_TRAIN, block + arena_end, PREFIX_STATE_BYTES) == KT_OK);
            CHECK(NAME_resume(&m, block, PREFIX_ARENA_BYTES_TRAIN, block + arena_end - 8, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
            CHECK(NAME_resume(&m, block, SIZE_MAX, block + arena_end, PREFIX_STATE_BYTES) == KT_OK);
            free(block);
        }
        CHECK(NAME_init(&m, small, PREFIX_ARENA_BYTES_INFER, state, PREFIX_STATE_BYTES) == KT_OK);
        if (PREFIX_ARENA_BYTES_INFER < PREFIX_ARENA_BYTES_TRAIN)
            CHECK(NAME_train_step(&m, x, &target, &loss) == KT_ERROR_ARENA);
        CHECK(NAME_resume(&m, arena, PREFIX_ARENA_BYTES_TRAIN, second, PREFIX_STATE_BYTES) == KT_ERROR_STATE);
        CHECK(NAME_init(&other, arena, PREFIX_ARENA_BYTES_TRAIN, second, PREFIX_STATE_BYTES) == KT_OK);
        CHECK(NAME_resume(&m, arena, PREFIX_ARENA_BYTES_TRAIN, state, PREFIX_STATE_BYTES) == KT_OK);

        memcpy(before, state, PREFIX_STATE_BYTES);
        CHECK(NAME_apply(&m) == KT_ERROR_NOT_TRAINED);
        CHECK(NAME_set_learning_rate(&m, NAN) != KT_OK && NAME_set_learning_rate(&m, -1.0f) != KT_OK);
        CHECK(NAME_set_learning_rate(&m, INFINITY) != KT_OK);
#ifdef PREFIX_CLASSES
        target.label = -1;
        CHECK(NAME_train_step(&m, x, &target, &loss) == KT_ERROR_LABEL);
        target.label = PREFIX_CLASSES;
        CHECK(NAME_train_step(&m, x, &target, &loss) == KT_ERROR_LABEL);
#else
        values[PREFIX_TARGET_VALUES - 1] = NAN;
        CHECK(NAME_train_step(&m, x, &target, &loss) == KT_ERROR_LOSS);
        values[PREFIX_TARGET_VALUES - 1] = INFINITY;
        CHECK(NAME_train_step(&m, x, &target, &loss) == KT_ERROR_LOSS);
        values[PREFIX_TARGET_VALUES - 1] = 1.0f;
#endif
        CHECK(loss == -1.0f && memcmp(before, state, PREFIX_STATE_BYTES) == 0);

        for (step = 0; step < 5; step++) {
#ifdef PREFIX_CLASSES
            target.label = step % PREFIX_CLASSES;
#endif
            for (i = 0; i < PREFIX_INPUT_BYTES; i++) x[i] = (int8_t)noise();
            CHECK(NAME_train_step(&m, x, &target, step ? &loss : NULL) == KT_OK);
            CHECK(NAME_apply(&m) == KT_OK);
        }
        CHECK(loss > 0.0f && isfinite(loss) && memcmp(before, state, PREFIX_STATE_BYTES) != 0);

        const size_t bytes = kt_adapter_bytes(&NAME_adapter_layout), start = KT_ADAPTER_PAYLOAD(NAME_adapter_layout.table_bytes);
        CHECK(bytes + KT_ADAPTER_DIGEST + KT_ADAPTER_SIGNATURE == PREFIX_ADAPTER_BYTES);
        CHECK(NAME_adapter_export(&m, adapter, bytes - 1) == 0 && NAME_adapter_export(&m, NULL, 99999) == 0);
        CHECK(NAME_adapter_export(&m, adapter, bytes) == bytes);
        memcpy(before, second, PREFIX_STATE_BYTES);
        for (i = 0; i < bytes; i++) {
            for (flip = 1; flip < 256; flip = flip * 2 + (flip == 128)) {
                adapter[i] ^= (uint8_t)flip;
                CHECK(NAME_adapter_load(&other, adapter, bytes) == (i == 4 || i == 5 ? KT_ERROR_VERSION : KT_ERROR_ADAPTER));
                adapter[i] ^= (uint8_t)flip;
            }
            CHECK(NAME_adapter_load(&other, adapter, i) == KT_ERROR_ADAPTER);
        }
        CHECK(NAME_adapter_load(&other, NULL, bytes) == KT_ERROR_ADAPTER);
        CHECK(memcmp(before, second, PREFIX_STATE_BYTES) == 0);
        CHECK(NAME_adapter_load(&other, adapter, bytes) == KT_OK);
        CHECK(NAME_infer(&m, x, y) == KT_OK && NAME_infer(&other, x, z) == KT_OK && memcmp(y, z, PREFIX_OUTPUT_BYTES) == 0);

        /* A payload of noise under a true seal: whatever it computes, it stays within its memory and within C. */
        for (step = 0; step < 200; step++) {
            for (i = 0; i < PREFIX_VALUES_BYTES; i++) adapter[start + i] = noise();
            CHECK(kt_adapter_seal(adapter, &NAME_adapter_layout) == bytes && NAME_adapter_load(&other, adapter, bytes) == KT_OK);
            CHECK(NAME_infer(&other, x, z) == KT_OK);
            CHECK(NAME_train_step(&other, x, &target, &loss) == KT_OK && NAME_apply(&other) == KT_OK);
        }
        free(arena), free(second), free(adapter), free(before);
#ifdef PREFIX_TARGET_VALUES
        free(values);
#endif
    }
#else
    CHECK(NAME_init(&other, small, PREFIX_ARENA_BYTES_INFER, NULL, 0) == KT_OK && NAME_infer(&other, x, z) == KT_OK);
    CHECK(memcmp(y, z, PREFIX_OUTPUT_BYTES) == 0);
#endif
    free(small), free(shifted), free(state), free(x), free(y), free(z);
    puts("passed");
    return 0;
}
"""


@pytest.mark.parametrize("case", CASES)
def test_memory_is_kept_to_the_byte(case: str, built: Callable[[str], Path], tmp_path: Path) -> None:
    program = compiled(kt.open_build(built(case)), PROGRAM.replace("NAME", case).replace("PREFIX", case.upper()), tmp_path, ("-w",))
    assert run(program) == "passed\n"
