"""What a user installs is what the repository holds: wheel and source distribution, built and tried out.

Packaging loses files silently: a suffix nobody listed, a folder without __init__.py. So the archives are compared with
the tracked files, and the wheel is installed where nothing of the checkout can be found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiloc.cores import CORES, TARGETS
from kilotune import compilers

ROOT = Path(__file__).resolve().parents[2]

INSTALLED_AS = {
    "codegen/kiloc": "kiloc",
    "python/kilotune": "kilotune",
    "runtime": "kilotune/_data/runtime",
    "boards": "kilotune/_data/boards",
    "examples/agent": "kilotune/_data/agent",
    "renode": "kilotune/_data/renode",
    "cmake": "kilotune/_data/cmake",
    "examples/digits": "kilotune/_data/digits",
    "examples/own_firmware": "kilotune/_data/own_firmware",
}
"""Folder of the repository -> folder of the wheel."""


def run(command: Sequence[str | Path], cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def tracked_files() -> list[str]:
    """What a commit would hold: also files that are new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("packages are compared with the files of a git repository, and this is none")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# ---- The archives ----


@dataclass(frozen=True)
class Built:
    """The archives of the tracked files."""

    tracked: list[str]
    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    tracked = tracked_files()
    folder = tmp_path_factory.mktemp("packaging")
    for name in tracked:
        target = folder / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    # A cache of bytecode and an editor's backup must not get in.
    (folder / "clone" / "runtime" / "src" / "kept.c~").write_text("old")
    (folder / "clone" / "codegen" / "kiloc" / "__pycache__").mkdir()
    (folder / "clone" / "codegen" / "kiloc" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"old")

    build = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"]
    run([*build, "--wheel", "--outdir", folder / "wheel", folder / "clone"], folder)
    # Without a choice, `build` makes the source distribution and then the wheel from that.
    run([*build, "--outdir", folder / "sdist", folder / "clone"], folder)
    (wheel,) = (folder / "wheel").glob("*.whl")
    (sdist,) = (folder / "sdist").glob("*.tar.gz")
    (wheel_of_sdist,) = (folder / "sdist").glob("*.whl")
    return Built(tracked, wheel, sdist, wheel_of_sdist)


def expected_in_wheel(tracked: Sequence[str]) -> set[str]:
    return {
        f"{target}/{name.removeprefix(folder + '/')}"
        for name in tracked
        for folder, target in INSTALLED_AS.items()
        if name.startswith(f"{folder}/") and not Path(name).name.startswith(".")  # what git and editors read
    }


def files_of_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/") and ".dist-info/" not in name}


def test_wheel_holds_every_tracked_file_and_nothing_else(built: Built) -> None:
    expected, found = expected_in_wheel(built.tracked), files_of_wheel(built.wheel)
    assert len(expected) > 100
    assert sorted(expected - found) == [], "missing in the wheel"
    assert sorted(found - expected) == [], "not tracked, but in the wheel"


