"""Firmware of every board: linked, and taken apart again with pyelftools: vectors, sections, instruction set, what fits where."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from toy_model import X, Y, edit, make_toy, needs_arm, needs_qemu, needs_riscv

from kilotune import boards, firmware_file, toolchain
from kilotune.devices import open_device
from kilotune.devices.errors import DeviceError

LINKED = [name for name in boards.names() if boards.load(name).linker_script]
ARM = [name for name in LINKED if boards.load(name).core.startswith("cortex")]
REAL = ["nucleo-f446re", "nucleo-h743zi", "disco-f746ng", "nano33ble", "pico", "adafruit-feather-m4"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "build")


def test_the_boards_are_there() -> None:
    assert set(REAL) <= set(LINKED)
    for name in REAL:
        board = boards.load(name)
        assert board.emulator is None and board.counter == boards.Counter("cycles", 1.0)
        assert board.uploads and board.platformio and board.serial["baud"] == 115_200


def check_places(elf: ELFFile, memories: dict[str, range]) -> None:
    """Sections lie in the regions that they belong to, and the stack below everything else."""
    for section in elf.iter_sections():
        if section["sh_flags"] & 2 and section["sh_size"]:
            place = "RAM" if section.name in (".stack", ".data", ".bss") else "VECTORS" if section.name in (".vectors", ".boot2") else "FLASH"
            region = memories.get(place, memories["FLASH"])
            assert section["sh_addr"] in region and section["sh_addr"] + section["sh_size"] - 1 in region, section.name
    for segment in elf.iter_segments("PT_LOAD"):
        assert segment["p_filesz"] == 0 or any(segment["p_paddr"] in region for n, region in memories.items() if n != "RAM")
    (low,) = (s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols() if s.name == "kt_board_stack_low")
    assert low == memories["RAM"].start, "an overflowing stack must leave the memory"


@needs_riscv
def test_a_risc_v_board_starts_at_its_first_word(toy: Path) -> None:
    board, path = boards.load("riscv32-virt"), toolchain.firmware(toy, "riscv32-virt")
    memories = {m.name: range(m.origin, m.origin + m.size) for m in board.memories}
    with path.open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_machine"] == "EM_RISCV" and elf["e_entry"] == memories["FLASH"].start
        symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        assert symbols["Reset_Handler"] == elf["e_entry"] and symbols["Trap_Handler"] % 4 == 0 and symbols["kt_board_stack_high"] % 16 == 0
        check_places(elf, memories)
    firmware_file.check(path, board)
    with pytest.raises(DeviceError, match="not a program for Arm"):
        firmware_file.check(path, boards.load("pico"))
    assert 0 < firmware_file.memory_use(path, board)["FLASH"].used < memories["FLASH"].stop - memories["FLASH"].start


@needs_arm
@pytest.mark.parametrize("name", ARM)
def test_vectors_and_sections(toy: Path, name: str) -> None:
    board, path = boards.load(name), toolchain.firmware(toy, name)
    memories = {m.name: range(m.origin, m.origin + m.size) for m in board.memories}
    with path.open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_machine"] == "EM_ARM" and elf["e_type"] == "ET_EXEC"
        symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        vectors = elf.get_section_by_name(".vectors")
        words = struct.unpack("<16I", vectors.data())
        boot = elf.get_section_by_name(".boot2")
        start = memories.get("VECTORS", memories["FLASH"]).start
        assert vectors["sh_addr"] == start + (boot["sh_size"] if boot else 0)
        assert vectors["sh_addr"] % 128 == 0, "a core ignores the low bits of the vectors' address"
        assert words[0] == symbols["kt_board_stack_high"] and words[0] % 8 == 0 and words[0] - 8 in memories["RAM"]
        assert words[1] == symbols["Reset_Handler"] | 1 == elf["e_entry"] | 1
        assert all(w % 2 == 1 and w in memories["FLASH"] for w in words[1:] if w)
        assert {words[15], words[3]} == {symbols["SysTick_Handler"] | 1, symbols["Fault_Handler"] | 1}
        check_places(elf, memories)


@needs_arm
@pytest.mark.parametrize("name", ARM)
def test_instruction_set_is_the_cores(toy: Path, name: str) -> None:
    board = boards.load(name)
    firmware_file.check(toolchain.firmware(toy, name), board)
    used = firmware_file.memory_use(toolchain.firmware(toy, name), board)
    assert used["FLASH"].used < used["FLASH"].size and 0 < used["RAM"].used < used["RAM"].size
    assert used["RAM"].size == next(m.size for m in board.memories if m.name == "RAM")


@needs_arm
def test_firmware_of_another_core_or_place_is_refused(toy: Path, tmp_path: Path) -> None:
    pico, nucleo = boards.load("pico"), boards.load("nucleo-f446re")
    with pytest.raises(DeviceError, match=r"is for v7E-M, the Cortex-M0\+ of pico takes v6-M(?s:.*)kilotune flash"):
        firmware_file.check(toolchain.firmware(toy, "nucleo-f446re"), pico)
    with pytest.raises(DeviceError, match="0x00004000, which is not in the FLASH of nucleo-f446re"):
        firmware_file.check(toolchain.firmware(toy, "adafruit-feather-m4"), nucleo)
    with pytest.raises(DeviceError, match="for another FPU than that of disco-f746ng: fpv5-sp-d16"):
        firmware_file.check(toolchain.firmware(toy, "nucleo-h743zi"), boards.load("disco-f746ng"))
    with pytest.raises(DeviceError, match="not a program for Arm"):
        firmware_file.check(toolchain.host_agent(toy), nucleo)
    (tmp_path / "x.elf").write_bytes(b"no elf")
    with pytest.raises(DeviceError, match="no ELF file"):
        firmware_file.check(tmp_path / "x.elf", nucleo)
    with pytest.raises(DeviceError, match="cannot be read"):
        firmware_file.check(tmp_path / "none.elf", nucleo)


@needs_arm
def test_the_pico_boots(toy: Path) -> None:
    """The boot ROM's checksum, worked out as its datasheet says."""
    with toolchain.firmware(toy, "pico").open("rb") as file:
        boot = ELFFile(file).get_section_by_name(".boot2").data()
    crc = 0xFFFFFFFF
    for byte in boot[:252]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    assert len(boot) == 256
    assert int.from_bytes(boot[252:], "little") == crc


