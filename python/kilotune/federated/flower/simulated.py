"""What simulated clients share: those that one process runs take turns on one device, and their samples are read once."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from ...building import MANIFEST, open_build
from ...data import Dataset, Wanted, load
from ...devices import Device
from ...devices.host import HostDevice
from ...devices.manifest import Manifest

Stamp = tuple[str, int]


class TurnsDevice(HostDevice):
    """A device of this computer that the end of a `with` block leaves open: opening one takes longer than a client's training."""

    stamp: Stamp
    """Of the build that it runs."""

    @property
    def usable(self) -> bool:
        return not self._closed

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing: the next client takes it, as built."""


class _Kept(threading.local):
    """Of each thread: no two clients are on one device at a time."""

    device: TurnsDevice | None = None


_kept = _Kept()


def host(folder: str) -> Device:
    """A device for a build, as built: that of the client before, where it runs this build."""
    stamp = _stamp(os.path.join(folder, MANIFEST))
    if _kept.device is None or not _kept.device.usable or _kept.device.stamp != stamp:
        if _kept.device is not None:
            _kept.device.close()
        _kept.device = TurnsDevice(Manifest.load(open_build(folder).directory))
        _kept.device.stamp = stamp
    _kept.device.reset()
    return _kept.device


def samples(path: str, manifest: Manifest) -> Dataset:
    """The samples of a file for a build, read anew where either has changed."""
    return _read(_stamp(path), _stamp(str(manifest.directory / MANIFEST)))


@lru_cache(maxsize=1)
def _read(file: Stamp, manifest: Stamp) -> Dataset:
    return load(file[0], "the data", Wanted.by(Manifest.load(Path(manifest[0]).parent)))


def _stamp(path: str) -> Stamp:
    """A file and when it was last changed; 0 where there is none."""
    try:
        return os.path.abspath(path), os.stat(path).st_mtime_ns
    except OSError:
        return os.path.abspath(path), 0
