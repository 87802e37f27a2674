"""Builds that are packaged, and what their programs have to print."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gradients.graphs import residual
from numpy.typing import NDArray

import kilotune as kt
from kiloc.export import tflite
from kilotune.building import Build

ROOT = Path(__file__).resolve().parents[2]
HOST = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wno-unknown-pragmas")


NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "n\u00efne")


def trained(folder: Path) -> Build:
    """The digits with names, packed for the DSP extension, which a host computes as well."""
    model = kt.load(ROOT / "examples/digits/digits.tflite")
    options = {"optimizer": kt.SGD(lr=0.2), "class_names": NAMES, "measure": False}
    return kt.build(model, folder / "digits", method=kt.BiasOnly(layers="all"), **options)


def in_arena(folder: Path) -> Build:
    """Inputs and results in the arena, values as targets, portable kernels, moments in slow memory."""
    (folder / "still.tflite").write_bytes(tflite.write(residual()))
    options = {"loss": "mse", "buffers": "arena", "offload": "optimizer", "optimizer": kt.Adam(), "target": "cortex-m0plus"}
    return kt.build(kt.load(folder / "still.tflite"), folder / "still", method=kt.Head(), measure=False, **options)


def adapters_only(folder: Path) -> Build:
    """Nothing is trained, adapters are taken: there is a state without training."""
    (folder / "taking.tflite").write_bytes(tflite.write(residual()))
    return kt.build(kt.load(folder / "taking.tflite"), folder / "taking", method=kt.Head(), train=False, measure=False)


def inferring(folder: Path) -> Build:
    """Nothing is trained."""
    (folder / "plain.tflite").write_bytes(tflite.write(residual()))
    return kt.build(kt.load(folder / "plain.tflite"), folder / "plain", measure=False)


BUILDS = {"trained": trained, "in_arena": in_arena, "adapters_only": adapters_only, "inferring": inferring}


def sensor(build: Build) -> NDArray[np.float32]:
    """The made-up input of samples, in real values."""
    t = build.manifest["inputs"][0]
    return (np.float32(t["scale"]) * (np.arange(np.prod(t["shape"])) % 100).astype(np.float32)).reshape(t["shape"])


def expected(build: Build) -> list[str]:
    """What a sample prints: results before and after five steps, with the losses between them."""
    x = sensor(build)
    lines: list[str] = []
    with build.open("host") as host:

        def infer() -> None:
            q = host.infer(x).ravel()
            lines.append("output " + " ".join(map(str, q)))
            if q.size > 1:
                lines.append(f"largest output {int(np.argmax(q))}")

        infer()
        if build.manifest["training"]:
            size = int(np.prod(build.manifest["outputs"][0]["shape"]))
            target = 0 if build.manifest["targets"] == "labels" else np.zeros(size, np.float32)
            for _ in range(5):
                lines.append(f"loss {int(np.float32(host.train_step(x[0], target)) * np.float32(1000))} / 1000")
                host.apply()
            infer()
    return [*lines, "done"]


def run(*command: str | Path, folder: Path | None = None, text: str = "", **environment: str) -> str:
    """What a command prints; its errors where it fails."""
    done = subprocess.run(
        [str(c) for c in command], cwd=folder, input=text, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cmake() -> str:
    """The program; skips where there is none."""
    found = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if found is None:
        pytest.skip("cmake not found: pip install cmake, or on Debian, apt install cmake")
    return found
