"""Re-normalisation without labels: gains and biases that set the moments of each layer back towards those of the original domain.

Batch normalisation that was folded into INT8 weights is undone and done again for the new domain, with what the device counts itself: integer
moments of each layer's results (kt_channel_moments). The arithmetic here is float64 of those integers, so a board's adapter has the host's bits.

Source of the idea: Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation" (2020), with its weight
N / (N + n0); of re-estimating layer by layer, here in passes: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiloc.ops import Moments, exponent_for

from ..adapters import Adapter
from .errors import DeviceError

if TYPE_CHECKING:
    from .base import Device

LEAST_RATIO, MOST_RATIO = 0.25, 4.0
"""Of deviations in one pass: a channel that hardly moves any more is not amplified without a bound."""

LEAST_ACTIVE = 0.1
"""Share of the positions above the clamp that a shift of the mean is divided by at least: a channel that is nearly off stays so."""

LEAST_GAIN, MOST_GAIN = 1 / 16, 2.0
LARGEST_BIAS = 2**30

Reals = NDArray[np.float64]


def renormalise(device: Device, samples: NDArray[Any], passes: int, prior: float, advance: Callable[[], None]) -> None:
    """Set the gains and biases of a device by samples [N, input bytes]; see `Device.renormalise`."""
    weight = len(samples) / (len(samples) + prior)
    goals: dict[str, tuple[Reals, Reals]] = {}
    for layer in device.manifest.moments * passes:
        adapter = device.export_adapter()
        device.load_adapter(adapter)  # the moments start anew
        now = _counted(device, layer, samples, advance)
        goal = goals.setdefault(layer["layer"], _goal(Moments.of(np.array(layer["source"])), now, weight))
        device.load_adapter(_moved(adapter, layer, now, goal))
    device.load_adapter(device.export_adapter())


def _counted(device: Device, layer: Mapping[str, Any], samples: NDArray[Any], advance: Callable[[], None]) -> Moments:
    """The moments of a layer over the samples, of which nothing is learned."""
    nothing = np.zeros(device.manifest.target_values, np.float32).tobytes()
    for sample in samples:
        device._train_step(sample.tobytes(), 0, nothing)
        advance()
    return Moments.of(np.frombuffer(device.state(), "<i4", 3 * len(layer["units"]) + 1, layer["at"]))


def _goal(source: Moments, now: Moments, weight: float) -> tuple[Reals, Reals]:
    """Mean and deviation that a layer shall have: where a correction by moments that are a mixture of both domains' would lead."""
    mean = (1 - weight) * source.mean + weight * now.mean
    variance = (1 - weight) * source.deviation**2 + weight * now.deviation**2
    ratio = np.clip(source.deviation / np.sqrt(variance), LEAST_RATIO, MOST_RATIO)
    return source.mean + ratio * (now.mean - mean), ratio * now.deviation


def _moved(adapter: Adapter, layer: Mapping[str, Any], now: Moments, goal: tuple[Reals, Reals]) -> Adapter:
    """The adapter with the gain and the bias of a layer that lead from the moments of now to the goal."""
    values = {name: array.copy() for name, array in adapter.values().items()}
    names = {(e.role, e.part): e.name for e in adapter.entries if e.layer == layer["layer"]}
    codes, exponent, bias = (values[names[part]] for part in (("gain", "value"), ("gain", "exponent"), ("bias", "value")))
    (mean, deviation), floor = goal, layer["floor"]
    gain = 1 + codes.ravel() * 2.0 ** int(exponent.ravel()[0])
    ratio = np.clip(deviation / now.deviation, LEAST_RATIO, MOST_RATIO)
    ratio = np.clip(gain * ratio, LEAST_GAIN, MOST_GAIN) / gain
    shift = (mean - floor - ratio * (now.mean - floor)) / np.maximum(now.active, LEAST_ACTIVE)
    moved = gain * ratio - 1
    power = int(exponent_for(np.float32(np.abs(moved).max()), 127.0, -24))
    codes[:] = np.clip(np.floor(moved / 2.0**power + 0.5), -127, 127).reshape(codes.shape)
    exponent[:] = power
    whole = np.floor(bias.ravel() * ratio + shift / np.array(layer["units"]) + 0.5)
    bias[:] = np.clip(whole, -LARGEST_BIAS, LARGEST_BIAS).reshape(bias.shape)
    payload = b"".join(values[e.name].astype(np.dtype(e.dtype).newbyteorder("<")).tobytes() for e in adapter.entries)
    return Adapter.make(bytes.fromhex(adapter.base_hash), adapter.methods, adapter.entries, payload, adapter.name, adapter.sequence)


def check(device: Device, passes: int, prior: float) -> None:
    """Refuse what cannot be done. DeviceError, ValueError."""
    if not device.manifest.moments:
        raise DeviceError(device.name, "the build keeps no moments", "build with method=kt.ScaleShift() and moments=True")
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise ValueError(f"passes is {passes!r}: it must be a number of at least 1")
    if not isinstance(prior, int | float) or isinstance(prior, bool) or not 0 <= prior < math.inf:
        raise ValueError(f"prior is {prior!r}: it must be a number of samples of at least 0")
