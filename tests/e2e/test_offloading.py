"""Moments and saved values in slow memory: a file on the host, external RAM of an emulated board. The bits are those of the usual build."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from deploy.programs import compiled, run
from golden.reference import Reference, image, samples

import kilotune as kt
from kiloc.export import tflite
from kiloc.optim import Optimizer
from kiloc.options import Options
from kiloc.pipeline import compile_graph
from kilotune import boards, resources
from kilotune.cli import main

OPTIMIZERS: dict[str, Optimizer] = {
    "adam": kt.Adam(),
    "adam8": kt.Adam(state_bits=8, weight_decay=0.01),
    "momentum": kt.SGD(momentum=0.9),
    "lion8": kt.Lion(state_bits=8),
}


def build(data_dir: Path, folder: Path, offload: str, optimizer: Optimizer, **options: Any) -> kt.Build:
    model = kt.load(data_dir / "models" / "kws_dscnn_int8.tflite")
    method = options.pop("method", [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")])
    return kt.build(model, folder / offload, method=method, optimizer=optimizer, offload=offload, name="model", measure=False, **options)


def trained(build: kt.Build, device: str) -> tuple[list[float], bytes, bytes]:
    x = np.random.default_rng(0).integers(-128, 128, (4, 49, 10, 1)).astype(np.int8)
    with build.open(device) as opened:
        losses = []
        for i, sample in enumerate(x):
            losses.append(opened.train_step(sample, i))
            if i % 2:
                opened.apply()
        return losses, np.asarray(opened.infer(x)).tobytes(), bytes(opened.export_adapter().payload)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_bits_as_in_the_state(name: str, data_dir: Path, tmp_path: Path) -> None:
    usual, paged = (build(data_dir, tmp_path, offload, OPTIMIZERS[name]) for offload in ("none", "optimizer"))
    expected = trained(usual, "host")
    assert trained(paged, "host") == trained(paged, "agent:host") == expected
    before, after = usual.report["memory"], paged.report["memory"]
    assert (before["slow"], after["by_kind"]["optimizer"]) == (0, 0)
    moments = before["by_kind"]["optimizer"]
    assert abs(before["state"] - after["state"] - moments) < 4 and 0 <= after["slow"] - moments < 200, "each page is rounded up to words"
    assert after["train_total"] < before["train_total"] - 0.7 * after["slow"]


@pytest.mark.parametrize("name", ["adam", "adam8"])
def test_accumulated_gradients(name: str, tmp_path: Path) -> None:
    """`apply` pages the moments into the arena; the state is that of the interpreter, and the results those of moments in the state."""
    loaded, optimizer = model(tmp_path), OPTIMIZERS[name]
    options = Options(methods=tuple(OPTIONS["method"]), loss="mse", optimizer=optimizer, offload="optimizer", accumulate=2)
    reference = Reference(compile_graph(loaded.graph, options, "0"))
    given = {**OPTIONS, "optimizer": optimizer, "accumulate": 2}
    builds = [kt.build(loaded, tmp_path / offload, **{**given, "offload": offload}) for offload in ("none", "optimizer")]
    x, y = samples(image(), 6), np.random.default_rng(1).uniform(-1, 1, (6, 4)).astype(np.float32)
    with builds[0].open() as usual, builds[1].open() as paged, builds[1].open("agent:host") as agent:
        for i, (sample, target) in enumerate(zip(x, y, strict=True)):
            losses = {d.train_step(sample, target) for d in (usual, paged, agent)} | {reference.train_step(sample, target)}
            assert len(losses) == 1
            if i % 2:
                for d in (usual, paged, agent, reference):
                    d.apply()
        assert paged.state() == agent.state() and paged.state()[12:] == reference.state()[12:]
        assert bytes(usual.export_adapter().payload) == bytes(paged.export_adapter().payload)
        assert np.array_equal(usual.infer(x), paged.infer(x))


@pytest.mark.parametrize("name", ["adam", "adam8", "lion8"])
def test_moments_come_in_pages(name: str, data_dir: Path, tmp_path: Path) -> None:
    """Parameters of more than a page, the last of which is partly filled: the arena holds pages of moments, never those of a parameter."""
    options: dict[str, Any] = {"method": [kt.Full(), kt.BiasOnly()]}
    usual, paged = (build(data_dir, tmp_path, offload, OPTIMIZERS[name], **options) for offload in ("none", "optimizer"))
    assert trained(paged, "host") == trained(usual, "host")
    source = (paged.directory / "model.c").read_text()
    assert all(f"at < {whole}; at += 256" in source for whole in (4096, 512)), "of 64x64 weights, and of 3x3x64, of which 64 are left"
    pages = 2 * 256 * (4 if name == "adam" else 1) + 2 * 8 * 4
    grown = paged.report["memory"]["train_arena"] - usual.report["memory"]["train_arena"]
    assert grown <= pages < paged.report["memory"]["slow"] / 20


@pytest.mark.parametrize(("offload", "optimizer", "accumulate"), [("activations", "momentum", 1), ("all", "adam8", 1), ("all", "adam", 2)])
def test_saved_values_in_slow_memory(offload: str, optimizer: str, accumulate: int, data_dir: Path, tmp_path: Path) -> None:
    usual, paged = (build(data_dir, tmp_path, way, OPTIMIZERS[optimizer], accumulate=accumulate) for way in ("none", offload))
    expected = trained(usual, "host")
    assert trained(paged, "host") == trained(paged, "agent:host") == expected
    before, after = usual.report["memory"], paged.report["memory"]
    assert after["train_arena"] < 0.45 * before["train_arena"]
    assert usual.report["macs"] == paged.report["macs"], "nothing is computed twice"
    assert (before["moved"], after["moved"] > 2 * 8000) == (0, True)


def test_only_what_the_budget_needs_is_moved(data_dir: Path, tmp_path: Path) -> None:
    """Between the usual arena and the least, the bytes moved follow from the budget; the cost of moving decides what is computed twice instead."""
    optimizer, memory = kt.SGD(), [build(data_dir, tmp_path, way, kt.SGD()).report["memory"] for way in ("none", "activations")]
    usual, least = memory
    ram = (usual["train_total"] + least["train_total"]) // 2
    some = build(data_dir, tmp_path / "some", "activations", optimizer, ram=ram).report
    assert some["memory"]["train_total"] <= ram and 0 < some["memory"]["moved"] < least["moved"]
    none = build(data_dir, tmp_path / "none", "activations", optimizer, ram=usual["train_total"]).report["memory"]
    assert (none["moved"], none["slow"]) == (0, 0)


def test_a_slow_board_computes_twice_instead(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "boards" / "slow"
    shutil.copytree(resources.boards() / "qemu" / "mps2_an386", own)
    text = (own / "board.toml").read_text().replace('name = "mps2-an386"', 'name = "slow"')
    (own / "board.toml").write_text(text.replace("[slow_memory]", "[slow_memory]\ncost = 1e6").replace("[renode]", '[renode]\nname = "slow"'))
    monkeypatch.setenv("KILOTUNE_BOARDS", str(tmp_path / "boards"))
    method = [kt.LoRA(rank=4, layers="last:4")]
    found = [
        build(data_dir, tmp_path / board, "activations", kt.SGD(), method=method, ram=27_000, slow_memory=board).report
        for board in ("mps2-an386", "slow")
    ]
    assert [report["memory"]["moved"] > 0 for report in found] == [True, False]
    assert found[0]["macs"]["backward"] < found[1]["macs"]["backward"]
    (own / "board.toml").write_text((own / "board.toml").read_text().replace("size = 0x0100_0000", "size = 1000"))
    with pytest.raises(kt.CompileError, match="to a memory of 1,000"):
        build(data_dir, tmp_path / "small", "activations", kt.SGD(), method=method, slow_memory="slow")
    assert not (tmp_path / "small" / "activations").exists()


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"])
def test_the_same_bits_with_the_memory_of_a_board(board: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    paged = build(data_dir, tmp_path, "all", kt.Adam(), slow_memory=board, target=boards.load(board).core)
    assert trained(paged, f"qemu:{board}") == trained(paged, "host")


def model(folder: Path) -> kt.Model:
    path = folder / "image.tflite"
    path.write_bytes(tflite.write(image()))
    return kt.load(path)


OPTIONS: dict[str, Any] = {
    "method": [kt.Full(), kt.BiasOnly()], "loss": "mse", "optimizer": kt.Adam(lr=0.05), "offload": "optimizer", "measure": False,
}  # fmt: skip


def test_the_interpreter_is_the_oracle(tmp_path: Path) -> None:
    loaded = model(tmp_path)
    options = Options(methods=tuple(OPTIONS["method"]), loss="mse", optimizer=OPTIONS["optimizer"], offload="optimizer")
    reference = Reference(compile_graph(loaded.graph, options, "0"))
    y = np.random.default_rng(1).uniform(-1, 1, (5, 4)).astype(np.float32)
    with kt.build(loaded, tmp_path / "b", **OPTIONS).open() as device:
        for sample, target in zip(samples(image(), 5), y, strict=True):
            assert device.train_step(sample, target) == reference.train_step(sample, target)
        state = reference.state()
        assert device.state()[12:] == state[12:] and len(state) < 1200


def test_moments_start_anew_with_a_state_or_an_adapter(tmp_path: Path) -> None:
    """Several devices of one build do not meet in the file; what a saved state and an adapter lack starts at zero in each."""
    made = kt.build(model(tmp_path), tmp_path / "b", **OPTIONS)
    x, y = samples(image(), 4), np.random.default_rng(1).uniform(-1, 1, (4, 4)).astype(np.float32)

    def steps(device: kt.Device, start: int) -> list[float]:
        return [device.train_step(x[i], y[i]) for i in range(start, start + 2)]

    with made.open() as one, made.open() as other:
        steps(one, 0)
        saved, adapter = one.state(), one.export_adapter()
        went_on = steps(one, 2), one.state()
        for device in (one, other):
            device.set_state(saved)
        again = [(steps(device, 2), device.state()) for device in (one, other)]
        assert again[0] == again[1] and again[0][1] != went_on[1]
        for device in (one, other):
            device.load_adapter(adapter)
        third = [(steps(device, 2), device.state()) for device in (one, other)]
        assert third[0] == third[1]


PROGRAM = """
#include <stdio.h>
#include <string.h>
#include "image.h"
#include "kt/port.h"
static uint64_t arena[(IMAGE_ARENA_BYTES_TRAIN + 7) / 8], state[(IMAGE_STATE_BYTES + 7) / 8];
static uint8_t slow[IMAGE_PAGE_BYTES];
static image_model m;
static int failing, open_pages;
static long moved;
int kt_port_page_in(const void *model, uint32_t offset, void *to, uint32_t bytes)
{
    if (model != &m || offset % 4 != 0 || (uintptr_t)to % 4 != 0 || offset + bytes > sizeof slow)
        return 2;
    memcpy(to, slow + offset, bytes);
    open_pages++;
    moved += bytes;
    return failing;
}
int kt_port_page_out(const void *model, uint32_t offset, const void *from, uint32_t bytes)
{
    if (model != &m || offset % 4 != 0 || (uintptr_t)from % 4 != 0 || offset + bytes > sizeof slow)
        return 2;
    memcpy(slow + offset, from, bytes);
    open_pages--;
    moved += bytes;
    return 0;
}
int main(void)
{
    int8_t input[IMAGE_INPUT_BYTES] = {7, -9, 30};
    float values[IMAGE_TARGET_VALUES] = {0.5f}, loss;
    const kt_target target = {0, values};
    memset(slow, 0x5a, sizeof slow);
    if (image_init(&m, arena, sizeof arena, state, sizeof state) != KT_OK)
        return 1;
    for (size_t i = 0; i < sizeof slow; i++)
        if (slow[i] != 0)
            return 2;
    open_pages = 0;
    moved = 0;
    if (image_train_step(&m, input, &target, &loss) != KT_OK || open_pages != 0)
        return 3;
    printf("%ld %d\\n", moved, (int)sizeof slow);
    failing = 1;
    if (image_train_step(&m, input, &target, &loss) != KT_ERROR_PAGE)
        return 4;
    failing = 0;
    return image_resume(&m, arena, sizeof arena, state, sizeof state) != KT_OK || image_train_step(&m, input, &target, &loss) != KT_OK;
}
"""


def test_firmware_provides_the_memory(tmp_path: Path) -> None:
    """Every page is moved once each way a step, aligned and within bounds, also where the compiler looks for undefined behaviour."""
    made = kt.build(model(tmp_path), tmp_path / "b", **OPTIONS)
    moved, size = map(int, run(compiled(made, PROGRAM, tmp_path)).split())
    assert size == made.report["memory"]["slow"] == made.manifest["page_bytes"] > 0
    assert size - 64 <= moved / 2 <= size


def test_what_is_refused(tmp_path: Path, arm_gcc: str) -> None:
    loaded = model(tmp_path)
    cases = (
        ({"optimizer": kt.SGD()}, "keeps no moments"),
        ({"accumulate": 2, "ram": 1300}, "pages 1,152 bytes of moments"),
        ({"method": None, "loss": "cross_entropy", "optimizer": None}, "nothing is trained"),
        ({"offload": "moments"}, "unknown offload"),
    )
    for changed, words in cases:
        with pytest.raises(kt.CompileError) as caught:
            kt.build(loaded, tmp_path / "c", **{**OPTIONS, **changed})
        assert words in str(caught.value) and not (tmp_path / "c").exists()
    made = kt.build(loaded, tmp_path / "b", **{**OPTIONS, "measure": True})
    assert made.report["flash"]["code"] > 0
    with pytest.raises(kt.DeviceError, match="has no slow memory") as lacking:
        made.open("qemu:microbit")
    assert "[slow_memory]" in str(lacking.value)
    with pytest.raises(kt.CompileError, match="has none beside") as without:
        kt.build(loaded, tmp_path / "d", **OPTIONS, slow_memory="microbit")
    assert "mps2-an386" in str(without.value)


def test_the_command(tmp_path: Path) -> None:
    model(tmp_path)
    command = ["build", str(tmp_path / "image.tflite"), "-o", str(tmp_path / "b"), "--method", "bias", "--loss", "mse"]
    done = CliRunner().invoke(main, [*command, "--optimizer", "adam", "--offload", "optimizer", "--json"])
    assert done.exit_code == 0, done.output
    assert "IMAGE_PAGE_BYTES" in (tmp_path / "b" / "image.h").read_text()
