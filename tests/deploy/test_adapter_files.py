"""Adapters as files: what is written reads back, and nothing that is not whole and of this base is taken, in Python and in C."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import loaded_tiny, samples, tiny

import kilotune as kt
from kiloc.emit.adapter_table import HEADER_BYTES, Entry, read_table, write_table
from kiloc.peft import Method

from .programs import compiled, run, runtime_program

METHODS: list[Method] = [kt.LoRA(rank=2, layers="first,second"), kt.BiasOnly(), kt.Head()]
X = samples(tiny(), 40)
Y = np.random.default_rng(1).integers(0, 3, 40)
TRIALS = 100_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return loaded_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def training(model: kt.Model, tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    return kt.build(model, tmp_path_factory.mktemp("training") / "b", method=METHODS, optimizer=kt.SGD(lr=0.1), measure=False)


@pytest.fixture(scope="module")
def inference(model: kt.Model, tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    return kt.build(model, tmp_path_factory.mktemp("inference") / "b", method=METHODS, train=False, measure=False)


def trained(build: kt.Build, epochs: int = 1) -> tuple[kt.Adapter, Any]:
    """An adapter and the results with it."""
    with build.open() as device:
        device.fit(X, Y, epochs=epochs)
        return device.export_adapter(), device.infer(X)


# ---- What is written ----


def test_the_file_says_what_it_holds(training: kt.Build) -> None:
    adapter, _ = trained(training)
    assert adapter.methods == "lora r=2 first,second; bias all; head" and adapter.base_hash == training.manifest["base_hash"]
    assert {(e.layer, e.role) for e in adapter.entries if e.part == "value"} == {
        *((layer, "bias") for layer in ("first", "second", "logits")),
        *((layer, role) for layer in ("first", "second") for role in ("lora_a", "lora_b")),
        ("logits", "delta"),
    }
    values = adapter.values()
    assert values["first.bias"].dtype == np.int32 and values["first.lora_a"].shape == (2, 8) and values["logits.delta"].shape == (3, 8)
    assert b"".join(v.tobytes() for v in values.values()) == adapter.payload
    assert adapter.digest is not None and adapter.public_key is None and adapter.sequence == 0 and adapter.name == ""


def test_what_the_device_writes_is_what_python_writes(training: kt.Build) -> None:
    """Header, table, payload and checksums byte by byte; the digest is added on the host."""
    adapter, _ = trained(training)
    with training.open() as device:
        device.load_adapter(adapter)
        raw = device._export_adapter()
    made = kt.Adapter.make(bytes.fromhex(adapter.base_hash), adapter.methods, adapter.entries, adapter.payload)
    assert kt.Adapter(raw).digest is None and kt.Adapter(raw).with_digest() == adapter == made


def test_names_and_sequence_numbers(training: kt.Build, inference: kt.Build, tmp_path: Path) -> None:
    adapter, outputs = trained(training)
    named = adapter.labelled("älice", sequence=7)
    named.save(tmp_path / "a.kta")
    again = kt.Adapter.load(tmp_path / "a.kta")
    assert (again.name, again.sequence, again.payload) == ("älice", 7, adapter.payload) and again == named
    with inference.open() as device:
        device.load_adapter(named)
        assert np.array_equal(device.infer(X), outputs)
    for name in ("x" * 25, "ä" * 13, "a\0b"):
        with pytest.raises(ValueError, match="at most 24 fit"):
            adapter.labelled(name)
    with pytest.raises(ValueError, match="sequence number"):
        adapter.labelled(sequence=2**32)


def test_the_table_reads_back() -> None:
    entries = (
        Entry("a/b", "bias", "value", "int32", 1, 7),
        Entry("c", "lora_a", "range", "int8", 1, 1),
        Entry("a/b", "delta", "value", "int8", 3, 5),
    )
    table = write_table(entries)
    assert len(table) % 8 == 4 and read_table(table, 3, 2) == entries


def test_save_leaves_the_old_file_when_it_fails(training: kt.Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, old = tmp_path / "me.kta", trained(training)[0]
    old.save(path)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(kt.CompileError, match=r"cannot be written: No space left(?s:.*)make room"):
        old.labelled("new").save(path)
    assert kt.Adapter.load(path) == old
    assert [p.name for p in tmp_path.iterdir()] == ["me.kta"]


# ---- Lower ranks ----


def test_a_lower_rank_fits_a_higher_one(model: kt.Model, tmp_path: Path) -> None:
    """Bit for bit, in a training and an inference-only build, in LoRA and in bottleneck adapters; and not the other way round."""
    methods = {r: [kt.LoRA(rank=r, layers="all"), kt.BottleneckAdapter(width=2 * r, layers="first"), kt.BiasOnly()] for r in (1, 3)}
    low = kt.build(model, tmp_path / "low", method=methods[1], optimizer=kt.SGD(lr=0.1), measure=False)
    adapter, outputs = trained(low, epochs=3)
    for train in (True, False):
        high = kt.build(model, tmp_path / f"high{train}", method=methods[3], train=train, measure=False)
        with high.open() as device:
            assert not np.array_equal(device.infer(X), outputs)
            device.load_adapter(adapter)
            assert np.array_equal(device.infer(X), outputs)
            larger = device.export_adapter()
            assert len(larger) > len(adapter)
        with low.open() as device:
            before = device.state()
            with pytest.raises(kt.DeviceError, match="bytes, this build's have"):
                device.load_adapter(larger)
            assert device.state() == before
    with kt.build(model, tmp_path / "train", method=methods[3], optimizer=kt.SGD(lr=0.1), measure=False).open() as device:
        device.load_adapter(adapter)
        device.fit(X, Y, epochs=1)
        assert not np.array_equal(device.infer(X), outputs), "it is trained on, with the rank of the build"


def test_another_alpha_is_another_base(model: kt.Model, tmp_path: Path) -> None:
    """alpha / rank scales what is read: the same alpha with another rank does not fit."""
    one, two = (
        kt.build(model, tmp_path / str(rank), method=kt.LoRA(rank=rank, alpha=4.0, layers="all"), train=False, measure=False) for rank in (1, 2)
    )
    assert one.manifest["base_hash"] != two.manifest["base_hash"]


# ---- What is refused ----


def test_damage_is_named(training: kt.Build, tmp_path: Path) -> None:
    data = trained(training)[0].data
    (table,) = struct.unpack_from("<I", data, 20)
    cases = {
        "starts with": b"XTA" + data[3:],
        "truncated: 10 bytes": data[:10],
        f"truncated: {len(data) - 1} of {len(data)}": data[:-1],
        "1 bytes follow its end": data + b"\0",
        "version 2": data[:4] + b"\2" + data[5:],
        "its header": data[:50] + b"!" + data[51:],
        "its layer table": data[:HEADER_BYTES] + b"!" + data[HEADER_BYTES + 1 :],
        "its payload": data[: HEADER_BYTES + table + 6] + b"!" + data[HEADER_BYTES + table + 7 :],
        "its digest": data[:-8] + bytes([data[-8] ^ 1]) + data[-7:],
    }
    for words, wrong in cases.items():
        with pytest.raises(ValueError, match=words):
            kt.Adapter(wrong)
        (tmp_path / "a.kta").write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"a\.kta: .*{words}"):
            kt.Adapter.load(tmp_path / "a.kta")
    swapped = bytearray(data[:-36])  # a payload that fits its checksum, but not the digest
    payload = slice(HEADER_BYTES + table + 4, len(swapped) - 4)
    swapped[payload.start] ^= 1
    swapped[-4:] = struct.pack("<I", zlib.crc32(swapped[payload], *struct.unpack("<I", swapped[payload.start - 4 : payload.start])))
    with pytest.raises(ValueError, match="digest does not fit"):
        kt.Adapter(bytes(swapped) + data[-36:-4] + struct.pack("<I", zlib.crc32(data[-36:-4], *struct.unpack("<I", swapped[-4:]))))


def test_sections_of_two_files_do_not_go_together(training: kt.Build, inference: kt.Build) -> None:
    """Each section is whole, but one belongs to another file: what an interrupted update could leave behind."""
    (one, _), (two, _) = trained(training), trained(training, epochs=3)
    named = one.labelled("one")
    start = HEADER_BYTES + struct.unpack_from("<I", one.data, 20)[0] + 4
    mixed = named.data[:start] + two.data[start:]
    assert named.data[start:] != two.data[start:] and len(mixed) == len(two.data)
    with pytest.raises(ValueError, match="its payload does not fit"):
        kt.Adapter(mixed)
    with inference.open() as device, pytest.raises(kt.DeviceError, match="damaged"):
        device._load_adapter(mixed)


def test_hostile_files(tmp_path: Path) -> None:
    """Right checksums, and one wrong statement each: a case for every check of kt_adapter_open and of the pool."""
    assert run(runtime_program("hostile_files.c", tmp_path)) == "passed\n"


def test_no_damage_gets_through_in_python(training: kt.Build) -> None:
    data, rng = trained(training)[0].data, random.Random(3)
    for trial in range(TRIALS):
        if trial % 2:
            wrong = bytearray(data)
            for at in rng.sample(range(8 * len(data)), rng.choice((1, 1, 2, 3, 5))):
                wrong[at // 8] ^= 1 << at % 8
        else:
            wrong = bytearray(data[: rng.randrange(len(data))])
        with pytest.raises(ValueError, match="adapter"):
            kt.Adapter(bytes(wrong))


FUZZ = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tiny.h"

static uint64_t arena[TINY_ARENA_BYTES_INFER / 8 + 1], state[TINY_STATE_BYTES / 8 + 1], before[TINY_STATE_BYTES / 8 + 1];
static uint32_t seed = 12345;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
    return seed % below;
}

int main(int count, char **arguments)
{
    FILE *const file = fopen(arguments[1], "rb");
    static uint8_t whole[1 << 16];
    const size_t length = fread(whole, 1, sizeof whole, file);
    const long trials = count > 2 ? atol(arguments[2]) : 0;
    static tiny_model m;
    fclose(file);
    if (tiny_init(&m, arena, sizeof arena, state, sizeof state) != KT_OK || tiny_adapter_load(&m, whole, length) != KT_OK) {
        return 2;
    }
    memcpy(before, state, sizeof before);
    long counts[17] = {0};
    for (long trial = 0; trial < trials; trial++) {
        const size_t kept = trial % 2 ? length : draw((uint32_t)length);
        uint8_t *const wrong = malloc(kept + !kept); /* of exactly this size: a byte read beyond it is reported */
        memcpy(wrong, whole, kept);
        for (uint32_t flips = trial % 2 ? 1 + draw(3) : 0, last = 0xFFFFFFFF; flips > 0; flips--) {
            const uint32_t at = draw((uint32_t)kept * 8);
            if (at != last) {
                wrong[at / 8] ^= (uint8_t)(1 << at % 8);
            }
            last = at;
        }
        const kt_status status = memcmp(wrong, whole, kept) != 0 || kept < length ? tiny_adapter_load(&m, wrong, kept) : KT_ERROR_ADAPTER;
        counts[status]++;
        free(wrong);
    }
    printf("%ld %ld %ld\\n", counts[KT_OK], counts[KT_ERROR_ADAPTER], counts[KT_ERROR_VERSION]);
    return memcmp(before, state, sizeof before) != 0;
}
"""


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_no_damage_gets_through_in_c(kind: str, training: kt.Build, inference: kt.Build, tmp_path: Path) -> None:
    """Under address and undefined-behaviour sanitizers; the state of the working model stays as it was."""
    trained(training)[0].save(tmp_path / "whole.kta")
    program = compiled({"training": training, "inference": inference}[kind], FUZZ, tmp_path)
    taken, damaged, version = map(int, run(program, tmp_path / "whole.kta", str(TRIALS)).split())
    assert taken == 0 and damaged + version == TRIALS and damaged > 0.9 * TRIALS


def test_a_model_may_be_called_base(model: kt.Model, tmp_path: Path) -> None:
    """base_values is the type of its trained values then, in a build that takes adapters alone."""
    build = kt.build(model, tmp_path / "b", method=METHODS, train=False, name="base", measure=False)
    with build.open() as device:
        assert np.shape(device.infer(X))[0] == len(X)
