"""Meters that a reader of digits never saw: their images, what it was made for, and how a training on them is judged.

Of the 300 images of the model's own training data one half may be rehearsed, stored small, and the other half judges what is forgotten, with the
images of a meter that the model knows. For trying rates and shares there is `changed_meter`: images of that known meter, changed as no other is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scenarios import DATA, Array

import kilotune as kt
from kiloc.peft import Method
from kilotune.adapters import scaled

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "meter_digits"))
from images import is_own, stored, thumbnails

MODEL, SET = DATA / "models" / "meter_digits_int8.tflite", DATA / "sets" / "meter_digits.npz"
UNSEEN, CONTROL = ("lcd_pb", "betar", "itron_C114U"), "altair"
CLASSES = 100
CALIBRATION = 64
METHODS: dict[str, tuple[Method, ...]] = {
    "ScaleShift": (kt.ScaleShift(),),
    "bias": (kt.BiasOnly(),),
    "head": (kt.Head(),),
    "LoRA r=4, biases": (kt.BiasOnly(), kt.LoRA(rank=4, layers="all")),
    "Full": (kt.Full(),),
}
SHARES = (1.0, 0.85, 0.7, 0.5)
Score = tuple[float, float]
"""Shares of the answers that are exact, and within 0.1."""


@dataclass(frozen=True)
class Meter:
    """x, y: to train on; judge_x, judge_y: to judge by."""

    x: Array
    y: Array
    judge_x: Array
    judge_y: Array


@dataclass(frozen=True)
class Known:
    """What the model was made for. rehearsed: to be stored on a device; kept: to judge what is forgotten, with the control's, which may be none."""

    rehearsed: Array
    kept: Mapping[str, tuple[Array, Array]]


@dataclass(frozen=True)
class Case:
    """One way of training. meter: one of UNSEEN, or to choose by one of CHANGES."""

    method: str
    meter: str
    images: int
    ratio: float = 2.0
    rate: float | None = None

    @property
    def key(self) -> str:
        return "|".join(map(str, (self.method, self.meter, self.images, self.ratio, self.rate)))


@cache
def _set() -> Any:
    with np.load(SET) as file:
        return {name: file[name] for name in file.files}


def _rows(meter: str, split: int) -> NDArray[np.int64]:
    d = _set()
    return np.flatnonzero((d["meter"] == d["names"].tolist().index(meter)) & (d["split"] == split))


def _images(rows: NDArray[np.int64]) -> tuple[Array, Array]:
    d = _set()
    return d["x"][rows].astype(np.float32), d["label"][rows].astype(np.int64)


def meter(name: str, draw: int, number: int) -> Meter:
    """A meter with the images of one draw, in their order."""
    d = _set()
    chosen = d[f"draws{number}"][d["names"].tolist().index(name), draw]
    return Meter(*_images(chosen[chosen >= 0]), *_images(_rows(name, 1)))


def _halves() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.random.default_rng(123).permutation(len(_set()["calib_x"]))
    return order[:150], order[150:]


def known() -> Known:
    """For the meters that are reported."""
    d, (kept, rehearsed) = _set(), _halves()
    x, y = d["calib_x"].astype(np.float32), d["calib_label"].astype(np.int64)
    return Known(x[rehearsed], {"original": (x[kept], y[kept]), CONTROL: _images(_rows(CONTROL, 1))})


# -- for choosing -------------------------------------------------------------------------------------
def _blurred(x: Array) -> Array:
    p = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return (p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:] + 2 * x) / 6


def _stretched(x: Array, factor: float) -> Array:
    rows, columns = (np.clip(np.round((np.arange(n) - n / 2 + 0.5) / factor + n / 2 - 0.5).astype(int), 0, n - 1) for n in x.shape[1:3])
    return x[:, rows][:, :, columns]


CHANGES: dict[str, Callable[[Array], Array]] = {
    "dim": lambda x: _blurred(_blurred(x)) * 0.25 + 130,
    "negative": lambda x: 255 - x,
    "near": lambda x: _stretched(x, 1.3),
    "far": lambda x: _stretched(x, 0.75),
}


def changed_meter(name: str, draw: int, number: int) -> Meter:
    """The control's images to train on, as another meter's: none that is reported. 50 of the 150 judge."""
    order = np.random.default_rng(draw).permutation(_rows(CONTROL, 0))
    x, y = _images(order)
    x = np.asarray(CHANGES[name](x), np.float32)
    return Meter(x[:number], y[:number], x[100:], y[100:])


def known_for_choosing() -> Known:
    """The halves change places: what judges a choice is rehearsed in what is reported."""
    d, (kept, rehearsed) = _set(), _halves()
    x, y = d["calib_x"].astype(np.float32), d["calib_label"].astype(np.int64)
    return Known(x[kept], {"original": (x[rehearsed], y[rehearsed])})


# -- training -----------------------------------------------------------------------------------------
def score(predicted: Array, y: Array) -> Score:
    distance = np.abs(predicted - y) % CLASSES
    distance = np.minimum(distance, CLASSES - distance)
    return float((distance == 0).mean()), float((distance <= 1).mean())


def build(folder: Path, name: str, calibration: Array, rate: float | None = None) -> kt.Build:
    optimizer = kt.SGD(lr=rate)
    x = calibration[:CALIBRATION]
    return kt.build(kt.load(MODEL), folder, method=METHODS[name], optimizer=optimizer, loss="soft_cross_entropy", calibration=x, measure=False)


def trained(folder: Path, m: Meter, before: Known, ratio: float, seed: int) -> dict[str, Any]:
    """Scores by what is judged, share of the change, and whether the adapter rests where the nearest stored image is not the meter's.

    {"own" | "original" | "altair": {"before" | "1.0" | "1.0 switched" | ...: [exact, within]}, "own images": {"own": share told right, ...}}
    """
    judges = {"own": (m.judge_x, m.judge_y), **before.kept}
    small = stored(before.rehearsed).images()
    own, others = thumbnails(m.x), thumbnails(small)
    with kt.open_build(folder).open("host", threads=1) as device:
        base, plain = device.export_adapter(), {name: device.predict(x) for name, (x, _) in judges.items()}
        mine = {name: is_own(thumbnails(x), own, others) for name, (x, _) in judges.items()}
        device.fit(m.x, m.y, seed=seed, progress=False, rehearsal=kt.Rehearsal(small, ratio) if ratio else None)
        whole = device.export_adapter()
        found: dict[str, Any] = {name: {"before": score(plain[name], y)} for name, (_, y) in judges.items()}
        for share in SHARES if "scale-shift" in whole.methods else (1.0,):
            device.load_adapter(scaled(whole, share, base))
            for name, (x, y) in judges.items():
                predicted = device.predict(x)
                found[name] |= {f"{share}": score(predicted, y), f"{share} switched": score(np.where(mine[name], predicted, plain[name]), y)}
    return found | {"own images": {name: float(told.mean()) for name, told in mine.items()}}


def taken_for(name: str, draw: int, number: int) -> float:
    """Largest share of the images of another unseen meter that the nearest thumbnail takes for those of this one."""
    own, others = thumbnails(meter(name, draw, number).x), thumbnails(stored(known().rehearsed).images())
    return max(float(is_own(thumbnails(meter(other, draw, number).judge_x), own, others).mean()) for other in UNSEEN if other != name)
