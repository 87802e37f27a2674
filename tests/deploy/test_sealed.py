"""What a device writes and reads by itself, byte by byte: files that it seals, checksums, and values of lower ranks."""

from __future__ import annotations

from .hostile_programs import passes


def test_what_a_device_seals_and_copies() -> None:
    passes("sealed")
