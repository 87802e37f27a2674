"""The bytes of an adapter's file: each field where the format has it, and each that lies refused by name, checksums made right again."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kilotune as kt
from kiloc.emit.adapter_table import Entry, write_table
from kilotune.adapters.file import DIGEST, SIGNATURE, Adapter, _with_flags

BASE = bytes(range(1, 9))
ENTRIES = (
    Entry("dense", "bias", "value", "int32", 1, 3),
    Entry("dense", "lora_a", "value", "int8", 2, 5),
    Entry("head", "gain", "exponent", "int8", 1, 1),
)
PAYLOAD = struct.pack("<3i", 1, -2, 70000) + bytes(range(250, 256)) + bytes(4) + b"\x85"
TABLE = write_table(ENTRIES)


def made(**changes: object) -> Adapter:
    given = {"base_hash": BASE, "methods": "bias", "entries": ENTRIES, "payload": PAYLOAD, "name": "mine", "sequence": 7} | changes
    return Adapter.make(**given)  # type: ignore[arg-type]


def signed(adapter: Adapter) -> Adapter:
    return adapter.with_signature(bytes(32), lambda data: hashlib.sha512(data).digest())


def resealed(data: bytes, change: Callable[[bytearray], object]) -> bytes:
    """A file with digest changed, and every checksum and the digest made to fit again."""
    new = bytearray(data)
    change(new)
    table = len(TABLE)
    crc, start = 0, 0
    for end in (124, 128 + table, len(data) - 40, len(data) - 4):
        if end == len(data) - 4:
            new[start:end] = hashlib.blake2b(bytes(new[:start]), digest_size=32).digest()
        crc = zlib.crc32(bytes(new[start:end]), crc)
        new[end : end + 4] = struct.pack("<I", crc)
        start = end + 4
    return bytes(new)


def put(at: int, form: str, *values: object) -> Callable[[bytearray], object]:
    return lambda data: struct.pack_into(form, data, at, *values)


def test_fields_stand_where_the_format_has_them() -> None:
    data = made().data
    filled = PAYLOAD + bytes(1)
    total = 128 + len(TABLE) + 4 + len(filled) + 4 + 36
    header = b"KTA\x1a" + struct.pack("<HH", 1, DIGEST) + BASE + struct.pack("<IIIHHII", total, len(TABLE), len(PAYLOAD), 3, 2, 7, 0)
    header += b"mine".ljust(24, b"\0") + b"bias".ljust(60, b"\0")
    assert len(header) == 124 and data[:124] == header and len(data) == total == len(made())
    assert data[128 : 128 + len(TABLE)] == TABLE and data[132 + len(TABLE) :][: len(filled)] == filled
    digest = data[-36:-4]
    assert digest == hashlib.blake2b(data[:-36], digest_size=32).digest() == made().digest
    crc = 0
    for section, end in ((header, 124), (TABLE, 128 + len(TABLE)), (filled, total - 40), (digest, total - 4)):
        crc = zlib.crc32(section, crc)
        assert data[end : end + 4] == struct.pack("<I", crc), "each checksum goes on from the one before"
    assert resealed(data, lambda new: None) == data


def test_what_is_read_is_what_was_written() -> None:
    a = made()
    assert (a.base_hash, a.name, a.methods, a.sequence, a.entries, a.payload) == (BASE.hex(), "mine", "bias", 7, ENTRIES, PAYLOAD)
    assert (a.public_key, a.signature, a.signed_bytes) == (None, None, a.data) and a == made() and a != made(name="other")
    values = a.values()
    assert [values[e.name].tolist() for e in ENTRIES] == [[[1, -2, 70000]], [[-6, -5, -4, -3, -2], [-1, 0, 0, 0, 0]], [[-123]]]
    assert values["dense.bias"].dtype == np.int32 and values["dense.lora_a"].shape == (2, 5)
    unnamed = Adapter.make(BASE, "bias", ENTRIES, PAYLOAD)
    assert (unnamed.name, unnamed.sequence) == ("", 0)
    again = a.labelled(sequence=9)
    assert (again.name, again.sequence) == ("mine", 9) and (a.labelled("x").name, a.labelled("").sequence) == ("x", 7)
    assert a.labelled("x", 2**32 - 1).sequence == 2**32 - 1 and a.labelled("n" * 24).name == "n" * 24 and a.labelled(sequence=0).sequence == 0
    assert made(methods="m" * 59 + "ö").methods == "m" * 59 and made(methods="m" * 70).methods == "m" * 60
    for size in range(4):
        entries = (Entry("l", "gain", "value", "int8", 1, 4 + size),)
        assert made(entries=entries, payload=bytes(range(4 + size))).payload == bytes(range(4 + size))


@pytest.mark.parametrize("name", ["n" * 25, "ä" * 13, "a\0b"])
def test_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^the name .* has {len(name.encode())} bytes: at most 24 fit, and no zero$"):
        made(name=name)


@pytest.mark.parametrize("sequence", [-1, 2**32])
def test_sequence_numbers_that_do_not_fit(sequence: int) -> None:
    with pytest.raises(ValueError, match=f"the sequence number {sequence} is not between 0 and 4294967295"):
        made(sequence=sequence)


def test_digest_and_signature_come_and_go() -> None:
    a = made()
    plain = Adapter(_with_flags(a.data, 0))
    assert plain.digest is None and len(plain) == len(a) - 36 and plain.with_digest() == a and a.with_digest() is a
    s = signed(a)
    assert (
        len(s) == len(a) + 100
        and s.data[6:8] == b"\3\0"
        and (s.digest, s.payload) == (hashlib.blake2b(s.data[:-136], digest_size=32).digest(), PAYLOAD)
    )
    assert s.public_key == bytes(32) and s.signed_bytes == s.data[:-100] and s.signature == hashlib.sha512(s.data[:-100]).digest()
    assert signed(s) == s == signed(plain) and s.with_digest() is s
    assert s.labelled() == a and s.labelled("other").signature is None
    bare = Adapter(_sealed_signature(plain))
    assert bare.digest is None and bare.public_key == b"k" * 32 and bare.signed_bytes == bare.data[:-100]


def _sealed_signature(plain: Adapter) -> bytes:
    start = _with_flags(plain.data, SIGNATURE)
    section = b"k" * 32 + b"s" * 64
    return start + section + struct.pack("<I", zlib.crc32(section, struct.unpack("<I", start[-4:])[0]))


# ---- What is refused ----


def refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Adapter(data)


def test_every_length_and_every_flipped_bit() -> None:
    data = signed(made()).data
    refused(b"", "adapter truncated: 0 bytes, less than its header")
    refused(data[:3], "adapter truncated: 3 bytes, less than its header")
    refused(data[:127], "adapter truncated: 127 bytes, less than its header")
    refused(b"KTB", r"not an adapter: it starts with b'KTB', not b'KTA\\x1a'")
    for length in range(128, len(data)):
        refused(data[:length], f"adapter truncated: {length} of {len(data)} bytes")
    refused(data + b"\0", "adapter damaged: 1 bytes follow its end")
    for at in range(len(data)):
        for bit in (0, 7):
            with pytest.raises(ValueError, match=r"not an adapter|adapter in version|adapter damaged"):
                Adapter(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])


def test_the_section_that_is_damaged_is_named() -> None:
    both = signed(made()).data
    without = _sealed_signature(Adapter(_with_flags(made().data, 0)))

    def flipped(data: bytes, at: int) -> bytes:
        at %= len(data)
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    fits = "adapter damaged: the checksum of its {} does not fit"
    refused(flipped(both, 9), fits.format("header"))
    refused(flipped(both, 130), fits.format("layer table"))
    refused(flipped(both, 140 + len(TABLE)), fits.format("payload"))
    refused(flipped(both, -120), fits.format("digest or signature"))
    refused(flipped(both, -20), fits.format("signature"))
    refused(flipped(without, -20), fits.format("digest or signature"))
    other = made(name="other").data
    refused(made().data[: 132 + len(TABLE)] + other[132 + len(TABLE) :], fits.format("payload"))


@pytest.mark.parametrize("version", [0, 2, 257])
def test_other_versions(version: int) -> None:
    refused(
        resealed(made().data, put(4, "<H", version)),
        f"adapter in version {version} of the format: this is kilotune {re.escape(kt.__version__)}, which reads version 1",
    )


CONTRADICTION = "adapter damaged: the sizes in its header contradict each other"
UNFITTING = "adapter damaged: its layer table does not fit its payload"


@pytest.mark.parametrize(
    ("at", "form", "value", "message"),
    [
        (6, "<H", 0, CONTRADICTION),
        (6, "<H", 3, CONTRADICTION),
        (6, "<H", 5, CONTRADICTION),
        (36, "<I", 1, CONTRADICTION),
        (16, "<I", 0, CONTRADICTION),
        (16, "<I", len(made()) + 4, CONTRADICTION),
        (20, "<I", len(TABLE) + 8, CONTRADICTION),
        (24, "<I", 2**31, CONTRADICTION),
        (24, "<I", len(PAYLOAD) + 1, UNFITTING),
        (24, "<I", len(PAYLOAD) - 1, UNFITTING),
        (28, "<H", 2, UNFITTING),
        (30, "<H", 1, "adapter damaged: entry 2 of its layer table is unknown"),
        (30, "<H", 9, "adapter damaged: entry 0 of its layer table is unknown"),
        (28, "<H", 500, "adapter damaged: .*"),
        (40, "<B", 0xFF, "adapter damaged: 'utf-8' codec .*"),
        (64, "<B", 0xFF, "adapter damaged: 'utf-8' codec .*"),
    ],
)
def test_headers_that_lie(at: int, form: str, value: int, message: str) -> None:
    refused(resealed(made().data, put(at, form, value)), message)


def test_sizes_beyond_the_largest() -> None:
    """Said to be 128 MB and one word: refused before anything is read, also where the total agrees."""
    for at, largest in ((20, 0x08000000), (24, 0x08000000)):
        for size, message in ((largest, "adapter truncated: .*"), (largest + 4, CONTRADICTION)):
            other = len(PAYLOAD) + 1 if at == 20 else len(TABLE)
            total = 128 + size + other + 8 + 36
            refused(resealed(made().data, lambda new, a=at, s=size, t=total: (put(a, "<I", s)(new), put(16, "<I", t)(new))), message)  # type: ignore[misc]


def test_a_digest_that_is_not_that_of_the_content() -> None:
    data = made().data
    wrong = bytes(32)
    sealed = data[:-36] + wrong + struct.pack("<I", zlib.crc32(wrong, struct.unpack("<I", data[-40:-36])[0]))
    refused(sealed, "adapter damaged: its digest does not fit its content")


def test_tables_that_are_not_as_they_would_be_written() -> None:
    """A second spelling of the same table is none: bytes behind its names, and a part that its layers do not have."""
    names = 128 + 3 * 12
    refused(resealed(made().data, put(names + len(TABLE) - 36 - 1, "<B", 1)), UNFITTING)
    refused(resealed(made().data, put(128 + 12 + 2, "<B", 0x3F)), "adapter damaged: entry 1 of its layer table is unknown")
    refused(resealed(made().data, put(128 + 12 + 4, "<I", 3)), UNFITTING)


# ---- Files ----


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.kta"
    made().save(path)
    assert path.read_bytes() == made().data and Adapter.load(path) == made() and list(tmp_path.iterdir()) == [path]
    order: list[str] = []
    import os

    sync, move = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        order.append(f"{os.fstat(descriptor).st_size} bytes")
        sync(descriptor)

    def moved(source: Path, target: Path) -> None:
        order.append("replaced")
        assert path.read_bytes() == made().data
        move(source, target)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", moved)
    made(name="second").save(path)
    assert order == [f"{len(made())} bytes", "replaced"] and Adapter.load(path).name == "second"

    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(kt.CompileError, match="No space"):
        made().save(path)
    assert Adapter.load(path).name == "second" and list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"KTA")
    with pytest.raises(ValueError, match=rf"^{path}: adapter truncated: 3 bytes, less than its header$"):
        Adapter.load(path)
