"""What lies where in the states of a group: which bytes all devices share, and which each has for itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..devices import DeviceError
from ..devices.manifest import Manifest, Part

LAYOUT = 4
"""Bytes in front of a state, which name its layout: another one for each part."""


def part_of(manifest: Manifest) -> Part:
    """The part that a build holds. Raises DeviceError where it was built without one."""
    if manifest.shard is None:
        hint = "train it by device.fit; for a group make the builds with kt.sharded, or with shard=(0, 1) for one of one"
        raise DeviceError(str(manifest.directory), "was built for a device that trains alone", hint)
    return manifest.shard


def common_ranges(part: Part) -> list[tuple[int, int]]:
    """(byte, bytes) of a state that are the same on all devices after an update: all but layout, accumulators, which are zero, and moments."""
    found, at = list[tuple[int, int]](), LAYOUT
    for start, size in sorted([(part.at + 4, 4 * part.elements), *part.moments]):
        if start > at:
            found.append((at, start - at))
        at = start + size
    if part.used > at:
        found.append((at, part.used - at))
    return found


def composed(manifest: Manifest, common: bytes, moments: Sequence[bytes]) -> bytes:
    """The state of a device with the values that all share and its own moments, after an update."""
    part = part_of(manifest)
    assert manifest.state_layout is not None
    state, at = bytearray(manifest.state_bytes), 0
    state[:LAYOUT] = manifest.state_layout.to_bytes(LAYOUT, "little")
    for start, size in common_ranges(part):
        state[start : start + size] = common[at : at + size]
        at += size
    for (start, size), held in zip(part.moments, moments, strict=True):
        state[start : start + size] = held
    return bytes(state)


def check_together(manifests: Sequence[Manifest]) -> None:
    """Raises DeviceError where builds, in the order of their parts, are not those of one group."""
    parts, first = [part_of(m) for m in manifests], manifests[0]
    indices, count = [p.index for p in parts], parts[0].count
    if indices != list(range(count)) or any(p.count != count for p in parts):
        given = ", ".join(f"{p.index} of {p.count}" for p in parts)
        raise DeviceError("group", f"the devices hold the parts {given}", f"open each of the builds of kt.sharded once: {count} of {count}")
    for manifest in manifests[1:]:
        what = [name for name in ("base_hash", "loss", "accumulate", "learning_rate", "schedule") if getattr(manifest, name) != getattr(first, name)]
        what += ["parameters"] * (part_of(manifest).elements != parts[0].elements)
        what += ["optimizer"] * ([size for _, size in common_ranges(part_of(manifest))] != [size for _, size in common_ranges(parts[0])])
        if what:
            text = f"belongs to another group than {first.directory}: {', '.join(what)} differ"
            raise DeviceError(str(manifest.directory), text, "build all parts by one call of kt.sharded")
