"""A module for Zephyr. Zephyr itself is not at hand: its CMake functions that modules use are stood in for by zephyr_stub/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kilotune.building import Build
from kilotune.packages import package

from .builds import cmake, expected, run

STUB = Path(__file__).parent / "zephyr_stub"
KEYS = {"name": None, "build": {"cmake", "kconfig", "cmake-ext", "kconfig-ext", "depends", "settings"}, "samples": None, "tests": None}
"""What zephyr/module.yml may hold, of what Zephyr's own scripts read."""


@pytest.fixture
def module(build: Build, tmp_path: Path) -> Path:
    return package(build, "zephyr", tmp_path / "module", license="MIT")


def described(module: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    found = yaml.safe_load((module / "zephyr/module.yml").read_text())
    assert isinstance(found, dict)
    return found


def test_what_the_build_system_reads(module: Path) -> None:
    """As zephyr_module.py checks it: folders that hold what they are named for."""
    said = described(module)
    assert set(said) <= set(KEYS) and set(said["build"]) <= (KEYS["build"] or set())
    assert (module / said["build"]["cmake"] / "CMakeLists.txt").is_file() and (module / said["build"]["kconfig"]).is_file()
    samples = [path for folder in said["samples"] for path in (module / folder).rglob("sample.yaml")]
    assert len(samples) == 1 and (samples[0].parent / "prj.conf").is_file()


def test_kconfig(module: Path) -> None:
    """The option is off by default, and takes the FPU where the chip has one."""
    kconfiglib = pytest.importorskip("kconfiglib", reason="kconfiglib is not installed: pip install kconfiglib")
    root = module / "Kconfig.root"
    root.write_text('config CPU_HAS_FPU\n\tdef_bool y\n\nconfig FPU\n\tbool "FPU"\n\nosource "zephyr/Kconfig"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("srctree", str(module))
        tree = kconfiglib.Kconfig("Kconfig.root", suppress_traceback=True)
    assert tree.warnings == []
    option = described(module)["name"].upper()
    assert tree.syms[option].str_value == "n" and tree.syms["FPU"].str_value == "n"
    tree.load_config(str(module / "samples/infer/prj.conf"))
    assert tree.syms[option].str_value == "y" and tree.syms["FPU"].str_value == "y" and tree.warnings == []


def test_the_sample_runs(module: Path, build: Build, tmp_path: Path) -> None:
    """Built for this computer through its own CMakeLists.txt, with the module found as EXTRA_ZEPHYR_MODULES."""
    options = ("-S", module / "samples/infer", "-B", tmp_path / "made", "-G", "Unix Makefiles", f"-DZephyr_DIR={STUB}")
    run(cmake(), *options)
    run(cmake(), "--build", tmp_path / "made")
    assert run(tmp_path / "made/app").splitlines() == expected(build)


def test_without_its_option_nothing_is_built(module: Path, tmp_path: Path) -> None:
    (module / "samples/infer/prj.conf").write_text("")
    (module / "samples/infer/src/main.c").write_text("int main(void) { return 0; }\n")
    run(cmake(), "-S", module / "samples/infer", "-B", tmp_path / "made", "-G", "Unix Makefiles", f"-DZephyr_DIR={STUB}")
    run(cmake(), "--build", tmp_path / "made")
    assert not list((tmp_path / "made").rglob("libkilotune*"))
