"""Updates of bounded length under noise: C has the bits of Python on the host and on a board, the generator those of its standard, and the noise its
distribution."""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

import kilotune as kt
from kiloc.export import tflite
from kilotune import federated
from kilotune.federated import private

from .board_programs import linked, printed
from .programs import SANITIZERS

SIZE = 60
CASES = [(65536, 0), (5000, 1), (5000, 40), (1 << 20, 1 << 20), (1, 300)]


def updates() -> list[tuple[int, int, bytes, int, Any]]:
    rng = np.random.default_rng(4)
    found = []
    for number, (clip, sigma) in enumerate(CASES):
        values = rng.integers(-(2 ** (24 - 5 * (number % 3))), 2 ** (24 - 5 * (number % 3)), SIZE)
        found.append((clip, sigma, rng.bytes(32), int.from_bytes(rng.bytes(12), "little"), values))
    return found


def written(folder: Path) -> None:
    """updates.h: the cases as C."""
    rows = []
    for clip, sigma, key, nonce, values in updates():
        words = [", ".join(f"{w}u" for w in struct.unpack(f"<{len(b) // 4}I", b)) for b in (key, nonce.to_bytes(12, "little"))]
        rows.append(f"{{{{{clip}, {sigma}, {{{words[0]}}}, {{{words[1]}}}}}, {{{', '.join(map(str, values))}}}}}")
    head = f"enum {{ SIZE = {SIZE} }};\nstatic struct {{ kt_private_update_params params; int32_t values[SIZE]; }} cases[] = {{\n"
    (folder / "updates.h").write_text(head + ",\n".join(rows) + "\n};\n")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("private")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    options, methods = kt.AdapterOptions(private_updates=True), [kt.BiasOnly(), kt.LoRA(rank=2, layers="all")]
    return kt.build(kt.load(folder / "tiny.tflite"), folder / "build", method=methods, adapters=options, measure=False)


@pytest.mark.qemu
def test_host_and_board_have_the_bits_of_python(tmp_path: Path, build: kt.Build, qemu: Any) -> None:
    written(tmp_path)
    expected = [str(v) for clip, sigma, key, nonce, values in updates() for v in federated.private_update(values, clip, sigma, key, nonce)]
    source = Path(__file__).parent / "private.c"
    for board, compiler, flags in (("posix", "gcc", SANITIZERS), ("mps2-an386", "arm-none-eabi-gcc", ("-Os",))):
        program = linked([build.directory], source, board, tmp_path / board, compiler, ["-std=c99", f"-I{tmp_path}", *flags])
        assert printed(program, board).split() == expected


ENTROPY = bytes(range(100, 132))


def key_of(entropy: bytes, before: bytes = bytes(32), count: int = 2**32 - 1) -> bytes:
    """The key that kt_noise_seed makes of one, after so many updates."""
    words = private._words(before, count | (2**32 - 1) << 64)
    return b"".join(struct.pack("<I", next(words) ^ w) for w in struct.unpack("<8I", entropy))


@pytest.fixture(params=["host", "agent:host", pytest.param("qemu:mps2-an386", marks=pytest.mark.qemu)])
def device(request: pytest.FixtureRequest, build: kt.Build) -> Iterator[kt.Device]:
    if "qemu" in request.param and not shutil.which("qemu-system-arm"):
        pytest.skip("qemu-system-arm is not installed")
    with build.open(request.param) as opened:
        yield opened


def test_devices_make_their_updates(device: kt.Device) -> None:
    """The bits of Python, another noise each time, also after a reset and another secret; the count goes on."""
    rng, before = np.random.default_rng(2), device.export_adapter()
    shape = device.manifest.inputs[0].shape
    for _ in range(3):
        x = rng.integers(-128, 128, (4, *shape[1:])).astype(np.int8)
        device.fit(x, np.arange(4) % (device.manifest.classes or 1), epochs=1, hold_out=0, progress=False)
    with pytest.raises(kt.DeviceError, match="no secret"):
        device._private_update(before.data, 1, 1)
    assert device.seed_noise(ENTROPY) == 0
    update, key = federated.update_of(device.export_adapter(), before), key_of(ENTROPY)
    assert np.abs(update).max() > 0
    for count, (clip, sigma) in enumerate([(5000, 40), (5000, 40), (2**20, 2**20)], 1):
        assert np.array_equal(device.private_update(before, clip, sigma), federated.private_update(update, clip, sigma, key, count))
    assert device.seed_noise(ENTROPY) == 3
    key = key_of(ENTROPY, key, 3)
    if device.name != "host":
        device.reboot()  # type: ignore[attr-defined, unused-ignore]
        update = federated.update_of(device.export_adapter(), before)
        assert not update.any()
    assert np.array_equal(device.private_update(before, 300, 7), federated.private_update(update, 300, 7, key, 4))
    for clip, sigma in ((0, 1), (1, 0), (2**20 + 1, 1), (1, 2**20 + 1), (True, 1), (1.5, 1)):
        with pytest.raises(ValueError, match="pass an integer"):
            device.private_update(before, clip, sigma)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="31 bytes"):
        device.seed_noise(bytes(31))
    with pytest.raises(kt.DeviceError, match="belongs to base model"):
        device.private_update(kt.Adapter.make(b"another!", before.methods, before.entries, before.payload), 1, 1)


