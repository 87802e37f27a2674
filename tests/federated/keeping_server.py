"""A server of a Flower app that keeps the sum of a round in a file. It takes the place of an app's fleet/server_app.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

import kilotune as kt
from kilotune.federated import flower

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    with kt.open_build(str(config["build"])).open() as device:
        like = flower.first_adapter(device)
    rounds = flower.Rounds(str(config["result"]), like)
    strategy = flower.strategy_of(config, like)
    summed = strategy.aggregate_train

    def kept(server_round: int, replies: Any) -> Any:
        np.save(Path(str(config["result"])).with_name("total.npy"), replies.total)
        return summed(server_round, replies)

    strategy.aggregate_train = kept
    strategy.start(grid, rounds.arrays, num_rounds=1, timeout=float(config["round-timeout"]), evaluate_fn=rounds.keep)
