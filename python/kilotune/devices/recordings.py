"""Recordings in place of the input that a front end makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiloc.features import FrontEnd

from .manifest import Tensor

if TYPE_CHECKING:
    from .base import Device


def is_recordings(x: NDArray[Any], features: FrontEnd | None) -> bool:
    """Whether these are recordings [N, ...] of int16 for the front end."""
    return features is not None and x.dtype == np.int16 and x.shape[1:] == features.recording_shape


def input_of(x: NDArray[Any], features: FrontEnd, tensor: Tensor, goes_on: bool = False) -> NDArray[np.int8]:
    """The model's input [N, ...] of recordings, with the bits of the build's C function. goes_on: they are slices of one, from its beginning."""
    plan = features.planned(tensor.scale, tensor.zero_point)
    rows = plan.continued(x, np.zeros(features.kept, np.uint32))[0] if goes_on else plan(x)
    return rows.reshape(-1, *tensor.sample_shape)


def next_inputs(device: Device, x: Any) -> Any:
    """The model's input of the slices that follow those a device has seen, and its state with what the front end keeps of them.

    Samples that are no recordings, or for a model where each begins anew, stay as they are.
    """
    m = device.manifest
    if m.features is None or m.features_kept is None or not is_recordings(slices := np.asarray(x), m.features):
        return x
    state = device.state()
    kept = np.frombuffer(state, "<u4", m.features.kept, m.features_kept)
    rows, kept = m.features.planned(m.inputs[0].scale, m.inputs[0].zero_point).continued(slices, kept)
    content = kept.astype("<u4").tobytes()
    device.set_state(state[: m.features_kept] + content + state[m.features_kept + len(content) :])
    return rows.reshape(-1, *m.inputs[0].sample_shape)
