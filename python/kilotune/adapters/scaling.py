"""From real values to an adapter, and an adapter whose change to the model is a part of another's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kiloc.peft import roles

from ..errors import DeviceError
from .compare import real_values
from .file import Adapter

Reals = NDArray[np.float64]
LOWEST_EXPONENT, HIGHEST_EXPONENT = -32, 100
"""Of a tensor of int8 on devices."""


def adapter_of(values: Mapping[str, Reals], like: Adapter, ranges: Mapping[str, int] | None = None) -> Adapter:
    """An adapter with the table of another one, of real values by the names that `real_values` gives; biases in units of the accumulator.

    A tensor of int8 gets the smallest power of two with which its largest value is at most 127 steps. ranges: exponents of A x; those of `like`
    where None. Raises DeviceError for values that are not finite, or of another shape.
    """
    raw, parts = like.values(), dict[str, NDArray[np.int64]]()
    for entry in like.entries:
        if entry.part == "range":
            parts[entry.name] = np.asarray(raw[entry.name] if ranges is None else [[ranges[entry.name]]], np.int64)
        if entry.part != "value":
            continue
        real = np.asarray(values[entry.name], np.float64)
        if real.shape != (entry.rows, entry.columns) or not np.all(np.isfinite(real)):
            what = (
                f"is {real.shape}, not {(entry.rows, entry.columns)}"
                if real.shape != (entry.rows, entry.columns)
                else "has values that are not finite"
            )
            raise DeviceError(entry.name, what, "give every tensor of the adapter, in finite real numbers")
        scaled = f"{entry.name}.exponent"
        if scaled in raw:
            largest = float(np.abs(real).max(initial=0))
            exponent = int(raw[scaled][0, 0]) if largest == 0 else int(np.clip(np.ceil(np.log2(largest / 127)), LOWEST_EXPONENT, HIGHEST_EXPONENT))
            real = real * 2.0**-exponent
            parts[scaled] = np.array([[exponent]], np.int64)
        low, high = (-127, 127) if entry.dtype == "int8" else (-(2**31), 2**31 - 1)
        parts[entry.name] = np.clip(np.rint(real), low, high).astype(np.int64)
    payload = b"".join(parts[e.name].astype(np.dtype(e.dtype).newbyteorder("<")).tobytes() for e in like.entries)
    return Adapter.make(bytes.fromhex(like.base_hash), like.methods, like.entries, payload, like.name)


def scaled(adapter: Adapter, share: float, base: Adapter) -> Adapter:
    """An adapter that changes the model by a share of what another one changes: less of the new, less of the old forgotten.

    share: 0 leaves the model as built, 1 gives the adapter's own values. base: of the model as built, `device.export_adapter()` before training.
    Of factors of a product, as LoRA's, the second is scaled. Raises ValueError for a share outside [0, 1], DeviceError for a base that is another's.
    """
    number = isinstance(share, int | float | np.integer | np.floating) and not isinstance(share, bool)
    if not (number and 0 <= share <= 1):
        raise ValueError(f"share is {share!r}: it must be a number from 0 to 1; 0.7 keeps most of what was learned")
    if base.base_hash != adapter.base_hash or base.entries != adapter.entries:
        what = f"the base is of model {base.base_hash}, the adapter of {adapter.base_hash}, or their tensors differ"
        raise DeviceError("scaled", what, "pass what the same build's device exports before training")
    known = roles()
    first = {e.name for e in adapter.entries if known[e.role].rank_axis == 0}
    start, end = real_values(base), real_values(adapter)
    values = {name: value if name in first else start[name] + share * (value - start[name]) for name, value in end.items()}
    return adapter_of(values, adapter)
