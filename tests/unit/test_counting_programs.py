"""The programs that count instructions compile with what a build directory holds, whether the model is trained or not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import speed
from golden.reference import tiny

import kilotune as kt
from kiloc.export import tflite

FLAGS = ("-std=gnu99", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
COUNTER = "#include <stdint.h>\n#define ROI_BEGIN(name) (void)name\n#define ROI_END() (void)0\n"


@pytest.mark.parametrize("method", [None, kt.BiasOnly()])
@pytest.mark.parametrize("whole", [True, False])
def test_programs_that_count_compile(method: kt.BiasOnly | None, whole: bool, tmp_path: Path) -> None:
    model = tmp_path / "tiny.tflite"
    model.write_bytes(tflite.write(tiny()))
    build = kt.build(kt.load(model), tmp_path / "build", method=method, measure=False)
    name = build.manifest["name"]
    functions = [f"{name}_infer", *([f"{name}_train_step"] if method else [])]
    source = (build.directory / f"{name}.c").read_text()
    marked = speed.marked(source, functions)
    assert marked.count("ROI_BEGIN") >= len(functions)
    (tmp_path / "rig.h").write_text(COUNTER)
    (tmp_path / "main.c").write_text(speed.main_source(build, whole))
    (tmp_path / "marked.c").write_text(marked)
    folders = [f"-I{build.directory / folder}" for folder in build.manifest["include"]]
    for file in ("main.c", "marked.c"):
        command = ["gcc", *FLAGS, "-fsyntax-only", f"-I{tmp_path}", *folders, str(tmp_path / file)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
