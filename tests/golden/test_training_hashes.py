"""Twenty training steps give the values whose hash is written here: in NumPy, and in the C that the host runs.

These hashes never change. A change of one is a change of what every trained device computes: do not write it anew, find
out what changed the bits.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import kilotune as kt
from kiloc.emit.state_layout import StateLayout
from kiloc.export import tflite
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.pipeline import compile_graph

from .reference import Reference, image, samples, tiny

STEPS = 20
METHODS: dict[str, list[Method]] = {
    "bias": [kt.BiasOnly()],
    "head": [kt.Head()],
    "lora": [kt.LoRA(rank=2, layers="all", alpha=3.0), kt.BiasOnly()],
}
HASHES: dict[tuple[str, str], str] = {
    ("tiny", "bias"): "afabedc84587cbfd11a2395b24e48535d101f1eb91dac715b299e4cd58dc2f04",
    ("tiny", "head"): "f6a16d9ab74f6c22ad18d0b7567aca1cfd19802e4ac5af550721fe37c44f0f16",
    ("tiny", "lora"): "f0aba0deac1918019b096c40fa79f2d42975eb96a92b2c9757636c0f5730b476",
    ("image", "bias"): "5979160331b2abda3e62c938b38b8ba3ca179a214013d21fbcab8bb5aca810d3",
    ("image", "head"): "9f7fc5889dd8646db9c0907620f79bc097b33f073989a25313fe0cd1fcad7bfc",
    ("image", "lora"): "3503d715b6a999528cc6988bba9b39fb6294fc4c18db19a2bfa8f9e8461e595d",
}


@pytest.mark.parametrize(("model", "method"), HASHES)
def test_training_gives_the_bits_it_always_gave(model: str, method: str, tmp_path: Path) -> None:
    graph = {"tiny": tiny, "image": image}[model]()
    loss = "cross_entropy" if model == "tiny" else "mse"
    (tmp_path / f"{model}.tflite").write_bytes(tflite.write(graph))
    loaded = kt.load(tmp_path / f"{model}.tflite")
    optimizer = kt.SGD(lr=0.1, momentum=0.9)
    build = kt.build(loaded, tmp_path / "build", method=METHODS[method], optimizer=optimizer, loss=loss, accumulate=2, measure=False)
    reference = Reference(compile_graph(loaded.graph, Options(tuple(METHODS[method]), optimizer, loss, accumulate=2), "0"))

    rng = np.random.default_rng(1)
    x, labels, values = samples(graph, STEPS), rng.integers(0, 3, STEPS), rng.normal(0, 1, (STEPS, 4)).astype(np.float32)
    y = labels if loss == "cross_entropy" else values
    with build.open("host") as device:
        for i in range(STEPS):
            assert device.train_step(x[i], y[i]) == reference.train_step(x[i], y[i])
            if i % 2:
                device.apply()
                reference.apply()
            assert device.state() == reference.state(), f"after step {i}"
        assert np.array_equal(device.infer(x), reference.infer(x)[0])
        assert hashlib.sha256(device.state()[StateLayout.HEADER :]).hexdigest() == HASHES[model, method]
