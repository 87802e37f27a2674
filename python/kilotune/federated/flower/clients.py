"""What a client does with a message: train or evaluate on a device, with the samples that this client has."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from ...adapters import Adapter
from ...building import open_build
from ...data import Wanted, load
from ...devices import DataWarning, Device, DeviceError
from ..real import drawn_back
from . import simulated
from .records import ARRAYS, CLIENT, CONFIG, METRICS, NAME, SAMPLES, packed, unpacked
from .updates import Wanted as WantedUpdate
from .updates import put_update

ROUND, PROXIMAL = "server-round", "proximal-mu"
"""What servers say of a round, as Flower calls it."""


def open_device(context: Context) -> Device:
    """The device that a SuperNode was started for: "device" of its configuration, "host" where it names none, and "baud" of a serial port.

    It runs the build that "build" names there, else the one of the run's configuration. Of simulated clients the first "simulated-boards" of the
    run's configuration are emulated boards, its "simulated-board"; the others take turns on a device that stays open behind the `with` block.
    """
    node, config, folder = context.node_config, context.run_config, _setting(context, "build")
    options = {"baud": int(node["baud"])} if "baud" in node else {}
    emulated = "partition-id" in node and int(node["partition-id"]) < int(config.get("simulated-boards", 0))
    otherwise = config.get("simulated-board", "host") if emulated else "host"
    name = str(node.get("device", otherwise))
    return simulated.host(folder) if "partition-id" in node and name == "host" else open_build(folder).open(name, **options)


def _setting(context: Context, name: str) -> str:
    value = context.node_config.get(name, context.run_config.get(name))
    if not isinstance(value, str) or not value:
        raise DeviceError(f"node {context.node_id}", f"no {name!r} is named", f"start the SuperNode with --node-config '{name}=\"PATH\"'")
    return value


def first_adapter(device: Device) -> Adapter:
    """The adapter of a device before any training: what a federation starts from."""
    device.reset()
    return device.export_adapter()


def train_reply(message: Message, device: Device, x: Any, y: Any, name: str = "", **options: Any) -> Message:
    """Load the adapter that came, train on the samples of this client, and answer with what became of it.

    name: what the server's log calls this client. options: as `Device.fit` takes them; an epoch, without samples held out, in an order that the
    number of the round decides, where they say nothing else. With "proximal-mu" in the message, as FedProx sends it, each epoch is followed by the
    proximal step of `kilotune.federated.drawn_back`; where the server asks for an update instead of the adapter (`flower.SummedUpdates`), that is
    the answer. Whatever fails is raised and so is the answer: the server leaves this client out and logs why,
    and the device has the adapter that it had before.
    """
    before = device.export_adapter()
    asked = {"epochs": 1, "seed": int(_said(message, ROUND)), "hold_out": 0.0, "progress": False, **options}
    try:
        wanted, shared = WantedUpdate.by(message), unpacked(message.content.array_records[ARRAYS])
        device.reset()
        device.load_adapter(shared)
        loss = _trained(device, shared, x, y, _said(message, PROXIMAL), asked)
        if wanted is not None:
            reply = _answer(message, name, {"loss": loss}, _count(x))
            put_update(reply, wanted, device, shared)
            return reply
        trained = device.export_adapter()
    except BaseException:
        with suppress(DeviceError):  # of a board that is gone, or takes signed adapters alone: what went wrong first is the answer
            device.reset()
            device.load_adapter(before)
        raise
    return _answer(message, name, {"loss": loss}, _count(x), trained)


def evaluate_reply(message: Message, device: Device, x: Any, y: Any, name: str = "") -> Message:
    """Load the adapter that came, and answer with its scores on the samples of this client."""
    device.load_adapter(unpacked(message.content.array_records[ARRAYS]))
    return _answer(message, name, {key: float(value) for key, value in device.evaluate(x, y, progress=False).items()}, _count(x))


def _said(message: Message, name: str) -> float:
    """A number that the server says of the round; 0 where it does not."""
    found = message.content.config_records[CONFIG].get(name, 0) if CONFIG in message.content.config_records else 0
    return float(found) if isinstance(found, int | float) else 0.0


def _trained(device: Device, shared: Adapter, x: Any, y: Any, strength: float, asked: dict[str, Any]) -> float:
    """Trains; the last epoch's loss. That a client lacks classes is no reason for a warning here: others have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y: ", DataWarning)
        return _fitted(device, shared, x, y, strength, asked)


def _fitted(device: Device, shared: Adapter, x: Any, y: Any, strength: float, asked: dict[str, Any]) -> float:
    if strength == 0:
        return float(device.fit(x, y, **asked).losses[-1])
    rate = asked.get("learning_rate", device.manifest.learning_rate)
    if rate is None:
        raise DeviceError(device.name, "the build has no learning rate for the proximal step", "pass learning_rate=")
    updates = -(-_count(x) // (asked.get("accumulate") or device.manifest.accumulate))
    loss = 0.0
    for epoch in range(asked["epochs"]):
        loss = float(device.fit(x, y, **{**asked, "epochs": 1, "seed": asked["seed"] + epoch}).losses[-1])
        device.load_adapter(drawn_back(device.export_adapter(), shared, strength * rate * updates))
    return loss


def _count(x: Any) -> int:
    return len(x[0] if isinstance(x, list) else x)


def _answer(message: Message, name: str, scores: dict[str, float], samples: int, adapter: Adapter | None = None) -> Message:
    content = RecordDict({METRICS: MetricRecord({SAMPLES: samples, **scores})})
    if adapter is not None:
        content[ARRAYS] = packed(adapter)
    if name:
        content[CLIENT] = ConfigRecord({NAME: name})
    return Message(content=content, reply_to=message)


def samples_of(device: Device, context: Context, judged: bool = False) -> tuple[Any, Any]:
    """The samples of a client: a file that "data" of its SuperNode's configuration names, as `kilotune train` takes it.

    Where it names none, in a simulation, its share of the file of the run's configuration. judged: every fifth of them, which `train` leaves out.
    """
    own = "data" in context.node_config
    path, wanted = _setting(context, "data"), Wanted.by(device.manifest)
    found = load(path, "the data", wanted) if own else simulated.samples(path, device.manifest)
    mine = np.arange(len(found)) if own else share(len(found), context)
    fifth = np.arange(len(mine)) % 5 == 4
    rows = mine[fifth] if judged and fifth.any() else mine[~fifth]
    x = [part[rows] for part in found.x] if isinstance(found.x, list) else found.x[rows]
    return x, None if found.y is None else found.y[rows]


def share(rows: int, context: Context) -> NDArray[np.int64]:
    """Rows of a file that a simulated client has: every n-th of n clients, by the numbers that Flower gives it."""
    number, of = int(context.node_config.get("partition-id", 0)), int(context.node_config.get("num-partitions", 1))
    if rows < 2 * of:
        raise DeviceError(f"client {number}", f"{rows} samples are too few for {of} clients", "give more samples, or simulate fewer")
    return np.arange(number, rows, of)
