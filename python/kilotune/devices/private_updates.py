"""Updates that a device bounds and noises itself (kt/private_update.h)."""

from __future__ import annotations

import secrets
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..adapters import Adapter
from .calls import one_at_a_time
from .errors import DeviceError
from .interface import Interface

NO_SECRET = 2**32 - 1
LARGEST_CLIP, LARGEST_SIGMA = 2**20, 2**20
"""Of kt/private_update.h."""


@one_at_a_time
class PrivateUpdates(Interface):
    """What devices of a build with `private_updates` do."""

    @abstractmethod
    def _seed_noise(self, entropy: bytes) -> int:
        """Mix 32 bytes into the secret of the noise, or none; updates so far, NO_SECRET before the first ones."""

    @abstractmethod
    def _private_update(self, since: bytes, clip: int, sigma: int) -> bytes:
        """int32 for each value of an update."""

    @abstractmethod
    def _check_adapter(self, adapter: Adapter) -> None: ...

    def _check_private(self) -> None:
        self._check_training()
        if not self.manifest.private_updates:
            hint = "build it with adapters=kt.AdapterOptions(private_updates=True)"
            raise DeviceError(self.name, "the model was built without updates under noise", hint)

    def private_update(self, since: Adapter, clip: int, sigma: int) -> NDArray[np.int64]:
        """What was learned since an adapter, bounded and noised by the device's own C: the units of `kilotune.federated.private_update`.

        The key of the noise stays on the device, and no two updates have the same noise: a board keeps their number in its flash. A device without
        a secret is given 32 bytes of this computer's random numbers. sigma: from 1 on. Raises DeviceError in a build without `private_updates`.
        """
        self._check_private()
        self._check_adapter(since)
        for name, value, largest in (("clip", clip, LARGEST_CLIP), ("sigma", sigma, LARGEST_SIGMA)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= largest:
                raise ValueError(f"{name} is {value!r}: pass an integer from 1 to {largest:,}, in units of 2^-16")
        if self._seed_noise(b"") == NO_SECRET:
            self._seed_noise(secrets.token_bytes(32))
        return np.frombuffer(self._private_update(since.data, int(clip), int(sigma)), "<i4").astype(np.int64)

    def seed_noise(self, entropy: bytes) -> int:
        """Mix 32 secret bytes into the key of the device's noise; what was unknown of it stays so. Returns how many updates it has made."""
        self._check_private()
        if len(entropy) != 32:
            raise ValueError(f"entropy has {len(entropy)} bytes: pass 32, such as secrets.token_bytes(32)")
        return self._seed_noise(entropy)
