"""Compile and link a build directory: for the host, for a board, or to measure it.

Results are kept (`cache.py`) under a hash of everything they depend on: the bytes of all sources and headers, the flags and the
compiler's version. Objects are kept apart by a hash of their source and of all that it includes: models share the kernels they have
in common, and where only a model has changed, only its own file is compiled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from kiloc import CORES, TARGETS, variants_of
from kiloc.ir import PACKAGES

from . import boards, host_runtime, resources
from .cache import cached, scratch_directory
from .compilers import FAMILIES, Family, Tool, cross_compiler, host_compiler, library_flags
from .devices.manifest import Manifest
from .errors import DeviceError
from .included_texts import IncludedTexts

_FORMAT = "3"
"""Part of every key: change it when the meaning of a cache entry changes."""

COMMON_FLAGS = ("-std=c99", "-ffp-contract=off", "-Wall", "-Wextra", "-pedantic", "-Werror")
"""No contraction of a * b + c: every device must round alike."""

BARE_METAL_FLAGS = ("-O2", "-ffunction-sections", "-fdata-sections", "-fno-common", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")

FIRMWARE_LINK_FLAGS = ("-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", "-Wl,-n")
"""-n: no page before the first section, which on a board with a bootloader would be the bootloader's."""

COUNTING = Path(__file__).parent / "counting"
"""The folder of the program that counts instructions."""

FLASH_PAGE = 256
"""Bytes of a page of the flash that the agent simulates for updates."""

INFERENCE_ROOTS = ("init", "infer")
ADAPTER_ROOTS = ("resume", "adapter_export", "adapter_load")
TRAINING_ROOTS = ("train_step", "apply", "set_learning_rate")
REPLAY_ROOTS = ("remember", "replay_step")


# ---- Keys of the cache ----


