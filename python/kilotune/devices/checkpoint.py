"""Where a training stands, as a file that appears whole or not at all: `Device.fit` goes on from it with the bits of one that was never cut off.

An .npz file without pickles: the state of the device, of the best epoch and of the one to keep, the held-out losses, and as JSON the history,
the place in the epoch, and what the training was: model, samples and arguments. Another training is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import write_whole
from .errors import DeviceError
from .history import History

FORMAT = 1
INTERVAL = 30.0
"""Seconds after which a checkpoint is written in the middle of an epoch: a board may take minutes for one."""


@dataclass
class Place:
    """Where in its epochs a training is: `position` samples of the epoch that follows those in the history, with losses of this sum."""

    position: int = 0
    total: float = 0.0
    share: float = 1.0
    """Of the learning rate that is left after steps back."""


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on. best: what `recipe.Best` knows, or None without validation."""

    state: bytes
    history: History
    place: Place
    best: Mapping[str, Any] | None


def fingerprint(*parts: Any) -> str:
    """SHA-256 of arrays and plain values."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


class Keeper:
    """Writes checkpoints of one training to a file, and reads what one before has written."""

    def __init__(self, path: str | os.PathLike[str], what: Mapping[str, str]) -> None:
        """what: fingerprints of what must be the same for a training to be the same, by name."""
        self.path, self.what = Path(path), dict(what)
        self.written = time.monotonic()
        if not os.access(self.path.absolute().parent, os.W_OK):
            raise DeviceError(str(path), "the checkpoint's folder does not exist, or cannot be written", "make it first")

    def due(self) -> bool:
        """Whether so much time has passed that the next safe moment is to be kept."""
        return time.monotonic() - self.written >= INTERVAL

    def write(self, found: Checkpoint) -> None:
        """Replace the file; at every moment the one before is there, or this one."""
        best = found.best
        history = dataclasses.asdict(found.history)
        rates = np.array(history.pop("learning_rates"))  # one for each update: too many for text
        text = {
            "format": FORMAT,
            "what": self.what,
            "history": history,
            "place": dataclasses.asdict(found.place),
            "best": None if best is None else {k: v for k, v in best.items() if isinstance(v, int)},
        }
        arrays: dict[str, NDArray[Any]] = {"text": np.frombuffer(json.dumps(text).encode(), np.uint8), "rates": rates}
        arrays["state"] = np.frombuffer(found.state, np.uint8)
        for name, value in (best or {}).items():
            if not isinstance(value, int):
                arrays[f"best_{name}"] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_whole(self.path, content.getvalue())
        self.written = time.monotonic()

    def read(self) -> Checkpoint | None:
        """What was written before; None where there is no file. DeviceError where it is damaged or of another training."""
        where = str(self.path)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            text = json.loads(arrays["text"].tobytes())
            if text["format"] != FORMAT:
                raise ValueError(f"it is in format {text['format']}, this version reads {FORMAT}")
            other = [name for name, value in self.what.items() if text["what"].get(name) != value]
            history, place = History(**text["history"], learning_rates=arrays["rates"].tolist()), Place(**text["place"])
            best = text["best"]
            if best is not None:
                states = {k: arrays[f"best_{k}"].tobytes() for k in ("state", "kept")}
                best = {**best, **states, "losses": arrays["best_losses"]}
            found = Checkpoint(arrays["state"].tobytes(), history, place, best)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise DeviceError(where, f"this is no checkpoint: {error}", "remove it, and train from the start") from None
        if other:
            what = f"the checkpoint is of another training: {' and '.join(other)} differ"
            raise DeviceError(where, what, "go on with the command that wrote it, or remove it and train from the start")
        return found
