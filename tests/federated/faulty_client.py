"""A client of a Flower app that fails as its SuperNode says: fault="corrupt rank", one word a round, "none" for no fault.

It takes the place of an app's fleet/client_app.py.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from flwr.supernode.runtime import run_clientapp

import kilotune as kt
from kilotune.federated import flower

app = ClientApp()


def of_rank(adapter: kt.Adapter, rank: int) -> kt.Adapter:
    """The same with factors of a lower rank."""
    values, entries = adapter.values(), []
    for e in adapter.entries:
        factor = e.part == "value" and e.role in ("lora_a", "lora_b")
        entries.append(e if not factor else replace(e, rows=rank) if e.role == "lora_a" else replace(e, columns=rank))
    payload = b"".join(np.ascontiguousarray(values[e.name][: e.rows, : e.columns]).tobytes() for e in entries)
    return kt.Adapter.make(bytes.fromhex(adapter.base_hash), adapter.methods, entries, payload)


def answer_twice() -> None:
    """The reply to this message is pushed once more."""
    once: Any = run_clientapp.push_message

    def twice(client: Any, message: Message, context: Context) -> None:
        once(client, message, context)
        once(client, message, context)

    run_clientapp.push_message = twice


@app.train()
def train(message: Message, context: Context) -> Message:
    words = str(context.node_config.get("fault", "")).split()
    fault = dict(enumerate(words, 1)).get(int(message.content["config"]["server-round"]), "none")
    with flower.open_device(context) as device:
        x, y = flower.samples_of(device, context)
        if fault == "dies":
            device.load_adapter(flower.unpacked(message.content["arrays"]))
            Path(str(context.run_config["result"])).with_name("died").touch()
            os._exit(9)
        reply = flower.train_reply(message, device, x, y, str(context.node_config["name"]), epochs=1)
    found = flower.unpacked(reply.content["arrays"])
    if fault == "corrupt":
        data = bytearray(found.data)
        data[len(data) // 2] ^= 16
        reply.content["arrays"] = ArrayRecord({"adapter": Array(np.frombuffer(bytes(data), np.uint8))})
    elif fault == "foreign":
        reply.content["arrays"] = flower.packed(kt.Adapter.make(b"another!", found.methods, found.entries, found.payload))
    elif fault == "rank":
        reply.content["arrays"] = flower.packed(of_rank(found, 2))
    elif fault == "nan":
        reply.content["arrays"] = ArrayRecord({"adapter": Array(np.full(500, np.nan, np.float32))})
    elif fault == "nanloss":
        reply.content["metrics"]["loss"] = float("nan")
    elif fault == "twice":
        answer_twice()
    return reply
