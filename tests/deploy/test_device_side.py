"""What a device does by itself: files that it seals and reads, byte by byte, the flash that it takes, and errors that it counts."""

from __future__ import annotations

from kilotune import resources

from .hostile_programs import passes


def test_what_a_device_seals_and_copies() -> None:
    passes("sealed")


def test_descriptions_of_flash_and_errors_of_self_tests() -> None:
    passes("corners")


def test_stuffing_of_frames() -> None:
    passes("links", resources.agent() / "kt_link.c")
