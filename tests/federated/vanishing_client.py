"""A client of a Flower app that keeps what it sends in a file, and vanishes in the middle of a round where its SuperNode says vanishes=1.

It takes the place of an app's fleet/client_app.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from kilotune.federated import flower

app = ClientApp(mods=[flower.secure_mod])


@app.train()
def train(message: Message, context: Context) -> Message:
    folder, name = Path(str(context.run_config["result"])).parent, str(context.node_config["name"])
    with flower.open_device(context) as device:
        x, y = flower.samples_of(device, context)
        reply = flower.train_reply(message, device, x, y, name, epochs=1)
    if context.node_config["vanishes"]:
        (folder / "vanishing").touch()
        parent, end = os.getppid(), time.monotonic() + 5
        while os.getppid() == parent and time.monotonic() < end:  # until its SuperNode is ended
            time.sleep(0.1)
        os._exit(9)
    np.save(folder / f"{name}.npy", reply.content["arrays"]["update"].numpy())
    return reply