def test_differences_of_any_exponents(build: kt.Build) -> None:
    """C as Python, from the finest exponents to those beyond every limit."""
    rng = np.random.default_rng(5)
    with build.open() as device:
        like, host = device.export_adapter(), device
        made = []
        for low, high in ((-128, 127), (-50, -30), (-20, -8), (-45, -5)):
            parts = []
            for e in like.entries:
                lowest, highest = (low, high) if e.part == "exponent" else (-128, 127) if e.dtype == "int8" else (-(2**31), 2**31 - 1)
                parts.append(rng.integers(lowest, highest + 1, e.rows * e.columns).astype(np.dtype(e.dtype).newbyteorder("<")).tobytes())
            made.append(kt.Adapter.make(bytes.fromhex(like.base_hash), like.methods, like.entries, b"".join(parts)))
        noise = host._noise  # type: ignore[attr-defined]
        noise.seed(ENTROPY)
        count = 0
        for own in made:
            for base in made:
                count += 1
                found = np.frombuffer(noise.update(base.data, own.data, own.data.index(own.payload), 2**20, 1), "<i4")
                expected = federated.private_update(federated.update_of(own, base), 2**20, 1, key_of(ENTROPY), count)
                assert np.array_equal(found, expected)


def test_builds_without_updates_say_so(tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(tflite.write(tiny()))
    plain = kt.build(kt.load(tmp_path / "tiny.tflite"), tmp_path / "build", method=kt.BiasOnly(), measure=False)
    with plain.open("agent:host") as device:
        before = device.export_adapter()
        with pytest.raises(kt.DeviceError, match="private_updates=True"):
            device.private_update(before, 1, 1)
        with pytest.raises(kt.DeviceError, match="built without training"):
            device._private_update(before.data, 1, 1)


def test_key_stream_is_that_of_rfc_8439() -> None:
    """Its section 2.3.2, whose block is the second of ours."""
    words = private._words(bytes(range(32)), int.from_bytes(bytes.fromhex("000000090000004a00000000"), "little"))
    block = [next(words) for _ in range(32)][16:]
    expected = (
        "e4e7f110 15593bd1 1fdd0f50 c47120a3 c7f4d1c7 0368c033 9aaa2204 4e6cd4c3 466482d2 09aa9f07 05d7c214 a2028bd9 d19c12b5 b94e16de e883d0cb"
    )
    assert [f"{w:08x}" for w in block] == [*expected.split(), "4e3c50a2"]


@pytest.mark.parametrize("sigma", [1, 3])
def test_noise_is_a_discrete_gaussian(sigma: int) -> None:
    """Frequencies against the exact probabilities: chi squared of the integers that are expected five times, at 5 standard deviations."""
    count, draws = 2500, private.Draws(b"k" * 32, 7)
    found = np.array([draws.gaussian(sigma) for _ in range(count)])
    weights = {x: math.exp(-(x * x) / (2 * sigma * sigma)) for x in range(-20 * sigma, 20 * sigma + 1)}
    expected = {x: count * w / sum(weights.values()) for x, w in weights.items()}
    kept = [x for x, e in expected.items() if e >= 5]
    chi = sum((int((found == x).sum()) - expected[x]) ** 2 / expected[x] for x in kept)
    assert chi < len(kept) + 5 * math.sqrt(2 * len(kept))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), clip=st.integers(1, 2**20), bits=st.integers(1, 26))
def test_norm_is_bounded(seed: int, clip: int, bits: int) -> None:
    values = np.random.default_rng(seed).integers(-(2**bits), 2**bits, 50)
    short = federated.private_update(values, clip, 0, bytes(32), 0)
    norm, before = (math.isqrt(sum(int(v) ** 2 for v in x)) for x in (short, np.clip(values, -(2**23), 2**23)))
    assert sum(int(v) ** 2 for v in short) <= clip * clip
    assert norm == before if before < clip else norm >= clip - 8


def test_refusals() -> None:
    update = np.zeros(4, np.int64)
    for arguments in ((0, 1, bytes(32), 0), (1, 2**20 + 1, bytes(32), 0), (1, 1, bytes(31), 0), (1, 1, bytes(32), -1)):
        with pytest.raises(ValueError, match=r"clip|key"):
            federated.private_update(update, *arguments)


def test_epsilon_is_near_that_of_concentrated_privacy() -> None:
    """rho = rounds / (2 noise^2) gives epsilon <= rho + 2 sqrt(rho log(1 / delta)): Bun and Steinke (2016). The accountant is a little tighter."""
    pytest.importorskip("dp_accounting")
    rho = 8 / (2 * 4**2)
    bound = rho + 2 * math.sqrt(rho * math.log(1e5))
    assert 0.8 * bound < federated.epsilon(4, rounds=8, delta=1e-5) < bound
    with pytest.raises(ValueError, match="noise"):
        federated.epsilon(0, rounds=1)
