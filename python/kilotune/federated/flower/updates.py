"""Updates in Flower's messages: what a server asks for instead of adapters, what clients answer, and the sum of the answers."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from logging import INFO

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.supercore import log
from numpy.typing import NDArray

from ...adapters import Adapter
from ...devices import Device
from ...errors import DeviceError
from ..private import CLIP, FARTHEST, LIMIT, SIGMA, private_update, update_of
from .records import ARRAYS, CONFIG, METRICS, SAMPLES, array

UPDATE, LOSS = "update", "loss"
CLIPPED, NOISE, LIMBS = "update-clip", "update-sigma", "update-limbs"
"""What a server says of the updates that it asks for: integers."""
MOST_SAMPLES = 1 << 20
"""That a client's update is multiplied by."""
LIMB = 24
LOSS_FRACTION, LARGEST_LOSS = 16, 1000.0

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Wanted:
    """clip, sigma: as `private_update` takes them; clip 0: an update counts by its samples, without noise. limbs: integers that hold a value."""

    clip: int = 0
    sigma: int = 0

    @property
    def limbs(self) -> int:
        """A weighted value takes two integers of 24 bits and a sign."""
        return 1 if self.clip else 2

    @property
    def bound(self) -> int:
        """No integer that a client sends is larger."""
        return self.clip + (FARTHEST + 1) * self.sigma if self.clip else (1 << LIMB) - 1

    def record(self) -> dict[str, int]:
        return {CLIPPED: self.clip, NOISE: self.sigma, LIMBS: self.limbs}

    @classmethod
    def by(cls, message: Message) -> Wanted | None:
        """None where the server asks for adapters. Raises DeviceError for numbers that are out of range."""
        config = message.content.config_records[CONFIG] if CONFIG in message.content.config_records else ConfigRecord()
        if LIMBS not in config:
            return None
        clip, sigma, limbs = (config.get(key) for key in (CLIPPED, NOISE, LIMBS))
        if not isinstance(clip, int) or not isinstance(sigma, int) or not 0 <= clip <= CLIP or not 0 <= sigma <= SIGMA or (sigma and not clip):
            what = f"the server asks for a clip of {clip!r} and a sigma of {sigma!r}"
            raise DeviceError("the update", what, f"they are integers up to {CLIP:,} and {SIGMA:,}, and noise needs a clip")
        found = cls(clip, sigma)
        if limbs != found.limbs:
            raise DeviceError("the update", f"the server asks for {limbs!r} integers a value", "install one version of kilotune everywhere")
        return found


# ---- Clients ----


def put_update(reply: Message, wanted: Wanted, device: Device, shared: Adapter) -> None:
    """In place of the adapter that a device has trained, its update; with a clip nothing else of the client: neither samples nor loss."""
    record = reply.content.metric_records[METRICS]
    if wanted.clip:
        values = privately(device, shared, wanted.clip, wanted.sigma)
        reply.content[METRICS] = MetricRecord({SAMPLES: 1})
    else:
        values = update_of(device.export_adapter(), shared)
        if not 0 < int(str(record[SAMPLES])) <= MOST_SAMPLES:
            raise DeviceError("the update", f"{record[SAMPLES]} samples are too many to weigh it", f"train on up to {MOST_SAMPLES:,} a round")
    reply.content[ARRAYS] = ArrayRecord({UPDATE: array(values)})


def privately(device: Device, shared: Adapter, clip: int, sigma: int) -> Integers:
    """The update of a device since an adapter, bounded and noised: by its own C where its build has that, else here, which the log says.

    Here the key is drawn from the operating system for this update alone, and forgotten.
    """
    if sigma and device.manifest.private_updates:
        return device.private_update(shared, clip, sigma)
    if sigma:
        log(INFO, "the build of %s has no private_updates: this process noises its update, which the device sends as it is", device.name)
    return private_update(update_of(device.export_adapter(), shared), clip, sigma, secrets.token_bytes(32), 0)


def vector_of(asked: Message, reply: Message) -> NDArray[np.float64]:
    """The integers of an answer that are masked: values, samples and loss, in limbs. DeviceError where it holds no update."""
    wanted, arrays = Wanted.by(asked), reply.content.array_records.get(ARRAYS)
    if wanted is None or arrays is None or list(arrays) != [UPDATE]:
        raise DeviceError("secure aggregation", "the app answers with no update", "answer with flower.train_reply")
    record = reply.content.metric_records[METRICS]
    values, samples = np.asarray(arrays[UPDATE].numpy(), np.int64), int(str(record[SAMPLES]))
    if wanted.clip:
        found = values
    else:
        loss = float(str(record.get(LOSS, 0.0)))
        if not math.isfinite(loss):
            raise DeviceError("the update", f"the loss is {loss}", "train at a lower learning rate")
        scaled = round(min(max(loss, -LARGEST_LOSS), LARGEST_LOSS) * 2**LOSS_FRACTION)
        found = np.concatenate([values * samples, [samples, samples * scaled]])
        found = np.concatenate([found & ((1 << LIMB) - 1), found >> LIMB])
    if np.abs(found).max(initial=0) > wanted.bound:
        raise DeviceError("the update", f"holds integers above {wanted.bound:,}", "this is a bug of kilotune")
    return found.astype(np.float64)


# ---- The server ----


class Total:
    """The sum of updates: of answers that are added one at a time, or of what came from under masks."""

    def __init__(self, wanted: Wanted, size: int) -> None:
        self.wanted, self.values, self.clients, self.weight = wanted, np.zeros(size, np.int64), 0, 0
        self.loss = 0

    def add(self, message: Message) -> str:
        """Why an answer is left out; empty where it was taken."""
        arrays, records = list(message.content.array_records.values()), list(message.content.metric_records.values())
        if len(arrays) != 1 or len(records) != 1 or list(arrays[0]) != [UPDATE]:
            return "sent no update"
        values, samples, loss = arrays[0][UPDATE].numpy(), records[0].get(SAMPLES), records[0].get(LOSS, 0.0)
        most = self.wanted.bound if self.wanted.clip else LIMIT
        if values.dtype != np.int64 or values.shape != self.values.shape:
            return f"sent an update of {values.shape} {values.dtype}, not {self.values.shape} int64"
        if len(values) and (values.max() > most or values.min() < -most):
            return f"sent values beyond {most:,}"
        if not isinstance(samples, int) or not 0 < samples <= (1 if self.wanted.clip else MOST_SAMPLES):
            return f"learned from {samples!r} samples"
        if not isinstance(loss, int | float) or not math.isfinite(loss):
            return f"sent loss {loss}"
        self.values += samples * values
        self.weight, self.clients = self.weight + samples, self.clients + 1
        self.loss += samples * round(min(max(loss, -LARGEST_LOSS), LARGEST_LOSS) * 2**LOSS_FRACTION)
        return ""

    def take(self, masked: Integers, clients: int) -> None:
        """What masks have left of the vectors of so many clients."""
        if self.wanted.clip:
            self.values, self.weight = masked, clients
        else:
            low, high = masked.reshape(2, -1)
            whole = low + (high << LIMB)
            self.values, self.weight, self.loss = whole[:-2], int(whole[-2]), int(whole[-1])
        self.clients = clients

    def metrics(self) -> MetricRecord:
        """With a clip none: a loss tells of clients what no noise hides."""
        return MetricRecord({} if self.wanted.clip or not self.weight else {LOSS: self.loss / self.weight / 2**LOSS_FRACTION})


def size_of(adapter: Adapter) -> int:
    """Values of an update."""
    return sum(e.rows * e.columns for e in adapter.entries if e.part == "value")
