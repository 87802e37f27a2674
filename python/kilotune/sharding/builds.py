"""The builds of a group, or of one device whose memories share the optimizer's state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kiloc import CompileError

from ..building import Build, build
from ..model import Model


def sharded(model: Model, directory: str | os.PathLike[str], count: int, **options: Any) -> list[Build]:
    """A build for each of `count` devices, in folders of `directory`: alike but for the part of the optimizer's state that each holds.

    count 1, with offload="optimizer" or "all": one device with two memories, on which as much of the state as moments_in_ram says stays in RAM,
    and the rest lies in slow memory, such as the external RAM of the board that slow_memory names. It trains without a `Group`, with the bits of a
    build that has everything in RAM.

    options: of `kt.build`, with a method and an optimizer that keeps moments; accumulate, the samples an update of the whole group, is twice the
    devices, but at least 8, where it is not given. CompileError where there are more devices than parts that the state can be cut into.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise CompileError(f"count={count!r}", "is not a number of devices", "pass 2 or more")
    if "shard" in options:
        raise CompileError("shard", "is what kt.sharded gives each build", "leave it out, or call kt.build")
    memory = options.get("memory")
    offload = options.get("offload", getattr(memory, "offload", "none"))
    if offload in ("optimizer", "all"):
        if count != 1:
            what = f"each device of a group has its part in RAM, and offload={offload!r} is given"
            raise CompileError(f"count={count}", what, "pass 1 for one device with two memories, or leave offload out")
        return [build(model, Path(directory) / "1_of_1", **options)]
    training = options.get("training")
    if training is None or training.accumulate == 1:
        options.setdefault("accumulate", max(2 * count, 8))
    parts = [(index, count) for index in range(count)]
    return [build(model, Path(directory) / f"{index + 1}_of_{count}", shard=(index, count), **options) for index, count in parts]