def test_wheel_of_sdist_is_the_same(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as direct, zipfile.ZipFile(built.wheel_of_sdist) as indirect:
        names = files_of_wheel(built.wheel)
        assert names == files_of_wheel(built.wheel_of_sdist)
        assert [name for name in sorted(names) if direct.read(name) != indirect.read(name)] == []


def test_sdist_holds_every_tracked_file(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    expected = {name for name in built.tracked if not name.startswith(".")}
    assert sorted(expected - found) == [], "missing in the source distribution: MANIFEST.in does not name their folder"
    made = {name for name in found - expected if "egg-info/" not in name}
    assert made == {"PKG-INFO", "setup.cfg"}


def test_version_is_written_once(built: Built) -> None:
    namespace: dict[str, str] = {}
    exec((ROOT / "python" / "kilotune" / "_version.py").read_text(encoding="utf-8"), namespace)
    version = namespace["__version__"]
    assert built.wheel.name == f"kilotune-{version}-py3-none-any.whl"
    assert built.sdist.name == f"kilotune-{version}.tar.gz"


def test_readme_is_the_description(built: Built) -> None:
    """A README that is not found costs only a warning when building."""
    with zipfile.ZipFile(built.wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers, _, description = archive.read(metadata).decode().partition("\n\n")
    assert "Description-Content-Type: text/markdown" in headers
    assert description.strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


# ---- The wheel, installed ----


@dataclass(frozen=True)
class Installed:
    """A fresh environment with the wheel. It sees the dependencies of the running Python, and not the checkout."""

    bin: Path
    packages: Path
    cwd: Path

    def python(self, code: str) -> str:
        return run([self.bin / "python", "-c", code], self.cwd)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", symlinks=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # Packages in the folders of a .pth file are found, but the .pth files in them, an editable install's, are not read.
    folders = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    (packages / "dependencies.pth").write_text("\n".join(sorted(folders)) + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(folder / "venv" / "bin" / "python")]
    run([*pip, "install", "--no-deps", "--no-index", "--ignore-installed", built.wheel], folder)
    return Installed(folder / "venv" / "bin", packages, folder)


def test_installed_package_finds_its_files(installed: Installed) -> None:
    found = "r.runtime(), r.boards(), r.agent(), r.renode()"
    code = f"import kilotune, kiloc; from kilotune import resources as r; print(kilotune.__file__, kiloc.__file__, {found})"
    package, compiler, *data = map(Path, installed.python(code).split())
    assert package == installed.packages / "kilotune" / "__init__.py"
    assert compiler == installed.packages / "kiloc" / "__init__.py"
    assert data == [installed.packages / "kilotune" / "_data" / name for name in ("runtime", "boards", "agent", "renode")]
    assert {path.name for path in data[0].rglob("*.c")} == {path.name for path in (ROOT / "runtime").rglob("*.c")}


def test_installed_compiler_has_its_operators_and_templates(installed: Installed) -> None:
    here = installed.python("from kiloc.ops import REGISTRY; print(*sorted(REGISTRY))").split()
    assert len(here) > 20
    assert {path.name for path in (installed.packages / "kiloc").rglob("*.j2")} == {path.name for path in (ROOT / "codegen").rglob("*.j2")}


def test_installed_command_runs(installed: Installed) -> None:
    assert "kilotune" in run([installed.bin / "kilotune", "--help"], installed.cwd)


# ---- The runtime as a CMake project ----

BUILT = ("cortex-m0plus", "cortex-m4", "cortex-m55")
"""One core of each set of kernels; for the others CMake is only configured, which tries their flags."""

FROM_COMPILER = {"memcpy", "memset", "memmove", "memcmp", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
"""What compilers call without being asked; the soft float and division of the Arm ABI begin with __."""


@pytest.fixture(scope="session")
def cmake() -> str:
    """CMake from the package of that name, or the system's."""
    found = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if found is None:
        pytest.skip("cmake not found: pip install cmake, or on Debian, apt install cmake")
    return found


def build_runtime(cmake: str, folder: Path, *options: str) -> Path:
    run([cmake, "-S", ROOT, "-B", folder, *options], folder.parent)
    run([cmake, "--build", folder, "--parallel", "2"], folder.parent)
    return folder / "libkilotune_runtime.a"


def foreign_symbols(library: Path, nm: str) -> set[str]:
    """What the library calls and does not define."""
    symbols = [line.split() for line in run([nm, "-g", "-P", library], library.parent).splitlines() if not line.endswith(":")]
    defined = {name for name, kind, *_ in symbols if kind != "U"}
    return {name for name, kind, *_ in symbols if kind == "U"} - defined


def test_cmake_builds_and_installs_the_runtime_for_the_host(cmake: str, tmp_path: Path) -> None:
    library = build_runtime(cmake, tmp_path / "host", "-DCMAKE_BUILD_TYPE=Release")
    assert foreign_symbols(library, "nm") <= FROM_COMPILER, "the runtime must run without an operating system"
    run([cmake, "--install", tmp_path / "host", "--prefix", tmp_path / "prefix"], tmp_path)
    headers = {path.name for path in (tmp_path / "prefix" / "include" / "kt").iterdir()}
    assert headers == {path.name for path in (ROOT / "runtime" / "include" / "kt").iterdir()}

    # A program of someone else's finds it by name.
    user = tmp_path / "user"
    user.mkdir()
    (user / "main.c").write_text('#include "kt/kernels/layout.h"\nint main(void) { (void)kt_pad_s8; return 0; }\n', encoding="utf-8")
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(kilotune_runtime REQUIRED)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user kilotune::kilotune_runtime)\n",
        encoding="utf-8",
    )
    run([cmake, "-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"], tmp_path)
    run([cmake, "--build", user / "build"], tmp_path)
    run([user / "build" / "user"], tmp_path)


def for_core(core: str) -> tuple[str, ...]:
    return f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'cmake' / f'{compilers.prefix_of(core)}.cmake'}", f"-DKILOTUNE_CPU={core}"


@pytest.mark.parametrize("core", [pytest.param(core, marks=pytest.mark.slow if core == "cortex-m55" else []) for core in BUILT])
def test_cmake_builds_the_runtime_for_a_core(cmake: str, arm_gcc: str, tmp_path: Path, core: str) -> None:
    library = build_runtime(cmake, tmp_path / core, *for_core(core))
    foreign = {name for name in foreign_symbols(library, "arm-none-eabi-nm") if not name.startswith("__")}
    assert foreign <= FROM_COMPILER


@pytest.mark.parametrize("core", sorted({*TARGETS} - {*BUILT}))
def test_cmake_knows_every_other_core(cmake: str, arm_gcc: str, tmp_path: Path, core: str, request: pytest.FixtureRequest) -> None:
    if CORES[core].family == "riscv":
        request.getfixturevalue("riscv_gcc")
    run([cmake, "-S", ROOT, "-B", tmp_path / core, *for_core(core)], tmp_path)
    cache = (tmp_path / core / "CMakeCache.txt").read_text(encoding="utf-8")
    assert re.search(rf"^CMAKE_C_FLAGS:STRING=.*-m(cpu|arch)={core}\b", cache, re.MULTILINE)


def test_make_lists_its_targets() -> None:
    if shutil.which("make") is None:
        pytest.skip("make not found: on Debian, apt install make")
    listed = {line.split()[1] for line in run(["make"], ROOT).splitlines()}
    assert {"setup", "test", "check", "lint", "demo", "bench-accuracy", "golden", "clean"} <= listed
