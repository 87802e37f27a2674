"""The exception a user sees when a device, a tool or a build directory is at fault."""

from __future__ import annotations


class DeviceError(Exception):
    """A device cannot be opened or cannot do what was asked.

    where: the device, tool, file or call at fault, as the user knows it.
    what: the cause, one sentence.
    hint: what to do instead; may be empty.
    """

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(f"{what}\n  at {where}" + (f"\n  hint: {hint}" if hint else ""))
        self.where = where
        self.what = what
        self.hint = hint