def _digest(parts: Iterable[str | bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:32]


# ---- Compile and link ----


@dataclass(frozen=True)
class _Unit:
    """One source with the flags and include folders of its own. headers: a hash of all headers that it can include, None where nobody knows."""

    source: Path
    flags: tuple[str, ...]
    include: tuple[Path, ...]
    headers: str | None = None

    def command(self, tool: Tool) -> list[str]:
        return [tool.program, *self.flags, *(f"-I{folder}" for folder in self.include)]


@dataclass(frozen=True)
class _Program:
    """What is linked together. `scripts` are the linker scripts, read by the linker through link_flags."""

    tool: Tool
    units: tuple[_Unit, ...]
    link_flags: tuple[str, ...]
    suffix: str
    scripts: tuple[Path, ...] = ()
    script_folders: tuple[Path, ...] = ()

    def key(self) -> str:
        """Hash of all that the result can depend on. Paths are left out: a moved folder is the same program."""
        parts: list[str | bytes] = [_FORMAT, self.tool.version, self.suffix, *self.link_flags]
        folders = {folder for unit in self.units if unit.headers is None for folder in (*unit.include, unit.source.parent)}
        headers = {folder: _headers(folder) for folder in folders}
        for unit in self.units:
            parts += [unit.source.name, _read(unit.source), *unit.flags]
            parts += [headers[folder] for folder in (*unit.include, unit.source.parent)] if unit.headers is None else [unit.headers]
        parts += [_read(script) for script in self.scripts]
        return _digest(parts)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(str(path), f"a source cannot be read: {error.strerror}", "run `kilotune build` again") from error


def _headers(folder: Path) -> str:
    return _digest(part for path in sorted(folder.rglob("*.h")) for part in (str(path.relative_to(folder)), _read(path)))


def build_identity(manifest: Manifest) -> bytes:
    """8 bytes that name the generated sources: firmware of other options, or of another version, has others."""
    folders = [manifest.directory / folder for folder in manifest.include]
    sources = (part for name in manifest.sources for part in (name, _read(manifest.directory / name)))
    return bytes.fromhex(_digest([*sources, *map(_headers, folders)]))[:8]


def _run(command: Sequence[str], where: str, what: str) -> bytes:
    # The messages of the compiler are quoted to the user: no colours, no typographic quotes.
    done = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        full = any("No space left on device" in line for line in lines)
        hint = "make room on the disk, or set KILOTUNE_CACHE and TMPDIR" if full else "the sources must be those that `kilotune build` wrote"
        raise DeviceError(where, "\n  ".join([what, *lines[:20]]), hint)
    return done.stdout


def _compile(tool: Tool, unit: _Unit, texts: IncludedTexts) -> Path:
    """The object of one unit, from the cache if all that it consists of is known."""
    where, what = str(unit.source), f"{Path(tool.program).name} cannot compile this file"
    if unit.headers is None:
        parts = texts.of(unit.source, unit.include, unit.flags)
        parts = parts or [*unit.flags, _run([*unit.command(tool), "-E", "-P", str(unit.source)], where, what)]
    else:
        parts = [*unit.flags, unit.source.name, unit.headers, _read(unit.source)]
    name = f"object-{_digest([_FORMAT, tool.version, *parts])}.o"

    def make(scratch: Path) -> Path:
        _run([*unit.command(tool), "-c", str(unit.source), "-o", str(scratch / "unit.o")], where, what)
        return scratch / "unit.o"

    return cached(name, make)


def _build(program: _Program, where: str, output: Path) -> None:
    """Compile what the cache does not have, and link."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        texts = IncludedTexts(_read)
        objects = list(pool.map(lambda unit: _compile(program.tool, unit, texts), program.units))
    scripts = [flag for script in program.scripts[:1] for flag in ("-T", str(script))]
    folders = [f"-L{folder}" for folder in program.script_folders]
    command = [program.tool.program, *map(str, objects), *program.link_flags, *scripts, *folders, "-o", str(output)]
    _run(command, where, "the program cannot be linked")


def _link(program: _Program, name: str) -> Path:
    """The linked program, from the cache if nothing has changed."""

    def make(scratch: Path) -> Path:
        _build(program, name, scratch / "program")
        return scratch / "program"

    return cached(f"{name}-{program.key()}{program.suffix}", make)


# ---- What is built ----


def _model_units(manifest: Manifest, flags: tuple[str, ...], without_interface: bool = False) -> list[_Unit]:
    include = tuple(manifest.directory / folder for folder in manifest.include)
    # Kernels see only the runtime's headers and their own, so that their objects cannot depend on the model.
    kernels = ("runtime", "monocypher", PACKAGES)
    shared = tuple(manifest.directory / folder for folder in manifest.include if Path(folder).parts[:1] and Path(folder).parts[0] in kernels)
    units = []
    for source in manifest.sources:
        if without_interface and source == f"{manifest.name}_interface.c":
            continue
        kernel = Path(source).parts[0] in kernels
        units.append(_Unit(manifest.directory / source, flags, shared if kernel else include))
    return units


def _agent_units(manifest: Manifest, board: boards.Board, flags: tuple[str, ...]) -> list[_Unit]:
    agent = resources.agent()
    common = (resources.boards(), resources.boards() / "common", agent)
    macros = {
        "BOARD": f'"{board.name}"',
        "BUILD": f"0x{build_identity(manifest).hex()}u",
        "INPUT_BYTES": manifest.input_bytes,
        "OUTPUT_BYTES": manifest.output_bytes,
        "TARGET_VALUES": manifest.target_values,
        "ARENA_BYTES": manifest.arena_bytes,
        "STATE_BYTES": manifest.state_bytes,
        "ADAPTER_BYTES": manifest.adapter_bytes,
        "SUMS_AT": manifest.shard.at if manifest.shard else 0,
        "SUMS_BYTES": manifest.state_bytes - manifest.shard.at if manifest.shard else 0,
    }
    stored = {"ADAPTER_BYTES": manifest.adapter_bytes if manifest.adapter_slots else min(manifest.adapter_bytes, 1), "RESIDENT": manifest.resident}
    stored |= {"SLOT_BYTES": manifest.adapter_slot_bytes if manifest.resident else 0, "FLASH_PAGE": FLASH_PAGE if manifest.adapter_slots else 0}
    model = (
        f"-DAGENT_MODEL_HEADER=<{manifest.name}.h>",
        f"-DAGENT_MODEL={manifest.name}_model",
        f"-DAGENT_INTERFACE={manifest.name}_interface",
    )
    sliced = (f"-DAGENT_SLICED={manifest.name}_sliced_step",) if manifest.steps else ()
    # Sizes that a file has no use for are not told to it, so that builds share its object.
    private = (f"-DAGENT_PRIVATE={manifest.private_updates}", f"-DAGENT_ADAPTER_BYTES={manifest.adapter_bytes if manifest.private_updates else 0}")
    include = tuple(manifest.directory / folder for folder in manifest.include)
    runtime = tuple(folder for folder in include if (folder / "kt" / "model.h").is_file())
    return [
        _Unit(agent / "agent.c", (*flags, *(f"-DAGENT_{name}={value}" for name, value in macros.items())), (*common, *runtime)),
        _Unit(agent / "model.c", (*flags, *model), (*include, *common)),
        _Unit(agent / "kt_adapters.c", (*flags, *(f"-DAGENT_{name}={value}" for name, value in stored.items())), (*common, *runtime)),
        _Unit(agent / "kt_link.c", flags, common),
        _Unit(agent / "kt_steps.c", (*flags, *sliced), (*common, *runtime)),
        _Unit(agent / "kt_lessons.c", flags, (*common, *runtime)),
        _Unit(agent / "kt_private.c", (*flags, *private), (*common, *runtime)),
        *(_Unit(source, flags, common) for source in board.sources),
        *_page_units(manifest, board, flags, (*common, *runtime)),
    ]


def _page_units(manifest: Manifest, board: boards.Board, flags: tuple[str, ...], include: tuple[Path, ...]) -> list[_Unit]:
    """What keeps the pages of a model that offloads."""
    memory = board.slow_memory
    if not manifest.page_bytes:
        return []
    if memory is None or 0 < memory.size < manifest.page_bytes:
        what = "has no slow memory" if memory is None else f"has {memory.size:,} bytes of slow memory"
        hint = "name one in its board.toml, [slow_memory], or build without offload"
        raise DeviceError(board.name, f"{what}, and {manifest.name} keeps {manifest.page_bytes:,} bytes there", hint)
    return [_Unit(memory.source, (*flags, f"-DSLOW_MEMORY_ORIGIN={memory.origin:#x}u"), include)]


def host_kernels(build_dir: str | os.PathLike[str]) -> str:
    """What `host_library` compiles of a build, one of host_runtime.KERNELS."""
    manifest = Manifest.load(build_dir)
    return "vector" if host_runtime.is_own(manifest.directory, manifest.sources) else "portable"


def host_library(build_dir: str | os.PathLike[str], kernels: str | None = None) -> Path:
    """The model as a shared library for this computer. kernels: of host_runtime.KERNELS, None for the fastest that give its bits."""
    manifest, compiler = Manifest.load(build_dir), host_compiler()
    kernels = kernels or host_kernels(build_dir)
    flags = (*COMMON_FLAGS, *host_runtime.optimization(kernels, compiler.program), "-fPIC")
    units = _model_units(manifest, flags)
    if kernels == "vector":
        own = (*flags, *host_runtime.machine_flags(compiler.program), f"-DKT_{resources.VECTOR.upper()}=1")
        units = [_vector_unit(unit, manifest, own) for unit in units]
    pages = _page_units(manifest, boards.load("posix"), flags, tuple(manifest.directory / folder for folder in manifest.include))
    return _link(_Program(compiler, (*units, *pages), ("-shared", "-Wl,-z,defs"), ".so"), manifest.name)


def _vector_unit(unit: _Unit, manifest: Manifest, flags: tuple[str, ...]) -> _Unit:
    """A source of a build's runtime as this computer runs it; any other as it is."""
    name = unit.source.relative_to(manifest.directory)
    if name.parts[0] != "runtime":
        return unit
    others = tuple(folder for folder in unit.include if folder.relative_to(manifest.directory).parts[0] != "runtime")
    headers = _digest([host_runtime.headers(), *map(_headers, others)])
    source = host_runtime.source(name.as_posix())
    return _Unit(source, flags, (resources.runtime() / "include", *others), headers)


def host_agent(build_dir: str | os.PathLike[str], sanitize: bool = False) -> Path:
    """The agent as a process of this computer; sanitize: with address and undefined-behaviour checks."""
    manifest = Manifest.load(build_dir)
    checks = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g") if sanitize else ()
    flags = (*COMMON_FLAGS, "-O1" if sanitize else "-O2", *checks)
    units = [*_model_units(manifest, flags), *_agent_units(manifest, boards.load("posix"), flags)]
    return _link(_Program(host_compiler(), tuple(units), checks, ""), f"{manifest.name}-agent")


def firmware(build_dir: str | os.PathLike[str], board: boards.Board | str) -> Path:
    """The agent with the model as an ELF image for a board."""
    manifest = Manifest.load(build_dir)
    board = boards.load(board) if isinstance(board, str) else board
    if board.linker_script is None:
        raise DeviceError(board.name, "this is no board that firmware is linked for", "the host runs host_agent()")
    flags = (*board.flags, *library_flags(board.core))
    every = (*flags, *COMMON_FLAGS, *BARE_METAL_FLAGS, *_for_size(manifest), *portable_flags(board.core, manifest.target))
    return _image(manifest, board, cross_compiler(board.core), flags, (*_model_units(manifest, every), *_agent_units(manifest, board, every)), "")


def counting_image(build_dir: str | os.PathLike[str], board: boards.Board, model: Path, sources: Sequence[Path], macros: Sequence[str]) -> Path:
    """The model with a program that counts its instructions, for the core that the build is for, as an ELF image of a board that runs such programs.

    model: stands for the generated C. sources: of the program, beside the board's; macros: what it is told.
    """
    manifest = Manifest.load(build_dir)
    flags = (*CORES[manifest.target].flags(), *library_flags(manifest.target))
    every = (*flags, *COMMON_FLAGS, *BARE_METAL_FLAGS, *_for_size(manifest))
    own = (*(manifest.directory / folder for folder in manifest.include), resources.boards(), resources.boards() / "common", COUNTING)
    generated = manifest.directory / f"{manifest.name}.c"
    units = [replace(u, source=model, include=own) if u.source == generated else u for u in _model_units(manifest, every)]
    units += [_Unit(source, (*every, *macros), (*own, source.parent)) for source in sources]
    units += [_Unit(source, every, own) for source in board.sources] + _page_units(manifest, board, every, own)
    return _image(manifest, board, cross_compiler(manifest.target), flags, tuple(units), "-counting")


def _image(manifest: Manifest, board: boards.Board, tool: Tool, flags: tuple[str, ...], units: tuple[_Unit, ...], kind: str) -> Path:
    """Linked as the board's script says; DeviceError names the boards that have the room where it has not."""
    assert board.linker_script is not None
    common = resources.boards() / "common"
    program = _Program(tool, units, (*flags, *FIRMWARE_LINK_FLAGS), ".elf", (board.linker_script, *sorted(common.glob("*.ld"))), (common,))
    try:
        return _link(program, f"{manifest.name}-{board.name}{kind}")
    except DeviceError as error:
        overflows = {region: int(size) for region, size in re.findall(r"region `(\w+)' overflowed by (\d+) bytes", error.what)}
        if not overflows:
            raise
        raise _does_not_fit(board, overflows) from None


def portable_flags(core: str, target: str) -> tuple[str, ...]:
    """Of a core without the DSP extension that takes a build for another target: this has no sources of kernels for its instructions."""
    own = variants_of(core)
    return ("-DKT_PORTABLE",) if "dsp" not in own and own != variants_of(target) else ()


def _family_of(elf: Path) -> Family:
    with elf.open("rb") as file:
        return FAMILIES["riscv" if ELFFile(file)["e_machine"] == "EM_RISCV" else "arm"]


def convert(elf: Path, output: Path, kind: str) -> None:
    """An ELF image as "binary" or "ihex"."""
    family = _family_of(elf)
    program = family.tool("objcopy", family.binutils).program
    _run([program, "-O", kind, str(elf), str(output)], str(elf), "the image cannot be converted")


def _does_not_fit(board: boards.Board, overflows: dict[str, int]) -> DeviceError:
    """Which region, by how much, and which boards have the room."""
    needed = {m.name: m.size + overflows[m.name] for m in board.memories if m.name in overflows}
    known = [b for b in map(boards.load, boards.names()) if (b.emulator is None) == (board.emulator is None)]
    larger = [b for b in known if all(size <= sum(m.size for m in b.memories if m.name == name) for name, size in needed.items())]
    larger.sort(key=lambda b: sum(m.size for m in b.memories if m.name in needed))
    what = " and ".join(f"{region} is {size:,} bytes too small" for region, size in overflows.items())
    names = f", or use a larger board: {', '.join(b.name for b in larger[:3])}" if larger else ""
    return DeviceError(board.name, f"the model does not fit this board: {what}", f"build it for less memory (`--ram`, fewer layers){names}")


# ---- Measure ----

_MEASURE_SCRIPT = """\
SECTIONS
{
  .text 0x10000000 : { *(.text .text.*) }
  .rodata : { *(.rodata .rodata.* .srodata .srodata.*) }
  .data 0x20000000 : { *(.data .data.* .sdata .sdata.*) }
  .bss : { *(.bss .bss.* .sbss .sbss.* COMMON) }
  /DISCARD/ : { *(.ARM.exidx* .ARM.extab* .init_array* .fini_array* .comment) }
}
"""


def inference_roots(manifest: Manifest) -> tuple[str, ...]:
    """INFERENCE_ROOTS, and the front end where there is one."""
    return (*INFERENCE_ROOTS, *(["features"] if manifest.features else []))


def adapter_roots(manifest: Manifest) -> tuple[str, ...]:
    """Of ADAPTER_ROOTS those that a model has: one that checks signatures and does not train takes no state from outside."""
    if not manifest.adapter_bytes:
        return ()
    return tuple(root for root in ADAPTER_ROOTS if root != "resume" or manifest.training or not manifest.signed)


def training_roots(manifest: Manifest) -> tuple[str, ...]:
    """TRAINING_ROOTS of a model that trains, and those of its replay buffer and its head with room."""
    if not manifest.training:
        return ()
    return (*TRAINING_ROOTS, *(REPLAY_ROOTS if manifest.replay else ()), *(["add_class"] if manifest.new_classes else []))


def measure(build_dir: str | os.PathLike[str], target: str | None = None) -> dict[str, Any]:
    """Bytes of the model and its runtime on a target core, as linked: what a program pays for using the model.

    "code" (.text), "constants" (.rodata: weights and parameters), "data" (.data), "bss", "flash" (code, constants and
    data), "library": what of code and constants comes from the compiler's and C libraries (memcpy, soft float), and "kernels":
    the code of each function of the runtime.
    target: a core of TARGETS; None is the manifest's. Neither agent nor board code is counted.
    """
    manifest = Manifest.load(build_dir)
    target = _known(manifest, target)
    adapters, training = adapter_roots(manifest), training_roots(manifest)
    roots = [f"{manifest.name}_{root}" for root in (*inference_roots(manifest), *adapters, *training)]
    with scratch_directory() as folder:
        program = _library(_model_units(manifest, _library_flags(manifest, target), without_interface=True), manifest, target, roots, folder)

        def make(scratch: Path) -> Path:
            output, link_map, result = (scratch / n for n in ("program", "map", "result"))
            flags = (*program.link_flags, "-Xlinker", f"-Map={link_map}")  # -Wl would end at a comma in the path
            _build(replace(program, link_flags=flags), manifest.name, output)
            result.write_text(json.dumps(_sizes(output, link_map)), encoding="utf-8")
            return result

        found = cached(f"{manifest.name}-measure-{program.key()}.json", make)
        sizes: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return sizes


def library(build_dir: str | os.PathLike[str], roots: Sequence[str], target: str | None = None) -> Path:
    """Model and runtime linked for a target core without agent and board: the functions named, all that they call, and the model's table.

    target: a core of TARGETS; None is the manifest's.
    """
    manifest = Manifest.load(build_dir)
    target = _known(manifest, target)
    with scratch_directory() as scratch:
        units = _model_units(manifest, _library_flags(manifest, target))
        return _link(_library(units, manifest, target, [*roots, f"{manifest.name}_interface"], scratch), f"{manifest.name}-library")


def disassembly(elf: Path) -> str:
    """The instructions of a program for a microcontroller, with the names of its functions, as objdump prints them."""
    family = _family_of(elf)
    program = family.tool("objdump", family.binutils).program
    return _run([program, "-d", "--no-show-raw-insn", str(elf)], str(elf), "the program cannot be disassembled").decode()


def _known(manifest: Manifest, target: str | None) -> str:
    target = manifest.target if target is None else target
    if target not in TARGETS:
        raise DeviceError(target, "there is no target of this name", f"targets: {', '.join(TARGETS)}")
    return target


def _library_flags(manifest: Manifest, target: str) -> tuple[str, ...]:
    return (
        *CORES[target].flags(),
        *library_flags(target),
        *COMMON_FLAGS,
        *BARE_METAL_FLAGS,
        *_for_size(manifest),
        *portable_flags(target, manifest.target),
    )


def _for_size(manifest: Manifest) -> tuple[str, ...]:
    """Behind the usual flags: the last of its kind counts."""
    return ("-Os",) if manifest.size else ()


def _library(units: Sequence[_Unit], manifest: Manifest, target: str, roots: Sequence[str], scratch: Path) -> _Program:
    """Without agent and board; roots: what garbage collection starts from."""
    script = scratch / "measure.ld"
    script.write_text(_MEASURE_SCRIPT, encoding="utf-8")
    return _Program(
        cross_compiler(target),
        tuple(units),
        (
            *CORES[target].flags(),
            *library_flags(target),
            "-nostartfiles",
            "-Wl,--gc-sections",
            "-Wl,--no-warn-rwx-segments",
            f"-Wl,--entry={roots[0]}",
            *(f"-Wl,--require-defined={root}" for root in roots),
            *(f"-Wl,--defsym=kt_port_page_{way}=0" for way in ("in", "out") if manifest.page_bytes),
        ),
        ".elf",
        (script,),
    )


def _sizes(elf: Path, link_map: Path) -> dict[str, Any]:
    with elf.open("rb") as file:
        program = ELFFile(file)
        sections = {section.name: int(section["sh_size"]) for section in program.iter_sections()}
        kernels = _functions(program)
    code, constants, data, bss = (sections.get(name, 0) for name in (".text", ".rodata", ".data", ".bss"))
    text = link_map.read_text(encoding="utf-8", errors="replace").partition("Linker script and memory map")[2]
    library = sum(int(size, 16) for size in _FROM_LIBRARY.findall(text))
    sizes = {"code": code, "constants": constants, "data": data, "bss": bss, "flash": code + constants + data, "library": library}
    return {**sizes, "kernels": kernels}


def _functions(program: ELFFile) -> dict[str, int]:
    """Bytes of the runtime's functions, largest first."""
    table = program.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    functions = [s for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC" and s.name.startswith("kt_")]
    found = {str(s.name): int(s["st_size"]) for s in functions}
    return dict(sorted(found.items(), key=lambda f: (-f[1], f[0])))


_FROM_LIBRARY = re.compile(r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) \S.*\.a\(.*\)$", re.MULTILINE)
"""A section of a library's member in the linker's map; its size."""
