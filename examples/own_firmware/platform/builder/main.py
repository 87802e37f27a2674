"""Names of the tools, size, upload. What depends on the board is in ../../board.py."""

import sys
import tomllib
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
folder = Path(env.subst("$PROJECT_DIR")) / env.GetProjectOption("custom_boards", "../../boards") / env.GetProjectOption("custom_board")
board = tomllib.loads((folder / "board.toml").read_text())

prefix = "riscv64-unknown-elf" if board["cpu"]["core"].startswith("rv32") else "arm-none-eabi"

env.Replace(
    AR=f"{prefix}-gcc-ar",
    AS=f"{prefix}-gcc",
    CC=f"{prefix}-gcc",
    CXX=f"{prefix}-g++",
    OBJCOPY=f"{prefix}-objcopy",
    RANLIB=f"{prefix}-gcc-ranlib",
    SIZETOOL=f"{prefix}-size",
    ARFLAGS=["rc"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZEPROGREGEXP=r"^(?:\.boot2|\.vectors|\.text|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.stack)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
env.Append(
    LIBS=["c", "gcc"],
    BUILDERS={"ElfToBin": Builder(action=env.VerboseAction("$OBJCOPY -O binary $SOURCES $TARGET", "Building $TARGET"), suffix=".bin")},
)

if "nobuild" in COMMAND_LINE_TARGETS:
    program = "$BUILD_DIR/${PROGNAME}.elf"
    image = "$BUILD_DIR/${PROGNAME}.bin"
else:
    program = env.BuildProgram()
    image = env.ElfToBin("$BUILD_DIR/${PROGNAME}", program)
AlwaysBuild(env.Alias("nobuild", image))
Default(env.Alias("buildprog", image, image))
env.AddPlatformTarget("size", program, env.VerboseAction("$SIZEPRINTCMD", "Sizes of $SOURCE"), "Program size")

if "emulator" in board:
    # The firmware does not end, so neither would the emulator: what it says ends with a line of its own.
    command = [sys.executable, str(Path(env.subst("$PROJECT_DIR")) / "emulate.py"), str(folder), "$SOURCE"]
    env.AddPlatformTarget("upload", program, env.VerboseAction(" ".join(f'"{part}"' for part in command), "Running $SOURCE"), "Run")
elif "openocd" in board.get("upload", {}):
    command = " ".join(["openocd", *board["upload"]["openocd"], '-c "program {$SOURCE} verify reset exit"'])
    env.AddPlatformTarget("upload", program, env.VerboseAction(command, "Uploading $SOURCE"), "Upload")
