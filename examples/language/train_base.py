"""Trains a base model on Shakespeare's plays in float32 and writes it as an INT8 file: about six minutes on two cores. Needs jax.

    python examples/language/train_base.py                                # base.onnx
    python examples/language/train_base.py convolutions                   # without attention
    python examples/language/train_base.py recurrent                      # gated recurrent units
    python examples/language/train_base.py --reuse                        # the file again, of the weights that it holds

The files are part of the repository: this need not be run.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from float_model import MODELS, Architecture, Parameters, bits, initial, nats
from numpy.typing import NDArray
from onnx_file import quantised, weights_of
from text import texts, windows

HERE = Path(__file__).resolve().parent
STEPS, BATCH, RATE, WARM_UP, DECAY = 4_000, 32, 8e-3, 100, 0.02
BETA1, BETA2 = 0.9, 0.98
CALIBRATION = 64
"""Rows of the plays that tensors get their ranges by."""


@partial(jax.jit, static_argnums=0)
def step(
    a: Architecture, p: Parameters, m: Parameters, v: Parameters, t: jax.Array, rate: jax.Array, rows: jax.Array
) -> tuple[Parameters, Parameters, Parameters, jax.Array]:
    """AdamW with gradients of norm 1 at most. m, v: moments; t: the number of the step, from 1 on."""
    loss, g = jax.value_and_grad(lambda p: nats(a, p, rows))(p)
    shrink = jnp.minimum(1, 1 / jnp.sqrt(sum((x * x).sum() for x in g.values())))
    m = {k: BETA1 * m[k] + (1 - BETA1) * g[k] * shrink for k in p}
    v = {k: BETA2 * v[k] + (1 - BETA2) * (g[k] * shrink) ** 2 for k in p}
    kept = {k: 1 - rate * DECAY * (p[k].ndim > 1) for k in p}
    moved = {k: m[k] / (1 - BETA1**t) / (jnp.sqrt(v[k] / (1 - BETA2**t)) + 1e-8) for k in p}
    return {k: p[k] * kept[k] - rate * moved[k] for k in p}, m, v, loss


def trained(a: Architecture, tokens: NDArray[np.uint8], steps: int = STEPS, seed: int = 0) -> Parameters:
    """Rates rise, then fall along a cosine; rows of context + 1 tokens are drawn at random."""
    p, rng, started = initial(a, seed), np.random.default_rng(seed), time.monotonic()
    m = v = {k: jnp.zeros_like(x) for k, x in p.items()}
    losses = []
    for t in range(1, steps + 1):
        rate = RATE * min(1.0, t / WARM_UP) * 0.5 * (1 + np.cos(np.pi * t / steps))
        starts = rng.integers(0, len(tokens) - a.context - 1, BATCH)
        rows = tokens[starts[:, None] + np.arange(a.context + 1)].astype(np.int32)
        p, m, v, loss = step(a, p, m, v, jnp.float32(t), jnp.float32(rate), rows)
        losses.append(loss)
        if t % 200 == 0:
            print(f"{t:>6} of {steps}, {time.monotonic() - started:.0f} s: {np.mean(losses[-200:]) / np.log(2):.3f} bits a character", flush=True)
    return p


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("model", nargs="?", default="base", choices=MODELS, help="which one, and what its files are called")
    parser.add_argument("--reuse", action="store_true", help="take the weights of the file, which are rounded to 8 bits already")
    arguments = parser.parse_args()
    t, a, file = texts(), MODELS[arguments.model], HERE / f"{arguments.model}.onnx"
    p = {k: jnp.asarray(x) for k, x in weights_of(file.read_bytes()).items()} if arguments.reuse else trained(a, t.base, arguments.steps)
    for name, tokens in (("plays that were held out", t.base_test), ("the poem", t.test)):
        print(f"{sum(x.size for x in p.values()):,} parameters, {name}: {bits(a, p, windows(tokens, a.context)):.3f} bits a character")
    rows = windows(t.base, a.context)
    data = quantised(a, p, rows[:: len(rows) // CALIBRATION])
    file.write_bytes(data)
    print(f"{file.name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
