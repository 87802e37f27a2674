"""The model on a device: how it is built, how good it is, and what it writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from text import CHARACTERS, Tokens, decoded, encoded, windows

import kilotune as kt

HERE = Path(__file__).resolve().parent
CONTEXT = 64
RANK, RATE, DECAY = 4, 1.0, "linear"
"""The rate falls to 0 over all updates."""
RAM = 160 * 1024
"""Bytes of arena and state: feed-forward parts are computed twice to meet it."""
CALIBRATION = 32
CHECKED = 20
"""Rows of tokens after which the states of two devices are compared."""
TEMPERATURE, SEED = 0.6, 3
PROMPT = "Of "


def dense(model: kt.Model) -> str:
    """The layers that get LoRA: all dense ones in front of the head."""
    return ",".join(n.name for n in model.graph.nodes if n.op.mnemonic == "fully_connected" and n.name != "head")


def built(folder: Path, plays: Tokens, model: Path = HERE / "base.onnx", **options: Any) -> kt.Build:
    """A build that trains LoRA, one row of tokens an update. The gradients' shifts are chosen on the plays, not on what is learned."""
    loaded, rows = kt.load(model), windows(plays, CONTEXT)
    chosen: dict[str, Any] = {"target": "cortex-m4", "ram": RAM, **options}
    return kt.build(
        loaded, folder, method=kt.LoRA(rank=RANK, layers=dense(loaded)), loss="next_token", optimizer=kt.SGD(lr=RATE),
        calibration=rows[:: len(rows) // CALIBRATION], **chosen,
    )  # fmt: skip


def bits(device: kt.Device, rows: NDArray[np.int8]) -> float:
    """Bits a character over rows of tokens: each begins without a context, and the first token of a row is not predicted."""
    return device.evaluate(rows, progress=False)["loss"] / float(np.log(2))


def fingerprint(device: kt.Device, rows: NDArray[np.int8]) -> str:
    """Of the state after training on rows from the model as built; the device is reset afterwards."""
    for row in rows:
        device.train_step(row)
    found = hashlib.sha256(device.state()).hexdigest()[:16]
    device.reset()
    return found


def written(device: kt.Device, count: int, prompt: str = PROMPT, temperature: float = TEMPERATURE, seed: int = SEED) -> str:
    """What the model writes behind a prompt. Its window slides: what lies more than CONTEXT characters back is forgotten.

    Positions see only those before them, so what stands behind the last character does not matter.
    """
    rng, tensor, text = np.random.default_rng(seed), device.manifest.outputs[0], list(encoded(prompt))
    for _ in range(count):
        seen = text[-CONTEXT:]
        row = np.zeros((1, CONTEXT), np.int8)
        row[0, : len(seen)] = seen
        codes = np.asarray(device.infer(row, progress=False)).reshape(CONTEXT, len(CHARACTERS))[len(seen) - 1]
        logits = (codes.astype(np.float64) - tensor.zero_point) * tensor.scale / temperature
        shares = np.exp(logits - logits.max())
        text.append(int(rng.choice(len(shares), p=shares / shares.sum())))
    return decoded(np.array(text))
