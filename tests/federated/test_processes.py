"""A federation of real processes in which everything goes wrong that can: clients that fail in every way, and a server that is killed in a round."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import federation
import numpy as np
import pytest
from federation import Federation, until

import kilotune as kt
from kilotune.federated import Contribution, exact_mean, flower

NODES = {"good": "", "one": "corrupt twice", "two": "foreign rank", "three": "nan dies"}
"""Name of a client -> what it does in the first round and in the second."""
PATIENCE = 3, 15
"""How much longer than the first the second round waits for who does not answer; seconds at least."""

WAIT = 300.0
"""Seconds for what takes ten on a computer that does nothing else."""


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
@pytest.mark.timeout(1200)
def test_rounds_end_whatever_fails(app: Path, tmp_path: Path) -> None:
    """Who failed and why is in the log; the adapter is that of the others, bit for bit, also after the server was killed in the second round."""
    shutil.copy(Path(__file__).with_name("faulty_client.py"), app / "fleet" / "client_app.py")
    with Federation(tmp_path, app) as found:
        for number, (name, fault) in enumerate(NODES.items()):
            found.start_node(name, **{"partition-id": number, "num-partitions": len(NODES), "fault": fault})
        options = {"num_server_rounds": 2, "fraction_evaluate": 0.0}
        found.run("run", **options, min_clients=len(NODES))
        shared = app / "shared.kta"
        until(shared.exists, "the server", WAIT)
        began = time.monotonic()
        until(lambda: kt.Adapter.load(shared).sequence == 1, "the first round", WAIT)
        patience = int(max(PATIENCE[0] * (time.monotonic() - began), PATIENCE[1]))
        until((app / "died").exists, "a client of the second round", WAIT)
        found.kill_link()
        said = found.log("run")
        assert "'one', node" in said and "adapter damaged" in said
        assert "belongs to the base model 616e6f7468657221" in said and "of type float32, not the bytes" in said
        assert "1 adapters taken" in said
        kept = kt.Adapter.load(shared)
        assert kept.sequence == 1 and kept.payload == expected(app, [["good"]]).payload
        found.start_link()
        found.run("again", **options, min_clients=2, round_timeout=patience, resume=True)
        said = found.finished("again", WAIT)
        assert "goes on after round 1" in said and "has another table" in said
        assert f"has not answered after {patience} seconds" in said and "2 adapters taken" in said, said
    kept = kt.Adapter.load(app / "shared.kta")
    assert kept.sequence == 2 and kept.payload == expected(app, [["good"], ["good", "one"]]).payload


@pytest.mark.slow
def test_a_node_whose_port_another_process_took_starts_on_another(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other, Federation(tmp_path, app) as found:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free = federation.free_port
        ports = [other.getsockname()[1]]
        monkeypatch.setattr(federation, "free_port", lambda: ports.pop() if ports else free())
        found.start_node("late")
        assert found.processes["late"].poll() is None
        assert "address already in use" in found.log("late")
