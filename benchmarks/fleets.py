"""Fleets: clients that each have their own real data, split by who or what made it, never by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scenarios import DATA, Array

MOST_JUDGED, KNOWN = 300, 150
"""Samples of a client that it is judged by, at most; samples that a client has of what the model was made for."""


@dataclass(frozen=True)
class Client:
    """What one client learns from, and what it is judged by; no sample is in both."""

    name: str
    x: Array
    y: Array
    judged: Array
    judged_labels: Array


@dataclass(frozen=True)
class Fleet:
    """late: number of the client that joins when the others have learned. metric: "accuracy", or "f1" of class 1. known: samples of what the model
    was made for, of which none judges."""

    title: str
    model: str
    metric: str
    calibration: tuple[Array, Array]
    clients: tuple[Client, ...]
    late: int
    known: Array

    def score(self, predicted: Array, labels: Array) -> float:
        if self.metric == "accuracy":
            return float((predicted == labels).mean())
        hits = int(((predicted == 1) & (labels == 1)).sum())
        return 2 * hits / max(1, int((predicted == 1).sum() + (labels == 1).sum()))


def _client(name: str, x: Array, y: Array, chosen: Array, rest: Array, rng: np.random.Generator) -> Client:
    judged = rng.permutation(rest)[:MOST_JUDGED]
    return Client(name, x[chosen], y[chosen], x[judged], y[judged])


def fsdd(draw: int) -> Fleet:
    """Spoken digits by speaker, of whom the model knows three: 30 recordings each of takes 25 to 49, judged by takes 0 to 24. Late: the one it
    does not know."""
    d, rng = np.load(DATA / "sets/fsdd_mfcc.npz"), np.random.default_rng(draw)
    x, y, takes = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32), d["take"]
    clients = []
    for speaker in np.unique(d["speaker"]):
        mine = d["speaker"] == speaker
        chosen = np.concatenate([rng.choice(np.flatnonzero(mine & (y == c) & (takes >= 25)), 3, replace=False) for c in range(10)])
        clients.append(_client(str(speaker), x, y, chosen, np.flatnonzero(mine & (takes < 25)), rng))
    known = d["speaker"] != "nicolas"
    rehearsed = x[rng.choice(np.flatnonzero(known & (takes >= 25)), KNOWN, replace=False)]
    calibration = x[known][:256], y[known][:256]
    return Fleet("spoken digits, by speaker", "fsdd_dscnn_int8.tflite", "accuracy", calibration, tuple(clients), 3, rehearsed)


def gas(draw: int) -> Fleet:
    """Drifted gas sensors by batch, 3 to 6, after the model's 1 and 2: five samples a class each. Late: batch 6, which came last."""
    d, rng = np.load(DATA / "sets/gas_drift.npz"), np.random.default_rng(draw)
    x, y, base = d["x"].astype(np.float32), d["y"].astype(np.int32), d["base_train_idx"][:256]
    clients = []
    for number in (3, 4, 5, 6):
        batch = np.flatnonzero(d["batch"] == number)
        chosen = np.concatenate([rng.choice(rows, min(5, len(rows)), replace=False) for c in range(6) if len(rows := batch[y[batch] == c])])
        clients.append(_client(f"batch {number}", x, y, chosen, np.setdiff1d(batch, chosen), rng))
    rehearsed = x[rng.choice(d["base_train_idx"], KNOWN, replace=False)]
    return Fleet("gas sensors, by batch", "gas_mlp_int8.tflite", "accuracy", (x[base], y[base]), tuple(clients), 3, rehearsed)


def ecg(draw: int) -> Fleet:
    """Heart beats by patient, of whom the model knows all but 106: 150 beats of five minutes each, judged by others. Late: 106. F1 of ectopic
    beats."""
    d, rng = np.load(DATA / "sets/ecg_mitbih.npz"), np.random.default_rng(draw)
    raw = d["x"].astype(np.float32)
    x, y = ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None], d["y"].astype(np.int32)
    minute, clients, records = d["r_sample"] / (360 * 60), [], (100, 105, 106, 108, 114, 116, 121, 123)
    rehearsed = rng.choice(np.flatnonzero(d["record"] != 106), KNOWN, replace=False)
    for record in records:
        mine = np.flatnonzero(d["record"] == record)
        inside = (minute[mine] >= 5 * draw) & (minute[mine] < 5 * draw + 5)
        clients.append(_client(f"patient {record}", x, y, mine[inside][:150], np.setdiff1d(mine[~inside], rehearsed), rng))
    known = np.flatnonzero(d["record"] != 106)[:: len(y) // 256]
    calibration = x[known], y[known]
    return Fleet("heart beats, by patient", "ecg_cnn_int8.tflite", "f1", calibration, tuple(clients), records.index(106), x[rehearsed])


def meters(draw: int) -> Fleet:
    """Digits of water meters, tenths included, by meter, of which the model knows one (altair): 30 pictures each. Late: betar."""
    d = np.load(DATA / "sets/meter_digits.npz")
    x, y, rng = d["x"].astype(np.float32), d["label"].astype(np.int32), np.random.default_rng(draw)
    names, clients = [str(n) for n in d["names"]], []
    for number, name in enumerate(names):
        chosen = d["draws30"][number, draw % 3]
        clients.append(_client(name, x, y, chosen[chosen >= 0], np.flatnonzero((d["meter"] == number) & (d["split"] == 1)), rng))
    made_for = d["calib_x"].astype(np.float32)
    calibration, rehearsed = (made_for, d["calib_label"].astype(np.int32)), made_for[rng.choice(len(made_for), KNOWN, replace=False)]
    return Fleet("digits of meters, by meter", "meter_digits_int8.tflite", "accuracy", calibration, tuple(clients), names.index("betar"), rehearsed)


FLEETS: dict[str, Callable[[int], Fleet]] = {"fsdd": fsdd, "gas": gas, "ecg": ecg, "meters": meters}
