"""Writes src/samples.h: thirty digits as the changed sensor of examples/digits sees them, three of each.

python examples/own_firmware/make_samples.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "digits"))

from data import digits  # noqa: E402 (found by the line above)


def main() -> None:
    adapt = digits().adapt
    chosen = np.concatenate([np.flatnonzero(adapt.y == digit)[:3] for digit in range(10)])
    order = np.random.Generator(np.random.PCG64(0)).permutation(chosen)
    lines = [f"    {{{', '.join(map(str, row))}}}," for row in adapt.x[order].reshape(len(order), -1)]
    text = f"""/* samples.h: {len(order)} digits as the changed sensor of examples/digits sees them. Written by make_samples.py. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>

#define SAMPLES {len(order)}

static const int8_t sample_inputs[SAMPLES][64] = {{
{chr(10).join(lines)}
}};

static const uint8_t sample_labels[SAMPLES] = {{{", ".join(map(str, adapt.y[order]))}}};

#endif
"""
    (HERE / "src" / "samples.h").write_text(text)


if __name__ == "__main__":
    main()
