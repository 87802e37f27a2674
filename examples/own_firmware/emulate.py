"""Run firmware on an emulated board and print what its serial port says.

    python emulate.py BOARD_FOLDER FIRMWARE.elf [LAST_LINE]

Ends with code 0 after the line LAST_LINE (DONE if not given), with 1 where it has not come after a minute.
"""

import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

SECONDS = 60


def run(folder: Path, elf: str, each_line: Callable[[str], bool]) -> bool:
    """Hand every line to `each_line` until it returns True; False if the emulator ended or time was up before."""
    emulator = tomllib.loads((folder / "board.toml").read_text())["emulator"]
    command = [emulator["program"], "-M", emulator["machine"], "-kernel", elf, "-display", "none", "-monitor", "none", "-serial", "stdio"]
    process = subprocess.Popen([*command, *emulator.get("options", [])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    alarm = threading.Timer(SECONDS, process.kill)
    alarm.start()
    try:
        return any(each_line(line.decode(errors="replace").rstrip()) for line in process.stdout)
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


def main() -> int:
    last = sys.argv[3] if len(sys.argv) > 3 else "DONE"

    def show(line: str) -> bool:
        print(line, flush=True)
        return line == last

    if run(Path(sys.argv[1]), sys.argv[2], show):
        return 0
    print(f"the line {last!r} has not come within {SECONDS} seconds", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