# ---- A board of one's own ----


@pytest.mark.qemu
@needs_qemu
def test_adding_a_board_is_one_folder(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Cortex-M4 with less memory than any: a copy of the nearest folder, changed, outside the package."""
    folder = tmp_path / "mine" / "tiny_m4"
    shutil.copytree(boards.load("mps2-an386").folder, folder)
    shutil.copyfile(boards.load("mps2-an386").linker_script, folder / "link.ld")  # type: ignore[arg-type]
    shutil.copyfile(boards.load("mps2-an386").sources[0], folder / "board.c")
    edit(folder / "board.toml", 'name = "mps2-an386"', 'name = "tiny-m4"')
    edit(folder / "board.toml", "common/mps2.c", "board.c")
    edit(folder / "board.toml", "common/mps2.ld", "link.ld")
    edit(folder / "board.toml", "origin = 0x2000_0000\nsize = 0x0040_0000", "origin = 0x2000_0000\nsize = 0x0000_8000")
    edit(folder / "link.ld", "ORIGIN = 0x20000000, LENGTH = 4M", "ORIGIN = 0x20000000, LENGTH = 32K")
    monkeypatch.setenv("KILOTUNE_BOARDS", str(tmp_path / "mine"))
    assert "tiny-m4" in boards.emulated()
    with open_device(toy, "qemu:tiny-m4") as device, open_device(toy, "host") as host:
        for d in (device, host):
            d.fit(X, Y, epochs=1)
        assert device.state() == host.state()
    large = make_toy(tmp_path / "large", arena_bytes={"infer": 16, "train": 40000})
    with pytest.raises(DeviceError, match=r"RAM is \d+,\d{3} bytes too small(?s:.*)use a larger board: microbit-1m, mps2-an385"):
        toolchain.firmware(large, "tiny-m4")
    monkeypatch.setenv("KILOTUNE_BOARDS", str(tmp_path / "nothing"))
    with pytest.raises(DeviceError, match="KILOTUNE_BOARDS"):
        boards.names()
    monkeypatch.delenv("KILOTUNE_BOARDS")
    assert "tiny-m4" not in boards.names()
