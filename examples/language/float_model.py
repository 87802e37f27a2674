"""The character model in float32 (jax): its forward pass, with LoRA beside every dense layer where asked for, and its loss in bits a character.

Four blocks of width 64, of which one attends and the others look back over six positions by a causal depthwise convolution; behind each a
feed-forward part. Other models have convolutions alone, or gated recurrent units. No positions are added: convolutions know the order. Every
tensor that an INT8 model rounds passes `see(name, x)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from text import CHARACTERS

Parameters = dict[str, jax.Array]
See = Callable[[str, jax.Array], jax.Array]

VOCABULARY = len(CHARACTERS)
EPSILON = 1e-5


@dataclass(frozen=True)
class Architecture:
    """blocks: a letter each, c for a causal convolution over `reach` positions, a for attention, g for a gated recurrent unit. hidden: width of
    feed-forward parts."""

    blocks: str = "ccac"
    context: int = 64
    width: int = 64
    hidden: int = 192
    heads: int = 4
    reach: int = 6

    def dense(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of every dense layer in front of the head."""
        found = {}
        for i, kind in enumerate(self.blocks):
            names = {"a": ("query", "key", "value", "mix"), "c": ("enter", "mix"), "g": ("mix",)}[kind]
            found |= {f"block{i}_{name}": (self.width, self.width) for name in names}
            found |= {f"block{i}_widen": (self.width, self.hidden), f"block{i}_narrow": (self.hidden, self.width)}
        return found


MODELS = {"base": Architecture(), "convolutions": Architecture("cccc"), "recurrent": Architecture("ggg", hidden=128)}
"""By the names of their files, of about as many parameters."""


def initial(a: Architecture, seed: int = 0) -> Parameters:
    """Random weights; what adds to the residual stream starts smaller with more blocks."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[np.float64]] = {"embedding": rng.normal(0, 0.5, (VOCABULARY, a.width))}
    for name, (inputs, outputs) in {**a.dense(), "head": (a.width, VOCABULARY)}.items():
        gain = (2 * len(a.blocks)) ** -0.5 if name.endswith(("mix", "narrow")) else 0.5 if name == "head" else 1.0
        found[name] = rng.normal(0, gain * inputs**-0.5, (inputs, outputs))
        found[f"{name}_bias"] = np.zeros(outputs)
    for i, kind in enumerate(a.blocks):
        if kind == "c":
            found[f"block{i}_window"] = rng.normal(0, a.reach**-0.5, (a.reach, a.width))
        if kind == "g":
            for side in ("forth", "back"):
                found[f"block{i}_{side}"] = rng.normal(0, a.width**-0.5, (3 * a.width, a.width))
            found[f"block{i}_gates"] = np.zeros((2, 3 * a.width))
    for name in [f"block{i}_norm{j}" for i in range(len(a.blocks)) for j in (1, 2)] + ["norm"]:
        found |= {f"{name}_gamma": np.ones(a.width), f"{name}_beta": np.zeros(a.width)}
    return {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}


def lora(a: Architecture, rank: int, seed: int = 0) -> Parameters:
    """A [inputs, rank] at random and B [rank, outputs] of zeros for every dense layer in front of the head."""
    rng = np.random.default_rng(seed)
    found: Parameters = {}
    for name, (inputs, outputs) in a.dense().items():
        found[f"{name}_a"] = jnp.asarray(rng.uniform(-1, 1, (inputs, rank)) * (3 / inputs) ** 0.5, jnp.float32)
        found[f"{name}_b"] = jnp.zeros((rank, outputs))
    return found


def unseen(name: str, x: jax.Array) -> jax.Array:
    return x


def logits(a: Architecture, p: Parameters, tokens: jax.Array, see: See = unseen) -> jax.Array:
    """Tokens [N, T] to logits [N, T, characters]; p may hold LoRA's matrices."""
    x = see("embedded", p["embedding"][tokens])
    for i, kind in enumerate(a.blocks):
        name = f"block{i}"
        y = see(f"{name}_norm1", _normalized(p, f"{name}_norm1", x))
        y = {"a": _attended, "c": _convolved, "g": _remembered}[kind](a, p, name, y, see)
        x = see(f"{name}_sum1", x + _dense(p, f"{name}_mix", y, see))
        y = see(f"{name}_norm2", _normalized(p, f"{name}_norm2", x))
        y = see(f"{name}_widen", jax.nn.relu(_dense(p, f"{name}_widen", y, unseen)))
        x = see(f"{name}_sum2", x + _dense(p, f"{name}_narrow", y, see))
    return _dense(p, "head", see("norm", _normalized(p, "norm", x)), see)


