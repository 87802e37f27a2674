"""A module for Zephyr: https://docs.zephyrproject.org/latest/develop/modules.html."""

from __future__ import annotations

from .contents import Contents

SAMPLE = "samples/infer"


def files(contents: Contents) -> dict[str, str | bytes]:
    """zephyr/ with what the build system reads, src/ as in the build, and an application."""
    return {
        "zephyr/module.yml": contents.rendered("module.yml"),
        "zephyr/Kconfig": contents.rendered("Kconfig"),
        "zephyr/CMakeLists.txt": contents.rendered("zephyr_CMakeLists.txt"),
        f"{SAMPLE}/CMakeLists.txt": contents.rendered("zephyr_sample_CMakeLists.txt"),
        f"{SAMPLE}/prj.conf": f"CONFIG_{contents.title.upper()}=y\n",
        f"{SAMPLE}/sample.yaml": contents.rendered("sample.yaml"),
        f"{SAMPLE}/src/main.c": contents.rendered("sample.c", framework="zephyr"),
        "README.md": contents.rendered("README_zephyr.md", sample=SAMPLE),
        **contents.below("src"),
        **contents.license_files(),
    }
