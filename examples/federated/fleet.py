"""Two emulated boards and eight host clients learn together over Flower: a SuperLink, ten SuperNodes and a server, each a process of its own.

    python examples/federated/fleet.py                  # minutes: each message starts a process
    python examples/federated/fleet.py --boards 0       # where there is no QEMU

The clients see the digits of examples/digits through the same changed sensor, but each sees few of them often and the others hardly ever. Exit
code 1 unless the shared adapter serves all digits better than each client's own, and has the bits that one process computes.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "digits"))

from data import digits
from federation import BIN, Federation
from run import BOARD, DIGITS, shares

import kilotune as kt
from kilotune.federated import Contribution, exact_mean, flower

EPOCHS = 2
SEED = 3


def expected(build: kt.Build, data: list[tuple[NDArray[np.int8], NDArray[np.int32]]], rounds: int) -> tuple[kt.Adapter, list[kt.Adapter]]:
    """The shared adapter and each client's own after as many epochs, in this process alone."""
    with build.open() as device, warnings.catch_warnings():
        warnings.simplefilter("ignore", kt.DataWarning)  # that a client lacks digits is what others are for
        shared = like = flower.first_adapter(device)

        def trained(start: kt.Adapter, x: Any, y: Any, epochs: int, seed: int) -> kt.Adapter:
            device.reset()
            device.load_adapter(start)
            device.fit(x, y, epochs=epochs, seed=seed, hold_out=0)
            return device.export_adapter()

        for number in range(1, rounds + 1):
            shared = exact_mean([Contribution(trained(shared, x, y, EPOCHS, number), len(x)) for x, y in data])
        return shared, [trained(like, x, y, rounds * EPOCHS, 1) for x, y in data]


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--boards", type=int, default=2, help=f"clients on an emulated board, {BOARD}")
    options.add_argument("--hosts", type=int, default=8, help="clients on this computer")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    count, found = given.boards + given.hosts, digits()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        folder, app = Path(scratch), Path(scratch) / "app"
        np.savez(folder / "user.npz", x=found.adapt.x, y=found.adapt.y)
        np.savez(folder / "judge.npz", x=found.changed.x, y=found.changed.y)
        made = ["federated", "new", app, "--model", DIGITS, "--data", folder / "user.npz", "--method", "bias", "--method", "lora=all"]
        subprocess.run([BIN / "kilotune", *made], check=True, stdout=subprocess.DEVNULL)
        build = kt.open_build(app / "model")
        for where in ("host", *([BOARD] if given.boards else [])):  # compiled once, and not by each client
            build.open(where).close()

        parts, data = shares(found.adapt.y, count, SEED), []
        fleet = opened.enter_context(Federation(folder / "federation", app))
        for number, rows in enumerate(parts):
            file = folder / f"client-{number}.npz"
            np.savez(file, x=found.adapt.x[rows], y=found.adapt.y[rows])
            own = rows[np.arange(len(rows)) % 5 != 4]
            data.append((found.adapt.x[own], found.adapt.y[own]))
            fleet.start_node(f"client {number}", device=BOARD if number < given.boards else "host", data=str(file))
        judge = str(folder / "judge.npz")
        fleet.run("run", num_server_rounds=given.rounds, local_epochs=EPOCHS, min_clients=count, fraction_evaluate=0.0, judge=judge)
        log = fleet.finished("run", 1200)
        scores = [ast.literal_eval(text)["accuracy"] for text in re.findall(r"(?:MetricRecord|evaluation results): (\{'accuracy.*\})", log)]
        if len(scores) != given.rounds + 1:
            print(log)
            return 1
        report = build.report
        print(f"{given.boards} boards and {given.hosts} host clients; the model has {report['flash']['weights']:,} bytes of constants")
        print(f"base model {scores[0]:.3f}")
        sizes = re.findall(r"(\d+) adapters taken, of (\d+) bytes", log)
        for number, (score, (clients, size)) in enumerate(zip(scores[1:], sizes, strict=True), 1):
            print(f"round {number}: {clients} adapters, {int(size):,} bytes up and as many down; their mean reaches {score:.3f}")
        missing = re.findall(r"aggregate_train: (.+ is left out: .+)|(.+ has not answered .+)", log)
        for line in missing:
            print("".join(line))
        shared, alone = expected(build, data, given.rounds)
        result = kt.Adapter.load(app / "shared.kta")
        with build.open() as device:
            own_scores = []
            for adapter in alone:
                device.load_adapter(adapter)
                own_scores.append(device.evaluate(found.changed.x, found.changed.y)["accuracy"])
        same = result.payload == shared.payload
        bits = "yes" if same else "no, as clients were left out" if missing else "NO"
        print(f"each alone reaches {min(own_scores):.3f} to {max(own_scores):.3f}; bits as in one process: {bits}")
        return 0 if same and scores[-1] > max(own_scores) else 1


if __name__ == "__main__":
    sys.exit(main())
