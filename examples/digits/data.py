"""Handwritten digits as a small sensor sees them, before and after the sensor changes. Deterministic.

    python examples/digits/data.py FOLDER

writes user.npz (after the change, to train on), later.npz (to test on) and base.npz (before the change), with pixels of 0 to 16.

The 1,797 images of 8x8 pixels come with scikit-learn. They are split once: rows that the model is trained on, rows that
test it, rows that a device may adapt with, and rows that judge the adaptation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SCALE, ZERO_POINT = float(np.float32(16 / 255)), -128
"""Quantisation of a pixel: real values 0 to 16."""

BASE, BASE_TEST, ADAPT = 1000, 250, 240
"""Rows of each kind; the 307 that are left judge the adaptation."""

SPLIT_SEED, NOISE_SEED = 7, 11

ROTATION, SHIFT, CONTRAST, SHADE, NOISE = 17.0, (0.7, -0.5), 0.5, 5.0, 0.4
"""What the sensor does after the change: degrees, pixels (down, right), gain, brightness at the bright corner, standard deviation."""


@dataclass(frozen=True)
class Rows:
    """Images as int8 [N, 8, 8, 1] and their digits as int32 [N]."""

    x: NDArray[np.int8]
    y: NDArray[np.int32]


@dataclass(frozen=True)
class Digits:
    """base: what the model is made from. test: the same sensor. adapt, changed: after the change, to train on and to judge by."""

    base: Rows
    test: Rows
    adapt: Rows
    changed: Rows


def digits() -> Digits:
    """All rows; no image is in two of them."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.float64)
    order = np.random.Generator(np.random.PCG64(SPLIT_SEED)).permutation(len(images))
    base, test, adapt, evaluate = np.split(order, np.cumsum([BASE, BASE_TEST, ADAPT]))
    changed = change_sensor(images)

    def rows(source: NDArray[np.float64], which: NDArray[np.int64]) -> Rows:
        return Rows(quantized(source[which]), labels[which].astype(np.int32))

    return Digits(rows(images, base), rows(images, test), rows(changed, adapt), rows(changed, evaluate))


def quantized(images: NDArray[np.float64]) -> NDArray[np.int8]:
    """Pixels 0 to 16 as the int8 that the model takes."""
    codes = np.floor(images / SCALE + 0.5) + ZERO_POINT
    return np.clip(codes, -128, 127).astype(np.int8)[..., None]


def change_sensor(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The camera was knocked: it is turned and shifted, its contrast fell, light leaks in from a corner, and it is noisier."""
    turned = CONTRAST * _affine(images, np.deg2rad(ROTATION), SHIFT)
    down, right = np.mgrid[0:8, 0:8] / 7.0
    noise = np.random.Generator(np.random.PCG64(NOISE_SEED)).normal(0.0, NOISE, images.shape)
    return np.clip(turned + SHADE * (down + right) / 2 + noise, 0, 16)


def _affine(images: NDArray[np.float64], angle: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    """Rotation about the centre and a shift, bilinear, dark outside."""
    down, right = np.mgrid[0:8, 0:8] - 3.5
    y = np.cos(angle) * down - np.sin(angle) * right - shift[0] + 3.5
    x = np.sin(angle) * down + np.cos(angle) * right - shift[1] + 3.5
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4)))
    result = np.zeros_like(images)
    for i in (0, 1):
        for j in (0, 1):
            weight = np.abs(1 - i - (y - top)) * np.abs(1 - j - (x - left))
            result += weight * padded[:, top + i + 4, left + j + 4]
    return result


def main() -> None:
    rows, folder = digits(), Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("base", rows.base), ("user", rows.adapt), ("later", rows.changed)):
        pixels = (part.x.astype(np.float32) - ZERO_POINT) * np.float32(SCALE)
        np.savez(folder / f"{name}.npz", x=pixels, y=part.y)
        print(f"{folder / name}.npz: {len(part.y)} digits")


if __name__ == "__main__":
    main()
