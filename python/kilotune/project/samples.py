"""Samples in the firmware: src/samples.h of a project, from any data that kilotune reads."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import resources
from ..data import Wanted, load
from ..devices.data import prepare_inputs
from ..devices.manifest import Manifest
from ..files import write_whole

MOST_SAMPLES, MOST_BYTES = 40, 32768
"""In the flash of a board, beside the model."""


def write_samples(data: str | os.PathLike[str], build: str | os.PathLike[str], header: str | os.PathLike[str]) -> int:
    """Write a header of at most MOST_SAMPLES samples for the model of a build directory; returns how many. Raises DeviceError, ValueError."""
    manifest = Manifest.load(build)
    found = load(os.fspath(data), "the data", Wanted.by(manifest))
    count = max(1, min(MOST_SAMPLES, MOST_BYTES // manifest.input_bytes))
    x, y = found.first(count)
    quantized = prepare_inputs(x, manifest)
    labels = None if manifest.targets != "labels" else np.zeros(len(quantized), int) if y is None else y
    write_whole(header, samples_header(quantized, labels, Path(found.source).name))
    return len(quantized)


def samples_header(x: NDArray[np.int8], labels: NDArray[np.integer] | None, origin: str) -> str:
    """C of samples [N, bytes] and their class numbers."""
    rows = "\n".join(f"    {{{', '.join(map(str, row))}}}," for row in x.reshape(len(x), -1))
    name = re.sub(r"[^\w. -]", "_", origin)
    answers = "" if labels is None else f"\nstatic const uint16_t sample_labels[SAMPLES] = {{{', '.join(str(int(n)) for n in labels)}}};\n"
    return f"""/* samples.h: what the firmware trains on, from {name}. Written by samples.py. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>

#define SAMPLES {len(x)}

static const int8_t sample_inputs[SAMPLES][{x[0].size}] = {{
{rows}
}};
{answers}
#endif
"""


def of_digits() -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """The thirty digits of examples/own_firmware, as int8 [N, 8, 8, 1], and their numbers."""
    text = (resources.own_firmware() / "src" / "samples.h").read_text(encoding="utf-8")
    rows = [np.array(row.split(","), np.int8) for row in re.findall(r"^    \{([-\d, ]+)\},$", text, re.MULTILINE)]
    labels = np.array(re.findall(r"sample_labels\[SAMPLES\] = \{([\d, ]+)\}", text)[0].split(","), np.int64)
    return np.stack(rows).reshape(-1, 8, 8, 1), labels


def simulated(manifest: Manifest, count: int = 20) -> tuple[list[NDArray[np.int8]], NDArray[np.int64]]:
    """Noise with a label each in turn: something to build with, from which nothing can be learned but itself."""
    generator = np.random.Generator(np.random.PCG64(0))
    inputs = [generator.integers(-128, 128, (count, *t.sample_shape)).astype(np.int8) for t in manifest.inputs]
    return inputs, np.arange(count) % max(1, manifest.classes or 1)
