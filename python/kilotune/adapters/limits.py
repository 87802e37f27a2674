"""Channels that a build computes without, and the values that would move them: what `kt_adapter_open` checks, with names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .file import Adapter


@dataclass(frozen=True)
class ChannelLimits:
    """value: an entry of adapters, of a layer. channels: in which codes are 0, or a bias is at most `limits` where `at_most` says so, and at least
    that elsewhere."""

    value: str
    layer: str
    channels: tuple[int, ...]
    limits: tuple[int, ...]
    at_most: tuple[bool, ...]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> ChannelLimits:
        """Of a manifest. Raises KeyError, TypeError or ValueError."""
        channels, limits = (tuple(int(n) for n in entry[key]) for key in ("channels", "limits"))
        at_most = tuple(bool(n) for n in entry["at_most"])
        if len(limits) != len(at_most) or len(limits) not in (0, len(channels)):
            raise ValueError(f"limits of {entry['value']} do not belong to its channels")
        return cls(str(entry["value"]), str(entry["layer"]), channels, limits, at_most)

    def moved(self, values: NDArray[Any]) -> int | None:
        """The first channel that values [rows, columns] of the entry move; None where they move none."""
        chosen = values.reshape(-1)[list(self.channels)] if len(values) == 1 else values[list(self.channels)]
        codes = chosen.reshape(len(chosen), -1)
        beyond = np.where(self.at_most, chosen > self.limits, chosen < self.limits) if self.limits else (codes != 0).any(1)
        return self.channels[int(beyond.argmax())] if beyond.any() else None


def moved_channel(adapter: Adapter, limits: Iterable[ChannelLimits]) -> tuple[ChannelLimits, int] | None:
    """The first value and channel of an adapter that a build does not take; None where there is none."""
    values = adapter.values()
    for limit in limits:
        if limit.value in values:
            channel = limit.moved(values[limit.value])
            if channel is not None:
                return limit, channel
    return None
