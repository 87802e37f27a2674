"""Two models, adapter switches, training and updates in pieces under a timer that interrupts at drawn moments, on emulated cores."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny
from gradients.graphs import residual

import kilotune as kt
from kiloc.export import tflite

from .board_programs import linked, printed

SOURCE = Path(__file__).parent / "interrupts.c"
METHODS = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly("third")]
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")

pytestmark = pytest.mark.qemu


def adapters(served: kt.Model, folder: Path) -> str:
    """Two adapters that answer differently, as C: they stay in flash, where the model reads them."""
    text, rng = "#include <stdint.h>\n", np.random.default_rng(1)
    training = kt.build(served, folder / "training", method=METHODS, optimizer=kt.SGD(lr=0.3), measure=False)
    for name in "ab":
        with training.open() as device:
            device.fit(samples(residual(), 12), rng.integers(0, 4, 12), epochs=4)
            file = device.export_adapter().data
        text += f"static const uint8_t adapter_{name}[] __attribute__((aligned(8))) = {{{', '.join(map(str, file))}}};\n"
    return text


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """made("cortex-m4"): the builds of both models for a core."""
    folder = tmp_path_factory.mktemp("interrupts")
    for name, graph in (("served", residual()), ("second", tiny())):
        (folder / f"{name}.tflite").write_bytes(tflite.write(graph))
    served, second = kt.load(folder / "served.tflite"), kt.load(folder / "second.tflite")
    (folder / "adapters.h").write_text(adapters(served, folder))
    done: dict[str, list[Path]] = {}

    def make(core: str) -> list[Path]:
        if core not in done:
            first = kt.build(served, folder / core / "served", method=METHODS, train=False, target=core, measure=False).directory
            other = kt.build(second, folder / core / "second", method=kt.BiasOnly(), optimizer=kt.Adam(), target=core, measure=False).directory
            shutil.copyfile(folder / "adapters.h", first / "adapters.h")
            done[core] = [first, other]
        return done[core]

    return make


def outcome(builds: list[Path], board: str, folder: Path, compiler: str) -> dict[str, int]:
    text = printed(linked(builds, SOURCE, board, folder / "program", compiler, FLAGS, timer=False), board, counting=True)
    print(text)
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in text.splitlines()}


@pytest.mark.parametrize(("board", "core"), [("mps2-an386", "cortex-m4"), ("mps3-an547", "cortex-m55")])
def test_outputs_are_whole(board: str, core: str, made: Callable[[str], list[Path]], tmp_path: Path, arm_gcc: str, qemu: str) -> None:
    found = outcome(made(core), board, tmp_path, arm_gcc)
    assert found["differ"] == 6, "adapters that answer alike show no mixture"
    assert min(found["base"], found["a"], found["b"]) > 20
    assert found["trainings given up"] > 5 and found["updates given up"] > 5 and found["landed"] > 100, "interrupts came too seldom"
    assert [found[name] for name in ("mixed", "torn", "wrong", "other state")] == [0, 0, 0, 0]


def test_a_pointer_that_is_read_twice_is_seen(made: Callable[[str], list[Path]], tmp_path: Path, arm_gcc: str, qemu: str) -> None:
    """The same program with a model that asks for its adapter at every layer, not once a call."""
    served, second = made("cortex-m4")
    copy = shutil.copytree(served, tmp_path / "served")
    head, function, rest = (copy / "served.c").read_text().partition("kt_status served_infer(")
    body, end, rest = rest.partition("\n}\n")
    once = "    const served_values *const t = m->values;\n"
    assert once in body
    (copy / "served.c").write_text(head + function + body.replace(once, "").replace("t->", "m->values->") + end + rest)
    assert outcome([copy, second], "mps2-an386", tmp_path, arm_gcc)["mixed"] > 0
