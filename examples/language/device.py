"""The model on a device: how it is built to learn and to write, how good it is, and what it writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from text import Tokens, decoded, encoded, windows

import kilotune as kt

HERE = Path(__file__).resolve().parent
CONTEXT = 64
RANK, RATE, DECAY = 4, 1.4, "linear"
"""The rate falls to 0 over all updates."""
RAM = 160 * 1024
"""Bytes of arena and state: feed-forward parts are computed twice to meet it."""
CALIBRATION = 32
CHECKED = 20
"""Rows of tokens after which the states of two devices are compared."""
TEMPERATURE, SEED = 0.6, 3
PROMPT = "Of "


def dense(model: kt.Model, units: bool = False) -> str:
    """The layers that get LoRA: all dense ones in front of the head, and where asked for what recurrent units multiply their input by."""
    kinds = ("fully_connected", "gru") if units else ("fully_connected",)
    return ",".join(n.name for n in model.graph.nodes if n.op.mnemonic in kinds and n.name != "head")


def built(folder: Path, plays: Tokens, model: Path = HERE / "base.onnx", units: bool = False, **options: Any) -> kt.Build:
    """A build that trains LoRA, one row of tokens an update. The gradients' shifts are chosen on the plays, not on what is learned. units: LoRA of
    recurrent units, too."""
    loaded, rows = kt.load(model), windows(plays, CONTEXT)
    chosen: dict[str, Any] = {"target": "cortex-m4", "ram": RAM, **options}
    return kt.build(
        loaded, folder, method=kt.LoRA(rank=RANK, layers=dense(loaded, units)), loss="next_token", optimizer=kt.SGD(lr=RATE),
        calibration=rows[:: len(rows) // CALIBRATION], **chosen,
    )  # fmt: skip


def writer(folder: Path, plays: Tokens, model: Path = HERE / "base.onnx", **options: Any) -> kt.Build:
    """A build that computes one character a call, and keeps what later ones need of it. It takes what another build has learned as an adapter."""
    loaded, rows = kt.load(model), windows(plays, CONTEXT)
    return kt.build(
        loaded, folder, method=kt.LoRA(rank=RANK, layers=dense(loaded)), train=False, by_position=True,
        calibration=rows[:: len(rows) // CALIBRATION], **{"target": "cortex-m4", **options},
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
    """What a `writer` writes behind a prompt, a character a call. Attention sees the last CONTEXT characters."""
    rng, tensor, text = np.random.default_rng(seed), device.manifest.outputs[0], list(encoded(prompt))
    device.restart()
    for token in text[:-1]:
        device.infer(np.array([[token]], np.int8), progress=False)
    for _ in range(count):
        codes = np.asarray(device.infer(np.array([text[-1:]], np.int8), progress=False)).ravel()
        logits = (codes.astype(np.float64) - tensor.zero_point) * tensor.scale / temperature
        shares = np.exp(logits - logits.max())
        text.append(int(rng.choice(len(shares), p=shares / shares.sum())))
    return decoded(np.array(text))


def alike(learns: kt.Device, writes: kt.Device, rows: NDArray[np.int8]) -> bool:
    """Whether both give the same bits for rows of CONTEXT tokens: one at once, the other a token a call."""
    whole = np.asarray(learns.infer(rows, progress=False))
    for row, expected in zip(rows, whole, strict=True):
        writes.restart()
        if not np.array_equal(np.asarray(writes.infer(row[:, None], progress=False)).ravel(), expected.ravel()):
            return False
    return True
