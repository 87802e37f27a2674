"""A component for ESP-IDF: https://docs.espressif.com/projects/idf-component-manager/en/latest/reference/manifest_file.html."""

from __future__ import annotations

from .contents import Contents

EXAMPLE = "examples/infer"


def files(contents: Contents) -> dict[str, str | bytes]:
    """idf_component.yml, CMakeLists.txt, src/ as in the build, and an application."""
    return {
        "idf_component.yml": contents.rendered("idf_component.yml"),
        "CMakeLists.txt": contents.rendered("esp_idf_CMakeLists.txt"),
        f"{EXAMPLE}/CMakeLists.txt": contents.rendered("esp_idf_example_CMakeLists.txt"),
        f"{EXAMPLE}/main/CMakeLists.txt": 'idf_component_register(SRCS "main.c")\n',
        f"{EXAMPLE}/main/idf_component.yml": contents.rendered("esp_idf_example_component.yml"),
        f"{EXAMPLE}/main/main.c": contents.rendered("sample.c", framework="esp-idf"),
        "README.md": contents.rendered("README_esp-idf.md", example=EXAMPLE),
        **contents.below("src"),
        **contents.license_files(),
    }
