"""Twenty training steps give the values whose hash is written here: in NumPy, and in the C that the host runs.

These hashes never change. A change of one is a change of what every trained device computes: do not write it anew, find
out what changed the bits. They are of the values, whatever the state's layout: 16-bit values stand whole beside their codes, with an exponent
of their own, as states once had them. Two, of "tiny", were written anew when the largest 16-bit value became one whose code is 127.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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
    ("tiny", "head"): "d37c51d510b006f30255210394bd9dc44604a641c648980cbd425ce42a460921",
    ("tiny", "lora"): "f648ac43076c78ed976ccbfd81297823b36e832196af3b7833b58157ce2b89b7",
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
        assert hashlib.sha256(values_of(reference)).hexdigest() == HASHES[model, method]


def values_of(reference: Reference) -> bytes:
    """All that the state holds: the widest elements first, filled up to 4 bytes together with a header of 12."""
    held: list[NDArray[Any]] = []
    for v in reference.c.graph.state():
        array = np.asarray(reference.values[v.name]).astype(v.type.dtype)
        if v.kind == "remainder":
            name = v.name.removesuffix(".remainder")
            codes, exponent = reference.values[name].astype(np.int16), reference.values[f"{name}.exponent"]
            held += [codes * np.int16(256) + array, (exponent - 8).astype(np.int8)]
        else:
            held.append(array)
    members = b"".join(a.tobytes() for a in sorted(held, key=lambda a: -a.itemsize))
    return members.ljust((StateLayout.HEADER + len(members) + 3) // 4 * 4 - StateLayout.HEADER, b"\0")
