"""The exception a user sees when a device, a tool or a build directory is at fault."""

from __future__ import annotations

from kiloc import KilotuneError


class DeviceError(KilotuneError):
    """A device cannot be opened or cannot do what was asked."""
