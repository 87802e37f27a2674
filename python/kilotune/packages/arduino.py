"""A library for the Arduino IDE and arduino-cli: https://arduino.github.io/arduino-cli/latest/library-specification.

The tool compiles every source below src/ and knows that one folder of headers, so the runtime's headers lie at its top.
"""

from __future__ import annotations

from .contents import Contents


def files(contents: Contents) -> dict[str, str | bytes]:
    """library.properties, src/ and a sketch that reads the serial port."""
    sketch = f"{contents.name}_serial"
    return {
        "library.properties": contents.rendered("library.properties"),
        "README.md": contents.rendered("README_arduino.md", sketch=sketch),
        f"examples/{sketch}/{sketch}.ino": contents.rendered("sketch.ino"),
        **contents.flat("src"),
        **contents.license_files(),
    }