def _normalized(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    x = x - x.mean(-1, keepdims=True)
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * p[f"{name}_gamma"] + p[f"{name}_beta"]


def _dense(p: Parameters, name: str, x: jax.Array, see: See) -> jax.Array:
    y = x @ p[name] + p[f"{name}_bias"]
    if f"{name}_a" in p:
        y = y + x @ p[f"{name}_a"] @ p[f"{name}_b"]
    return see(name, y)


def _convolved(a: Architecture, p: Parameters, name: str, x: jax.Array, see: See) -> jax.Array:
    """ReLU of a depthwise convolution over each position and those before it."""
    y, length = _dense(p, f"{name}_enter", x, see), x.shape[1]
    padded = jnp.pad(y, ((0, 0), (a.reach - 1, 0), (0, 0)))
    y = sum(padded[:, i : i + length] * p[f"{name}_window"][i] for i in range(a.reach))
    return see(f"{name}_window", jax.nn.relu(y))


def _remembered(a: Architecture, p: Parameters, name: str, x: jax.Array, see: See) -> jax.Array:
    """A gated recurrent unit with its reset behind the product; gates: update, reset, new."""
    arrived = (x @ p[f"{name}_forth"].T + p[f"{name}_gates"][0]).transpose(1, 0, 2)

    def step(h: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = h @ p[f"{name}_back"].T + p[f"{name}_gates"][1]
        (update, reset, new), (update_own, reset_own, new_own) = jnp.split(row, 3, -1), jnp.split(own, 3, -1)
        z, r = jax.nn.sigmoid(update + update_own), jax.nn.sigmoid(reset + reset_own)
        n = jnp.tanh(new + r * new_own)
        h = n + z * (h - n)
        return h, h

    return see(f"{name}_state", jax.lax.scan(step, jnp.zeros((x.shape[0], a.width)), arrived)[1].transpose(1, 0, 2))


def _attended(a: Architecture, p: Parameters, name: str, x: jax.Array, see: See) -> jax.Array:
    count, length, width = x.shape

    def split(what: str) -> jax.Array:
        y = _dense(p, f"{name}_{what}", x, see)
        return y.reshape(count, length, a.heads, width // a.heads).transpose(0, 2, 1, 3)

    q, k, v = (split(what) for what in ("query", "key", "value"))
    scores = see(f"{name}_scores", q @ k.transpose(0, 1, 3, 2)) * (width // a.heads) ** -0.5
    scores = see(f"{name}_scaled", scores)
    shares = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9), -1)
    return see(f"{name}_mixed", (shares @ v).transpose(0, 2, 1, 3).reshape(count, length, width))


def nats(a: Architecture, p: Parameters, rows: jax.Array, see: See = unseen) -> jax.Array:
    """Mean cross-entropy of every next token of rows [N, T + 1 or fewer]."""
    z = logits(a, p, rows[:, :-1], see)
    return (jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, rows[:, 1:, None].astype(int), -1)[..., 0]).mean()


@partial(jax.jit, static_argnums=0)
def _nats(a: Architecture, p: Parameters, rows: jax.Array) -> jax.Array:
    return nats(a, p, rows)


def bits(a: Architecture, p: Parameters, rows: NDArray[np.int8], batch: int = 64) -> float:
    """Bits a character over rows of tokens."""
    parts = [(len(r), float(_nats(a, p, r))) for r in (rows[i : i + batch].astype(np.int32) for i in range(0, len(rows), batch))]
    return sum(n * loss for n, loss in parts) / len(rows) / float(np.log(2))
