"""A federation of real processes in which everything goes wrong that can: clients that fail in every way, and a server that is killed in a round."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from federation import Federation, until

import kilotune as kt
from kilotune.federated import Contribution, exact_mean, flower

NODES = {"good": "", "one": "corrupt twice", "two": "foreign rank", "three": "nan dies"}
"""Name of a client -> what it does in the first round and in the second."""
ANSWERS = 20
"""Seconds that the second round waits for who does not answer."""


def expected(app: Path, taken: list[list[str]]) -> kt.Adapter:
    """The adapter of a round after the other from these clients alone, in this process."""
    with np.load(app / "data.npz") as file, kt.open_build(app / "model").open() as device:
        x, y = file["x"], file["y"]
        shared = flower.first_adapter(device)
        for number, names in enumerate(taken, 1):
            sent = []
            for name in names:
                rows = np.arange(list(NODES).index(name), len(x), len(NODES))
                rows = rows[np.arange(len(rows)) % 5 != 4]
                device.reset()
                device.load_adapter(shared)
                device.fit(x[rows], y[rows], epochs=1, seed=number, hold_out=0)
                sent.append(Contribution(device.export_adapter(), len(rows), name))
            shared = exact_mean(sent)
    return shared


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rounds_end_whatever_fails(app: Path, tmp_path: Path) -> None:
    """Who failed and why is in the log; the adapter is that of the others, bit for bit, also after the server was killed in the second round."""
    shutil.copy(Path(__file__).with_name("faulty_client.py"), app / "fleet" / "client_app.py")
    with Federation(tmp_path, app) as found:
        for number, (name, fault) in enumerate(NODES.items()):
            found.start_node(name, **{"partition-id": number, "num-partitions": len(NODES), "fault": fault})
        options = {"num_server_rounds": 2, "fraction_evaluate": 0.0}
        found.run("run", **options, min_clients=len(NODES))
        until((app / "died").exists, "a client of the second round", 120)
        found.kill_link()
        said = found.log("run")
        assert "'one', node" in said and "adapter damaged" in said
        assert "belongs to the base model 616e6f7468657221" in said and "of type float32, not the bytes" in said
        assert "1 adapters taken" in said
        kept = kt.Adapter.load(app / "shared.kta")
        assert kept.sequence == 1 and kept.payload == expected(app, [["good"]]).payload
        found.start_link()
        found.run("again", **options, min_clients=2, round_timeout=ANSWERS, resume=True)
        said = found.finished("again")
        assert "goes on after round 1" in said and "has another table" in said
        assert f"has not answered after {ANSWERS} seconds" in said and "2 adapters taken" in said, said
    kept = kt.Adapter.load(app / "shared.kta")
    assert kept.sequence == 2 and kept.payload == expected(app, [["good"], ["good", "one"]]).payload
