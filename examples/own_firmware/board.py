"""Before building: flags, start-up code, serial port and linker script of the board, from its board.toml."""

import tomllib
from pathlib import Path

Import("env")  # noqa: F821 (given by SCons)

BOARDS = (Path(env.subst("$PROJECT_DIR")) / env.GetProjectOption("custom_boards", "../../boards")).resolve()  # noqa: F821
folder = BOARDS / env.GetProjectOption("custom_board")  # noqa: F821
board = tomllib.loads((folder / "board.toml").read_text())


def path(name: str) -> Path:
    """A file of the board, or one that boards share."""
    return (BOARDS if name.startswith("common/") else folder) / name


cpu = board["cpu"]["flags"]
if board["cpu"]["core"].startswith("rv32"):  # Debian's compiler for RISC-V takes its C library only when asked to
    cpu = [*cpu, "--specs=picolibc.specs"]
env.Append(  # noqa: F821
    CFLAGS=["-std=c99"],
    CCFLAGS=[*cpu, "-O2", "-ffunction-sections", "-fdata-sections", "-fno-common"],
    CPPPATH=[str(BOARDS), str(BOARDS / "common")],
    LIBPATH=[str(BOARDS / "common")],
    LINKFLAGS=[*cpu, "-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", "-Wl,-n"],
)
env.Replace(LDSCRIPT_PATH=str(path(board["linker_script"])))  # noqa: F821
for name in board["sources"]:
    source = path(name)
    env.BuildSources(f"$BUILD_DIR/board/{source.stem}", str(source.parent), f"-<*> +<{source.name}>")  # noqa: F821
