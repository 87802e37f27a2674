"""A library for Arduino: its layout by the rules of the specification, built by Arduino's own tool, its sketch run on this computer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kilotune.building import Build
from kilotune.packages import package

from .builds import HOST, NAMES, run, sensor

CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage", "Data Processing", "Other",
}  # fmt: skip
CORE = Path(__file__).parent / "arduino_core"
SKETCH = ("-std=gnu++11", "-O1", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror")


@pytest.fixture
def library(build: Build, tmp_path: Path) -> Path:
    return package(build, "arduino", tmp_path / f"kilotune_{build.manifest['name']}", author="Ann Example <ann@example.org>", license="MIT")


def properties(library: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (library / "library.properties").read_text().splitlines())


def test_layout(library: Path) -> None:
    """https://arduino.github.io/arduino-cli/latest/library-specification"""
    said = properties(library)
    assert re.fullmatch(r"[A-Za-z][\w .-]{0,62}", said["name"]) and not said["name"].lower().startswith("arduino")
    assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"]) and said["category"] in CATEGORIES and said["architectures"] == "*"
    assert said["license"] == "Apache-2.0 AND MIT" and said["author"] == said["maintainer"] == "Ann Example <ann@example.org>"
    assert all(said[key] for key in ("sentence", "paragraph", "url"))
    assert (library / "src" / said["includes"]).is_file()
    assert (
        not [p for p in library.iterdir() if p.suffix in (".c", ".h", ".cpp")] and not (library / "utility").exists()
    )  # beside src/ they are the layout of version 1.0
    sketches = list((library / "examples").rglob("*.ino"))
    assert [s.stem for s in sketches] == [s.parent.name for s in sketches] and len(sketches) == 1
    assert "Apache License" in (library / "LICENSE").read_text()


def test_every_inclusion_is_found_from_one_folder(library: Path) -> None:
    source = library / "src"
    for file in source.rglob("*.[ch]"):
        for name in re.findall(r'^#include "([^"]+)"', file.read_text(), re.MULTILINE):
            assert (file.parent / name).is_file() or (source / name).is_file(), f"{file}: {name}"


def test_the_sketch_runs(library: Path, build: Build, tmp_path: Path) -> None:
    """With a serial port that is this process: what it says is what Python computes from the same values."""
    if shutil.which("g++") is None:
        pytest.skip("g++ not found: on Debian, apt install g++")
    includes = [f"-I{library / 'src'}", f"-I{CORE}"]
    objects = tmp_path / "objects"
    objects.mkdir()
    for i, source in enumerate((library / "src").rglob("*.c")):
        run("gcc", *HOST, *includes, "-c", source, "-o", objects / f"{i}.o")
    sketch = next(library.rglob("*.ino"))
    (tmp_path / "sketch.cpp").write_text(f'#include <Arduino.h>\n#line 1 "{sketch.name}"\n{sketch.read_text()}')
    run("g++", *SKETCH, *includes, "-c", tmp_path / "sketch.cpp", "-o", objects / "sketch.o")
    run("g++", *SKETCH, *includes, CORE / "main.cpp", *objects.glob("*.o"), "-o", tmp_path / "program")
    x = sensor(build)
    values = " ".join(f"{v:.9g}" for v in x.ravel())
    labels = build.manifest["targets"] == "labels"
    target = np.zeros(int(np.prod(build.manifest["outputs"][0]["shape"])), np.float32)
    learning = f"l 7 {values}\n" if labels else f"l {' '.join(map(str, target))} {values}\n"
    lines = ["ready"]
    with build.open("host") as host:

        def said() -> str:
            q = host.infer(x).ravel()
            t = build.manifest["outputs"][0]
            real = (q.astype(np.float32) - np.float32(t["zero_point"])) * np.float32(t["scale"])
            best = int(np.argmax(q))
            return f"{NAMES[best]} {real[best]:.4f}" if labels else " ".join(f"{v:.4f}" for v in real)

        lines.append(said())
        text = f"c {values}\n"
        if build.manifest["training"]:
            loss = host.train_step(x[0], 7 if labels else target)
            host.apply()
            lines += [f"loss {loss:.4f}", said()]
            text += learning + f"c {values}\n"
    assert [line.strip() for line in run(tmp_path / "program", text=text).splitlines()] == lines


def test_arduinos_own_tool_builds_it(library: Path, tmp_path: Path, arm_gcc: str) -> None:
    """It finds the library by the header that the sketch includes, compiles all of src/ with the flags of its cores, and links."""
    tool, tags = shutil.which("arduino-builder"), shutil.which("arduino-ctags")
    if tool is None or tags is None:
        pytest.skip("arduino-builder not found: on Debian, apt install arduino-builder")
    hardware = tmp_path / "hardware/kilotune/arm"
    shutil.copytree(CORE, hardware / "cores/stub")
    (hardware / "boards.txt").write_text("m4.name=M4\nm4.build.core=stub\nm4.build.mcu=cortex-m4\nm4.build.board=M4\n")
    flags = "-mcpu={build.mcu} -mthumb -Os {includes}"
    object_file = '"{source_file}" -o "{object_file}"'
    preprocessed = f'recipe.preproc.macros="arm-none-eabi-g++" {flags} -w -x c++ -E -CC "{{source_file}}" -o "{{preprocessed_file_path}}"'
    (hardware / "platform.txt").write_text(
        f'name=stub\nversion=1.0.0\nrecipe.c.o.pattern="{arm_gcc}" {flags} -c -std=gnu11 {object_file}\n'
        f'recipe.cpp.o.pattern="arm-none-eabi-g++" {flags} -c -std=gnu++11 -fno-exceptions -fno-rtti {object_file}\n'
        f"{preprocessed}\nrecipe.preproc.includes=\n"
        f'recipe.ar.pattern="arm-none-eabi-ar" rcs "{{archive_file_path}}" "{{object_file}}"\n'
        f'recipe.c.combine.pattern="{arm_gcc}" -mcpu={{build.mcu}} -mthumb -Wl,--gc-sections --specs=nosys.specs'
        ' -o "{build.path}/{build.project_name}.elf" {object_files} "{archive_file_path}"\n'
        f'tools.ctags.pattern="{tags}" -u --language-force=c++ -f - --c++-kinds=svpf --fields=KSTtzns --line-directives "{{source_file}}"\n'
    )
    made = tmp_path / "made"
    made.mkdir()
    sketch = next(library.rglob("*.ino"))
    options = ("-hardware", tmp_path / "hardware", "-tools", "/usr/bin", "-libraries", library.parent, "-fqbn", "kilotune:arm:m4")
    run(tool, "-compile", *options, "-build-path", made, sketch)
    assert (made / f"{sketch.name}.elf").stat().st_size > 10000
    compiled = {p.relative_to(made / "libraries" / library.name).as_posix().removesuffix(".o") for p in made.rglob("libraries/**/*.o")}
    assert compiled == {p.relative_to(library / "src").as_posix() for p in (library / "src").rglob("*.c")}
