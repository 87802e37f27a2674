"""Instructions and cycles of the generated C, counted exactly under QEMU, beside what is known of others.

    make bench-speed                                                every model and core; writes docs/speed.md
    .venv/bin/python benchmarks/speed.py --model kws_dscnn --steps  one model, step by step

Cycles are those of the Cortex-M4 model of the counter: zero wait states, three cycles for a taken branch. No board was measured.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import kilotune as kt

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODELS = SHARED / "data" / "models"
CORES = {"m4": "cortex-m4", "m7": "cortex-m7", "m33": "cortex-m33", "m55": "cortex-m55"}
CALL = re.compile(r"^    (kt_\w+\((?:[^;]|\n)*?\);)", re.M)


@dataclass(frozen=True)
class Region:
    """What one marked stretch of code took; cycles on the Cortex-M4 only."""

    name: str
    instructions: int
    cycles: int | None


def counter() -> Any:
    """The instruction counter, loaded from where it lies."""
    spec = importlib.util.spec_from_file_location("rig", SHARED / "rig" / "rig.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.plugin()
    return module


def marked(source: str, functions: Sequence[str]) -> str:
    """The generated C with a region around every call of these functions."""
    for function in functions:
        start = source.index(f"kt_status {function}(")
        end = source.index("\n}\n", start)
        calls = iter(range(1, 1000))

        def region(match: re.Match[str], calls: Iterator[int] = calls, function: str = function) -> str:
            return f'    ROI_BEGIN("{function} {next(calls)}");\n    {match[1]}\n    ROI_END();'

        source = source[:start] + CALL.sub(region, source[start:end]) + source[end:]
    return '#include "rig.h"\n' + source


def main_source(build: kt.Build, whole: bool) -> str:
    """A program that infers, and trains where it can, twice: the second time counts."""
    m = build.manifest
    name, prefix, training = m["name"], m["prefix"], m["training"]
    begin, end = ('ROI_BEGIN("{}"); ', " ROI_END();") if whole else ("", "")

    def call(function: str, text: str) -> str:
        return f"        {begin.format(function)}{text}{end}\n"

    inputs = "".join(f"static int8_t in{i}[{_size(t)}];\n" for i, t in enumerate(m["inputs"]))
    given = ", ".join(f"in{i}" for i in range(len(m["inputs"])))
    body = call("infer", f"{name}_infer(&model, {given}, out);")
    if training:
        body += call("train_step", f"{name}_train_step(&model, {given}, &target, &loss);")
        body += call("apply", f"{name}_apply(&model);")
    fill = "".join(f"    for (unsigned i = 0; i < sizeof in{j}; i++) in{j}[i] = (int8_t)((seed = seed * 1664525u + 1013904223u) >> 24);\n" for j in range(len(m["inputs"])))
    arena = f"{prefix}_ARENA_BYTES_{'TRAIN' if training else 'INFER'}"
    return f"""#include "rig.h"
#include "{name}.h"
#include "kt/loss.h"
{inputs}static int8_t out[{_size(m["outputs"][0])}];
static uint64_t arena[({arena} + 15) / 8], state[({prefix}_STATE_BYTES + 15) / 8];
int main(void)
{{
    static {name}_model model;
    uint32_t seed = 1;
    kt_target target = {{0}};
    float loss = 0;
    (void)target; (void)loss;
{fill}    if ({name}_init(&model, arena, sizeof arena, state, sizeof state)) return 1;
    for (int round = 0; round < 2; round++) {{
{body}    }}
    return 0;
}}
"""


def _size(tensor: Mapping[str, Any]) -> int:
    size = 1
    for n in tensor["shape"]:
        size *= n
    return size


def counted(build: kt.Build, core: str, rig: Any, whole: bool) -> list[Region]:
    """Regions of the second round: the whole functions, or each of their steps."""
    m = build.manifest
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = (build.directory / f"{m['name']}.c").read_text()
        functions = [f"{m['name']}_{f}" for f in ("infer", *(("train_step",) if m["training"] else ()))]
        (folder / "model.c").write_text(source if whole else marked(source, functions))
        (folder / "main.c").write_text(main_source(build, whole))
        runtime = [str(build.directory / s) for s in m["sources"] if s.startswith("runtime/")]
        includes = [f"-I{build.directory / i}" for i in m["include"]]
        flags = ["-std=gnu99", "-ffp-contract=off", "-fno-common", *includes]
        elf = str(folder / "model.elf")
        if rig.link(core, ["-o", elf, *flags, str(folder / "main.c"), str(folder / "model.c"), *runtime]):
            raise click.ClickException(f"{m['name']} does not link for {core}")
        code, output, regions = rig.run(core, elf)
    if code:
        raise click.ClickException(f"{m['name']} on {core} ended with {code}: {output}")
    half = regions[len(regions) // 2 :]
    return [Region(r["roi"], r["insns"], r["m4_cycles_p2"] if core == "m4" else None) for r in half]


if __name__ == "__main__":
    import sys

    rig = counter()
    model = kt.load(MODELS / f"{sys.argv[1]}_int8.tflite")
    core = sys.argv[2]
    with tempfile.TemporaryDirectory() as d:
        build = kt.build(model, Path(d) / "b", target=CORES[core], measure=False)
        for whole in (True, False):
            for r in counted(build, core, rig, whole):
                print(r)
