"""Runs the cases of `kernel_driver` on an emulated core: all of one core's in one firmware, each in buffers of its own between guards.

No sanitizer knows the DSP and Helium kernels, whose loops are assembly. Instead everything around a buffer, and what it holds before it is
written, is noise, another one in each run of a case: a byte that is read outside and counts changes the result, and a byte that is written
anywhere but in results and scratch is seen afterwards, since all of the image is compared.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from golden.reference import tiny
from kernel_driver import CTYPES, FLAGS, GUARD, RUNTIME, Array, Case, assert_equal, compiled, works_in_place

from kiloc import Options, compile_graph
from kiloc.emit.short_loops import SHORT_BLOCKS
from kiloc.ir.kernel_call import Argument, First, Pointers, Scratch, Table
from kiloc.ir.operator import Names
from kilotune import boards, compilers, host_runtime, resources, toolchain
from kilotune.devices import DeviceError

HERE = Path(__file__).parent / "emulated"
ALIGN = 8
WORD = 4
ARGUMENTS = 13
"""That `main.c` hands on at most."""


@dataclass
class Image:
    """Bytes with offsets in them that become addresses on the core."""

    width: int = WORD
    """Bytes of a pointer."""
    data: bytearray = field(default_factory=bytearray)
    pointers: list[int] = field(default_factory=list)
    calls: list[list[int]] = field(default_factory=list)
    written: list[tuple[int, int]] = field(default_factory=list)
    """Offset and bytes of what kernels may write."""
    pool: bytes = field(default_factory=lambda: np.random.default_rng(21).integers(1, 256, 1 << 18, np.uint8).tobytes())
    """Noise without zeros, which add nothing."""
    position: int = 0

    def noise(self, size: int) -> bytes:
        """Another part of the pool each time."""
        if self.position + size > len(self.pool):
            self.position = self.position % 4093 + 1
        self.position += size
        found = self.pool[self.position - size : self.position]
        return found.ljust(size, b"\xa5")

    def add(self, raw: bytes) -> int:
        """Offset of these bytes, between guards."""
        self.data += self.noise(GUARD + -(len(self.data) + GUARD) % ALIGN)
        at = len(self.data)
        self.data += raw + self.noise(GUARD)
        return at

    def room(self, size: int) -> int:
        """Offset of bytes that hold nothing yet."""
        return self.add(self.noise(size))

    def pointer(self, at: int, target: int) -> None:
        self.data[at : at + self.width] = target.to_bytes(self.width, "little")
        self.pointers.append(at)


@dataclass
class Placed:
    """Where the buffers of one case lie in the image."""

    case: Case
    what: str
    offsets: dict[str, int]
    sizes: dict[str, int]
    start: int
    """Offset of the first byte of the case, guards included."""
    expected: dict[str, Array]


class Batch:
    """Cases collected into one image. width: bytes of the core's pointers."""

    def __init__(self, width: int = WORD) -> None:
        self.ffi = compiled().ffi
        self.lib = compiled().lib
        self.width = width
        self.image = Image(width)
        self.placed: list[Placed] = []
        self.kernels: dict[str, int] = {}
        self.files: set[str] = set()

    def add(self, case: Case, what: str) -> None:
        """The case apart (twice, between different noise), in place where its operator can work so, and over its operand as near as `Op.reach`
        allows, or a word farther: there channels of the result lie over others of the operand."""
        expected = case.expected()
        self._add(case, what, expected, False, None)
        self._add(case, f"{what}, again", expected, False, None)
        if works_in_place(case):
            self._add(case, f"{what}, in place", expected, True, None)
        reached = case.op.reach(case.node_types())
        if reached is not None:
            below, above = reached[1].distances(case.result_types()[0].bytes, case.types[reached[0]].bytes)
            for distance in (-below, -below - WORD, above, above + WORD):
                self._add(case, f"{what}, {distance} bytes from {reached[0]}", expected, False, distance)

    def _add(self, case: Case, what: str, expected: dict[str, Array], in_place: bool, distance: int | None) -> None:
        types = case.node_types()
        names = Names({o: o for o in case.types}, tuple(f"result {i}" for i in range(len(types.results))))
        call = case.op.kernel_call(types, names)
        assert call is not None
        start = len(self.image.data)
        offsets = {name: self.image.add(array.tobytes()) for name, array in case.arrays.items()}
        sizes = {name: array.nbytes for name, array in case.arrays.items()}
        for i, t in enumerate(types.results):
            shared = case.op.in_place if in_place and i == 0 else None
            offsets[f"result {i}"] = offsets[shared] if shared else self.image.room(t.bytes)
            sizes[f"result {i}"] = t.bytes
        if distance is not None:
            operand = case.op.reach(types)[0]  # type: ignore[index]
            size = max(sizes[operand] - min(distance, 0), sizes["result 0"] + max(distance, 0))
            block = self.image.room(size)
            offsets[operand], offsets["result 0"] = block + max(-distance, 0), block + max(distance, 0)
            raw = case.arrays[operand].tobytes()
            self.image.data[offsets[operand] : offsets[operand] + len(raw)] = raw
        symbol = call.symbol
        number = self.kernels.setdefault(symbol, len(self.kernels))
        self.files |= set(call.files)
        words: list[tuple[bool, int]] = []
        if call.struct:
            words.append((True, self._struct(self._parameters(symbol, call.struct), call.fields, offsets)))
        for argument in call.arguments:
            if isinstance(argument, Scratch):
                words.append((True, self.image.room(call.scratch)))
                self.image.written.append((words[-1][1], call.scratch))
            elif argument == "NULL" or isinstance(argument, First):
                words.append((False, 0))
            elif isinstance(argument, Pointers):
                at = self.image.add(bytes(self.width * len(argument.values)))
                for i, value in enumerate(argument.values):
                    self.image.pointer(at + self.width * i, offsets[value])
                words.append((True, at))
            else:
                assert isinstance(argument, Argument)
                words.append((True, offsets[argument.value]))
        assert len(words) <= ARGUMENTS, symbol
        self.image.calls.append([number, len(words), *(v if not p else -1 - v for p, v in words)])
        self.placed.append(Placed(case, what, offsets, sizes, start, expected))
        self.image.written += [(offsets[name], sizes[name]) for name in self.placed[-1].expected]

    def _parameters(self, symbol: str, struct: str) -> Any:
        """The struct that a kernel takes: from its prototype, because cffi parses the declarations again for every name that it is asked for."""
        ctype = self.ffi.typeof(getattr(self.lib, symbol)).args[0].item
        assert ctype.cname == struct
        return ctype

    def _struct(self, ctype: Any, fields: Mapping[str, Any], offsets: Mapping[str, int]) -> int:
        size, _ = self._layout(ctype)
        pending = self._fields(ctype, fields, offsets)
        at = self.image.add(bytes(size))
        for offset, raw, target in pending:
            if target is None:
                self.image.data[at + offset : at + offset + len(raw)] = raw
            else:
                self.image.pointer(at + offset, target)
        return at

    def _fields(self, ctype: Any, fields: Mapping[str, Any], offsets: Mapping[str, int]) -> list[tuple[int, bytes, int | None]]:
        """(offset in the struct, bytes or the offset that a pointer holds)."""
        found: list[tuple[int, bytes, int | None]] = []
        at = 0
        for name, member in ctype.fields:
            size, align = self._layout(member.type)
            at += -at % align
            value = fields.get(name)
            if isinstance(value, Mapping):
                found += [(at + o, raw, target) for o, raw, target in self._fields(member.type, value, offsets)]
            elif isinstance(value, Argument):
                found.append((at, b"", offsets[value.value]))
            elif isinstance(value, Table):
                assert CTYPES[value.data.dtype.name] == value.ctype
                found.append((at, b"", self.image.add(np.ascontiguousarray(value.data).tobytes())))
            elif value is not None and value != "NULL":
                item = member.type.item if member.type.kind == "array" else member.type
                values = value if isinstance(value, tuple) else (value,)
                kind = np.dtype(item.cname.removesuffix("_t")) if item.cname != "float" else np.dtype(np.float32)
                found.append((at, np.array(values).astype(kind).tobytes(), None))
            at += size
        return found

    def _layout(self, ctype: Any) -> tuple[int, int]:
        """(bytes, alignment) of a type on the core."""
        if ctype.kind == "struct":
            at, widest = 0, 1
            for _, member in ctype.fields:
                size, align = self._layout(member.type)
                at += -at % align + size
                widest = max(widest, align)
            return at + -at % widest, widest
        if ctype.kind == "array":
            size, align = self._layout(ctype.item)
            return size * ctype.length, align
        size = self.width if ctype.kind == "pointer" else self.ffi.sizeof(ctype)
        return size, size

    # -- the run --------------------------------------------------------------------------------------
    def words(self) -> bytes:
        """The image as the program reads it."""
        head = 2 + sum(map(len, self.image.calls))
        argument_pointers: list[int] = []
        call_words: list[int] = []
        relocations = len(self.image.pointers) + sum(w < 0 for call in self.image.calls for w in call[2:])
        start = self.width * (head + relocations)
        start += -start % ALIGN
        position = 2 + relocations
        for call in self.image.calls:
            for i, word in enumerate(call):
                if i >= 2 and word < 0:
                    argument_pointers.append(self.width * (position + i))
                    call_words.append(start + -1 - word)
                else:
                    call_words.append(word)
            position += len(call)
        data = bytearray(self.image.data)
        for at in self.image.pointers:
            data[at : at + self.width] = (int.from_bytes(data[at : at + self.width], "little") + start).to_bytes(self.width, "little")
        pointers = [*(start + at for at in self.image.pointers), *argument_pointers]
        words = np.array([relocations, len(self.image.calls), *pointers, *call_words], np.dtype(f"<u{self.width}")).tobytes()
        return words + b"\0" * (start - len(words)) + bytes(data)

    def _tables(self, folder: Path) -> Path:
        """A source with the kernels, and with the image, which it includes."""
        raw = self.words()
        (folder / "image.raw").write_bytes(raw)
        table = "".join(f"void {symbol}(void);\n" for symbol in self.kernels)
        table += f"void (*const kernels[])(void) = {{{', '.join(self.kernels)}}};\n"
        table += f"const unsigned long image_bytes = {len(raw)};\n"
        table += f'__asm__(".data\\n.balign 8\\n.global image\\nimage: .incbin \\"{folder}/image.raw\\"\\n.balign 8\\n.text\\n");\n'
        (folder / "table.c").write_text("extern const unsigned long image_bytes;\nextern void (*const kernels[])(void);\n" + table)
        return folder / "table.c"

    def _after(self, folder: Path) -> bytes:
        """What a program has left of the image, without its head."""
        found = (folder / "image.bin").read_bytes()
        return found[len(found) - len(self.image.data) :]

    def run(
        self, board: str, folder: Path, options: Sequence[str] = (), trace: Path | None = None, macros: Sequence[str] = (), own: Sequence[Path] = ()
    ) -> bytes:
        """The image after all calls, without its head. options: more arguments of the linking compiler. trace: file for what QEMU translates.
        macros: what kt/target.h defines beside what it does for a build of the core. own: sources with kernels of a test's own."""
        made = self._tables(folder)
        b = boards.load(board)
        shared = {SHORT_BLOCKS} if "KT_SMALL" in macros else set[str]()  # of kernels in builds for size
        sources = [
            HERE / "main.c",
            *b.sources,
            *own,
            *(RUNTIME / v for f in sorted({*self.files, *shared}) for v in resources.with_variants(Path("src") / f)),
        ]
        assert b.linker_script is not None and b.emulator is not None
        common = HERE.parents[2] / "boards"
        (folder / "kt").mkdir(exist_ok=True)
        defined = "".join(f"\n#define {macro}" for macro in macros)
        (folder / "kt" / "target.h").write_text(target_header(b.core).replace("\n#endif", f"{defined}\n#endif"))
        include = (folder, RUNTIME / "include", common, common / "common")
        flags = (*b.flags, *compilers.library_flags(b.core), *toolchain.COMMON_FLAGS, *toolchain.BARE_METAL_FLAGS)  # as of firmware
        tool, elf, tables = compilers.cross_compiler(b.core), folder / "cases.elf", folder / "table.o"
        # No object of the cache: the bytes of the image are not in its text.
        subprocess.run([tool.program, *flags, "-c", str(made), "-o", str(tables)], check=True)
        units = tuple(toolchain._Unit(source, flags, include) for source in sources)
        link = (*flags, *(f"-I{folder}" for folder in include), str(tables), *toolchain.FIRMWARE_LINK_FLAGS, *options)
        toolchain._build(toolchain._Program(tool, units, link, ".elf", (b.linker_script,), (common / "common",)), "cases", elf)
        command = [b.emulator.program, "-M", b.emulator.machine, "-kernel", str(elf), "-display", "none", "-monitor", "none", "-serial", "stdio"]
        traced = [] if trace is None else ["-d", "in_asm", "-D", str(trace)]
        done = subprocess.run(
            [*command, *b.emulator.options, "-semihosting-config", "enable=on,target=native", *traced],
            cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and not done.stdout, (done.returncode, done.stdout, done.stderr)
        return self._after(folder)

    def run_on_computer(self, compiler: compilers.Tool, emulator: str, folder: Path, *beyond: str) -> bytes:
        """The same as a program of Linux for another processor, with the kernels for the vectors of that one."""
        tables = self._tables(folder)
        flags = (*FLAGS, *host_runtime.optimization("vector", compiler.program), *beyond)
        sources = [host_runtime.source(f"runtime/src/{f}") for f in sorted(self.files)]
        units = tuple(toolchain._Unit(s, (*flags, "-DKT_VECTOR=1"), (RUNTIME / "include",), host_runtime.headers()) for s in sources)
        main = toolchain._Unit(HERE / "main.c", ("-std=gnu11", "-O2"), ())
        toolchain._build(toolchain._Program(compiler, (*units, main), (str(tables), "-static", "-lm"), ""), "cases", folder / "cases")
        done = subprocess.run([emulator, str(folder / "cases")], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0 and not done.stdout, (done.returncode, done.stdout, done.stderr)
        return self._after(folder)

    def compare(self, data: bytes) -> None:
        """Results equal to the NumPy meaning, and every other byte as it was."""
        before, after = np.frombuffer(self.image.data, np.uint8), np.frombuffer(data, np.uint8)[: len(self.image.data)]
        kept = np.ones(before.size, np.bool_)
        for at, size in (*self.image.written, *((at, self.width) for at in self.image.pointers)):  # the program itself changes pointers
            kept[at : at + size] = False
        changed = np.flatnonzero(kept & (before != after))
        if changed.size:
            placed = max((p for p in self.placed if p.start <= changed[0]), key=lambda p: p.start)
            near = min(placed.offsets, key=lambda name: abs(placed.offsets[name] - int(changed[0])))
            where = f"{int(changed[0]) - placed.offsets[near]} bytes from the start of {near}"
            raise AssertionError(f"{placed.what}: write outside of the results, {where}")
        for placed in self.placed:
            for name, array in placed.expected.items():
                at, size = placed.offsets[name], placed.sizes[name]
                assert_equal(np.frombuffer(data[at : at + size], array.dtype), array, f"{placed.what}: {name}")


@cache
def target_header(core: str) -> str:
    """What builds for this core have as kt/target.h."""
    return compile_graph(tiny(), Options(target=core), "0").files["runtime/include/kt/target.h"]


def runs(board: str) -> bool:
    """Whether this computer has the compiler and the emulator of a board."""
    found = boards.load(board)
    try:
        compilers.cross_compiler(found.core)
    except DeviceError:
        return False
    return found.emulator is not None and shutil.which(found.emulator.program) is not None


LARGEST_IMAGE = 1_000_000
"""Bytes; an image stands in the board's flash and in its memory."""


def run_cases(cases: Iterable[tuple[str, Case]], board: str, folder: Path, options: Sequence[str] = (), macros: Sequence[str] = ()) -> None:
    """Every case on a board; raises AssertionError where one differs. Arguments are those of `Batch.run`."""
    run_each(cases, lambda batch: batch.run(board, folder, options, macros=macros))


def run_each(cases: Iterable[tuple[str, Case]], run: Callable[[Batch], bytes], width: int = WORD) -> None:
    """Every case, as many at once as an image has room for. run: the image after all calls, without its head; width: bytes of a pointer."""
    batch = Batch(width)
    for what, case in cases:
        batch.add(case, what)
        if len(batch.image.data) > LARGEST_IMAGE:
            batch.compare(run(batch))
            batch = Batch(width)
    if batch.placed:
        batch.compare(run(batch))
