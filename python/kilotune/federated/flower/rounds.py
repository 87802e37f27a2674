"""The adapter of the last round in a file, so that a federation goes on where its server was stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from logging import INFO
from pathlib import Path

from flwr.app import ArrayRecord, MetricRecord
from flwr.supercore import log

from ...adapters import Adapter
from ...data import Wanted, load
from ...devices import Device, DeviceError
from .records import packed, unpacked

Judge = Callable[[Adapter], dict[str, float]]


class Rounds:
    """A file with the adapter of the last round, whose sequence number is that of the round. It appears whole or not at all.

    like: the adapter of before the first round. resume: go on from the file, where it is there; else it is written anew. judge: scores of an
    adapter for the log, such as those of `judge_of`. Raises DeviceError for a file of another model.
    """

    def __init__(self, path: str | os.PathLike[str], like: Adapter, resume: bool = False, judge: Judge | None = None) -> None:
        self.path, self.judge, self.done, self.adapter = Path(path), judge, 0, like
        if resume and self.path.exists():
            try:
                found = Adapter.load(self.path)
            except ValueError as error:
                raise DeviceError(str(self.path), str(error), "remove it, or begin anew: resume = false") from None
            if found.base_hash != like.base_hash or found.entries != like.entries:
                raise DeviceError(str(self.path), "is of another model or another method", "name another file, or begin anew: resume = false")
            self.done, self.adapter = found.sequence, found.labelled(sequence=0)
            log(INFO, "%s: goes on after round %d", self.path, self.done)

    @property
    def arrays(self) -> ArrayRecord:
        """What the next round starts from."""
        return packed(self.adapter)

    def keep(self, server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        """What Flower calls after each round, as its evaluate_fn: writes the file, and gives scores for the log."""
        self.adapter = unpacked(arrays)
        self.adapter.labelled(sequence=self.done + server_round).save(self.path)
        return None if self.judge is None else MetricRecord(dict(self.judge(self.adapter)))


def judge_of(device: Device, path: str) -> Judge | None:
    """Scores of adapters on samples that the server has, in a file as `kilotune train` takes it. None where path is empty."""
    if not path:
        return None
    samples = load(path, "the samples of the server", Wanted.by(device.manifest))

    def scores(adapter: Adapter) -> dict[str, float]:
        device.load_adapter(adapter)
        return device.evaluate(samples.x, samples.y, progress=False)

    return scores
