"""Devices that learn one task together, each with a part of the optimizer's state.

    builds = kt.sharded(model, "build/kws", 4, method=kt.LoRA(rank=4), optimizer=kt.Adam())
    with kt.Group([build.open("qemu:mps2-an386") for build in builds]) as group:
        group.fit(x, y, epochs=3)
        adapter = group.export_adapter()

After each update the trained values of all devices are the same, bit for bit, and those of one device with shard=(0, 1) that sees all samples.
"""

from .builds import sharded
from .group import Group, Traffic

__all__ = ["Group", "Traffic", "sharded"]
