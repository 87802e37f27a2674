"""What float training reaches on the same text, from the same weights: plain SGD, one row of tokens an update, each tensor's gradient clipped."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from float_model import Architecture, Parameters, nats
from numpy.typing import NDArray

CLIP = 1.0


@partial(jax.jit, static_argnums=0)
def _pass(a: Architecture, moving: Parameters, fixed: Parameters, rows: jax.Array, rates: jax.Array) -> Parameters:
    def step(p: Parameters, given: tuple[jax.Array, jax.Array]) -> tuple[Parameters, None]:
        row, rate = given
        g = jax.grad(lambda p: nats(a, {**fixed, **p}, row[None]))(p)
        return {k: p[k] - rate * jnp.minimum(1, CLIP / (jnp.linalg.norm(g[k].ravel()) + 1e-12)) * g[k] for k in p}, None

    return jax.lax.scan(step, moving, (rows, rates))[0]


def trained(a: Architecture, p: Parameters, added: Parameters, rows: NDArray[np.int8], rate: float, passes: int = 1, seed: int = 0) -> Parameters:
    """The weights after some passes over rows in random orders, at a rate that falls to 0 linearly.

    added: LoRA's matrices, which alone are trained, or nothing, for all weights.
    """
    trainable, frozen = (added, p) if added else (p, {})
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(passes)])
    rates = rate * (1 - np.arange(len(order)) / len(order))
    trainable = _pass(a, trainable, frozen, jnp.asarray(rows[order].astype(np.int32)), jnp.asarray(rates, jnp.float32))
    return {**frozen, **trainable}
