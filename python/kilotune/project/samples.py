"""Samples in the firmware: src/samples.h of a project, from any data that kilotune reads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import resources
from ..data import Wanted, load
from ..devices.data import prepare_inputs, unpacked
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
    quantized = unpacked(prepare_inputs(x, manifest), manifest.inputs)
    labels = None if manifest.targets != "labels" else np.zeros(len(quantized[0]), int) if y is None else y
    write_whole(header, samples_header(quantized, labels, Path(found.source).name))
    return len(quantized[0])


def samples_header(inputs: list[NDArray[Any]], labels: NDArray[np.integer] | None, origin: str) -> str:
    """C of samples, [N, ...] for each input of the model, and their class numbers."""
    name = re.sub(r"[^\w. -]", "_", origin)
    arrays = [_array(f"sample_inputs{'' if i == 0 else f'_{i + 1}'}", x.reshape(len(x), -1)) for i, x in enumerate(inputs)]
    answers = "" if labels is None else f"\nstatic const uint16_t sample_labels[SAMPLES] = {{{', '.join(str(int(n)) for n in labels)}}};\n"
    return f"""/* samples.h: what the firmware trains on, from {name}. Written by samples.py. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>

#define SAMPLES {len(inputs[0])}

{chr(10).join(arrays)}{answers}
#endif
"""


def _array(name: str, rows: NDArray[Any]) -> str:
    """C of values [N, n]."""
    lines = "\n".join(f"    {{{', '.join(map(str, row))}}}," for row in rows)
    return f"static const {rows.dtype.name}_t {name}[SAMPLES][{rows.shape[1]}] = {{\n{lines}\n}};\n"


def of_digits() -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """The thirty digits of examples/own_firmware, as int8 [N, 8, 8, 1], and their numbers."""
    text = (resources.own_firmware() / "src" / "samples.h").read_text(encoding="utf-8")
    rows = [np.array(row.split(","), np.int8) for row in re.findall(r"^    \{([-\d, ]+)\},$", text, re.MULTILINE)]
    labels = np.array(re.findall(r"sample_labels\[SAMPLES\] = \{([\d, ]+)\}", text)[0].split(","), np.int64)
    return np.stack(rows).reshape(-1, 8, 8, 1), labels


def simulated(manifest: Manifest, count: int = 20) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
    """Noise with a label each in turn: something to build with, from which nothing can be learned but itself."""
    generator = np.random.Generator(np.random.PCG64(0))
    inputs = [generator.integers(t.range[0], t.range[1] + 1, (count, *t.sample_shape)).astype(t.dtype) for t in manifest.inputs]
    return inputs, np.arange(count) % max(1, manifest.classes or 1)
