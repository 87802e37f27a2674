"""A fleet over Flower: what travels, what each strategy reaches, how rounds grow with the number of clients.

    python benchmarks/fleet.py --write docs/fleet.md
    python benchmarks/fleet.py --clients 10 100 1000 10000 --keep build/fleet.json

Everything is from digits that scikit-learn brings, so that a clone can print the page. What has been finished is kept in a file with --keep.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray
from prose import wrapped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples/digits"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples/federated"))

from data import change_sensor, digits, quantized
from federation import BIN, Federation, until
from run import BOARD, DIGITS, shares
from sklearn.datasets import load_digits

import kilotune as kt
from kilotune.federated import flower

METHODS = {
    "biases": [kt.BiasOnly()],
    "LoRA of rank 1": [kt.LoRA(rank=1, layers="all")],
    "LoRA of rank 4": [kt.LoRA(rank=4, layers="all")],
    "biases and LoRA of rank 4": [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")],
    "the last layer": [kt.Full(layers="last:1")],
}
USUAL = "biases and LoRA of rank 4"
CLIENTS, ROUNDS, EPOCHS = 10, 6, 2
DRAWS = (11, 12, 13)
"""Of how digits are dealt to clients. What is chosen here was chosen on draw 3, which the example uses."""
STRATEGIES: dict[str, dict[str, float]] = {
    "exact": {}, "product": {}, "median": {}, "trimmed_mean": {}, "krum": {},
    "fedavg": {}, "fedprox": {"proximal_mu": 0.1}, "fedadam": {"eta": 0.5}, "fedyogi": {"eta": 0.5},
    "fedmedian": {}, "multikrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 8},
}  # fmt: skip
ROWS, TRAINED = 10, 8
"""Samples of a simulated client, and how many of them it trains on."""
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def traffic(scratch: Path) -> list[str]:
    """A row for each method: bytes of the adapter beside those of the model."""
    rows = []
    for number, (title, methods) in enumerate(METHODS.items()):
        build = kt.build(kt.load(DIGITS), scratch / f"traffic-{number}", method=methods, calibration=digits().base.x[:32], measure=False)
        with build.open() as device:
            size = len(flower.first_adapter(device))
        rows.append(f"| {title} | {size:,} | {2 * CLIENTS * size:,} | {build.report['flash']['weights']:,} |")
    return rows


def fleet_of(build: kt.Build, name: str, own: dict[str, float], draw: int, hostile: bool) -> list[float]:
    """Accuracy before the first round and after each."""
    found = digits()
    parts = shares(found.adapt.y, CLIENTS, draw)
    with build.open() as device:
        shared = like = flower.first_adapter(device)
        strategy = flower.strategy(name, like, dict(own))
        if isinstance(strategy, flower.Requantized):
            strategy.begin(like)

        def score() -> float:
            device.load_adapter(shared)
            return device.evaluate(found.changed.x, found.changed.y, progress=False)["accuracy"]

        scores = [score()]
        for number in range(1, ROUNDS + 1):
            replies = []
            for client, rows in enumerate(parts):
                config = ConfigRecord({"server-round": number, "proximal-mu": own.get("proximal_mu", 0.0)})
                content = RecordDict({"arrays": flower.packed(shared), "config": config})
                message = Message(content, dst_node_id=client + 1, message_type=MessageType.TRAIN)
                reply = flower.train_reply(message, device, found.adapt.x[rows], found.adapt.y[rows], epochs=EPOCHS)
                if hostile and client == 0:
                    reply.content["arrays"] = flower.packed(turned(flower.unpacked(reply.content["arrays"])))
                replies.append(reply)
            arrays, _ = strategy.aggregate_train(number, replies)
            shared = flower.unpacked(arrays)
            scores.append(score())
    return scores


def turned(adapter: kt.Adapter) -> kt.Adapter:
    """What a hostile client sends: its values with the other sign, factors and biases eight times as large."""
    values = adapter.values()
    parts: list[NDArray[Any]] = []
    for e in adapter.entries:
        value = values[e.name].astype(np.int64)
        parts.append(
            (value + 3 if e.part == "exponent" else -8 * value if e.dtype == "int32" else -value if e.part == "value" else value).astype(e.dtype)
        )
    return kt.Adapter.make(bytes.fromhex(adapter.base_hash), adapter.methods, adapter.entries, b"".join(p.tobytes() for p in parts))


def strategies(scratch: Path, done: Callable[[str, Callable[[], Any]], Any]) -> list[str]:
    """A row for each strategy: mean and range of the accuracy over the draws, without and with a hostile client."""
    build = kt.build(kt.load(DIGITS), scratch / "strategies", method=METHODS[USUAL], calibration=digits().base.x[:32], measure=False)
    rows = []
    for name, own in STRATEGIES.items():
        cells = []
        for hostile in (False, True):
            runs = [done(f"{name} {draw} {hostile}", lambda n=name, o=own, d=draw, h=hostile: fleet_of(build, n, o, d, h)) for draw in DRAWS]
            ends = [run[-1] for run in runs]
            if not hostile:
                cells.append(f"{np.mean([run[1] for run in runs]):.3f}")
            cells.append(f"{np.mean(ends):.3f} ({min(ends):.3f} to {max(ends):.3f})")
        chosen = ", ".join(f"{key} {value:g}" for key, value in own.items())
        rows.append(f"| {name}{f' ({chosen})' if chosen else ''} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return rows


def in_turn(scratch: Path, clients: int) -> dict[str, float]:
    """A round of clients that take turns on one device of this process: seconds of its processor, and megabytes that the round added to it."""
    build = kt.build(kt.load(DIGITS), scratch / f"turns-{clients}", method=METHODS[USUAL], calibration=digits().base.x[:32], measure=False)
    x, y = many(clients)
    with build.open() as device:
        like = flower.first_adapter(device)

        def replies() -> Iterator[Message]:
            for client in range(clients):
                content = RecordDict({"arrays": flower.packed(like), "config": ConfigRecord({"server-round": 1})})
                message = Message(content, dst_node_id=client + 1, message_type=MessageType.TRAIN)
                rows = slice(client * ROWS, client * ROWS + TRAINED)
                yield flower.train_reply(message, device, x[rows], y[rows])

        strategy = flower.ExactAdapters(like)
        next(replies())  # what is loaded once
        own = Path("/proc/self")
        (own / "clear_refs").write_text("5")  # what was held at most, from now on
        before, began = held(own, "VmRSS"), time.process_time()
        strategy.aggregate_train(1, replies())
        return {"seconds": time.process_time() - began, "megabytes": held(own, "VmHWM") - before}


def held(process: Path, what: str) -> float:
    """Megabytes that a process holds, VmRSS, or has held at most, VmHWM."""
    return next(int(line.split()[1]) / 1024 for line in (process / "status").read_text().splitlines() if line.startswith(what))


def many(clients: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """ROWS digits for each client, as the changed sensor sees them; those of scikit-learn over and over, each with noise of its own."""
    images, labels = load_digits(return_X_y=True)
    repeated = np.resize(images, (clients * ROWS, 64)).reshape(-1, 8, 8).astype(np.float64)
    return quantized(change_sensor(repeated)), np.resize(labels, clients * ROWS)


def scale(folder: Path, clients: int, boards: int = 0, window: int = 200) -> dict[str, float]:
    """Two rounds that Flower simulates: seconds of the second, and megabytes of the server's process at most."""
    app, (x, y) = folder / "app", many(clients)
    np.savez(folder / "samples.npz", x=x, y=y)
    made = ["federated", "new", app, "--model", DIGITS, "--data", folder / "samples.npz", "--method", "bias", "--method", "lora=all"]
    subprocess.run([BIN / "kilotune", *made], check=True, stdout=subprocess.DEVNULL)
    for where in ("host", *([BOARD] if boards else [])):
        kt.open_build(app / "model").open(where).close()
    shared, times = app / "shared.kta", [0.0]

    def came(number: int) -> bool:
        nonlocal peak
        peak = max(peak, server_memory(fleet.port))
        over = fleet.processes["run"].poll() is not None
        reached = shared.exists() and kt.Adapter.load(shared).sequence >= number
        assert reached or not over, fleet.log("run")
        return reached

    peak = 0.0
    options = {"num_server_rounds": 2, "local_epochs": 1, "fraction_evaluate": 0.0, "min_clients": clients, "window": window}
    with Federation(folder / "federation", app, simulated=clients) as fleet:
        fleet.run("run", **options, round_timeout=3600, simulated_boards=boards)
        for number in (1, 2):
            until(lambda n=number: came(n), f"round {number} of {clients} clients", 3600)
            times.append(time.monotonic())
        log = fleet.finished("run", 600)
    size = int(log.rsplit(" adapters taken", 1)[0].rsplit(" ", 1)[1])
    return {"seconds": times[2] - times[1], "megabytes": peak, "taken": size}


def server_memory(port: int) -> float:
    """Megabytes that the process of the simulated server, which was started for this port, has held at most."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"flwr-simulation" in command and str(port).encode() in command:
                return held(process, "VmHWM")
        except (OSError, StopIteration):
            continue
    return 0.0


HEAD = """`make bench-fleet` printed this page: kilotune's clients and strategies over Flower ([how to](how_to/federated.md)), on the
digits of [examples/digits](../examples/digits/README.md) through its changed sensor."""
SEVERAL = """Rows were kept as they were finished, in several runs on one computer (`--keep`); what the code had changed since was measured again."""
TRAVELS = f"""A client gets an adapter and sends one in each round: codes of 8 bits with the exponent of each tensor, biases of 32 bits, what
they belong to and a checksum. Nothing else of the model travels, and none of the samples. A round of {CLIENTS} clients takes, in bytes:"""
REACHED = f"""Accuracy on all digits of the shared adapter after one round and after {ROUNDS}, of {EPOCHS} epochs each: {CLIENTS} clients with
about 24 digits, of which each has few kinds often (a Dirichlet distribution of 0.25 for each digit); mean and range of {len(DRAWS)} ways to deal
them. With one hostile client: it trains, and sends its values with the other sign and eight times as large. Rates of servers and the proximal
term were chosen on another draw. Names are those of a configuration: the first five are kilotune's, the others Flower's on real values, rounded
to an adapter after each round."""
TURNS = f"""Every client has {ROWS} digits, trains an epoch on {TRAINED} of them with the generated C, and sends its adapter. Here they take turns
in one process, without transport: seconds of a processor for a round, and what the process held more at most than before it. The strategy adds
adapters up as they come, so that memory does not grow with the number of clients."""
GROWN = """The same simulated by Flower on Ray, on this computer's cores, whatever else they do. Clients of the host take turns on a device that each
of Ray's processes opens once. Seconds are of the second round, since the first one starts Ray. Memory is the most that the process of Flower's
server held, in which the simulation keeps all messages, too, of which at most 200 are under way."""


def page(travels: list[str], reached: list[str], turns: list[str], grown: list[str], several: bool) -> str:
    """docs/fleet.md. several: whether rows are of runs before."""
    parts = [
        ("What travels", TRAVELS, "| trained | adapter | a round, both ways | constants of the model |", travels),
        ("Strategies", REACHED, "| strategy | after 1 round | after all | after all, one client hostile |", reached),
        ("Many clients", TURNS, "| clients | seconds of a processor | memory that a round added, MB |", turns),
        (
            "Many simulated clients",
            GROWN,
            "| clients | on emulated boards | adapters taken | seconds a round | memory, MB |",
            grown,
        ),
    ]
    lines = ["# A fleet", "", wrapped(HEAD), *(["", wrapped(SEVERAL)] if several else [])]
    for title, text, head, rows in parts:
        if not rows:
            continue
        lines += ["", f"## {title}", "", wrapped(text), "", head, "|---" * (head.count("|") - 1) + "|", *rows]
    return "\n".join([*lines, ""])


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--clients", type=int, nargs="*", default=[10, 100, 1000, 10000])
    options.add_argument("--turns", type=int, nargs="*", default=[10, 100, 1000, 10000])
    options.add_argument("--boards", type=int, default=4, help="emulated boards beside ten times as many host clients")
    options.add_argument("--keep", type=Path, help="a file of what is finished")
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    finished: dict[str, Any] = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    several = bool(finished)

    def done(name: str, make: Callable[[], Any]) -> Any:
        if name not in finished:
            finished[name] = make()
            if given.keep:
                given.keep.parent.mkdir(parents=True, exist_ok=True)
                given.keep.write_text(json.dumps(finished, indent=1))
        return finished[name]

    with tempfile.TemporaryDirectory() as scratch:
        travels = traffic(Path(scratch))
        print("\n".join(travels), flush=True)
        reached, turns, grown = strategies(Path(scratch), done), list[str](), list[str]()
        for clients in given.turns:
            row = done(f"turns {clients}", lambda c=clients: in_turn(Path(scratch), c))
            turns.append(f"| {clients:,} | {row['seconds']:.1f} | {row['megabytes']:.1f} |")
            print(turns[-1], flush=True)
        kinds = [(clients, 0) for clients in given.clients] + ([(11 * given.boards, given.boards)] if given.boards else [])
        for clients, boards in kinds:
            folder = Path(scratch) / f"scale-{clients}-{boards}"
            folder.mkdir()
            row = done(f"scale {clients} {boards}", lambda f=folder, c=clients, b=boards: scale(f, c, b))
            grown.append(f"| {clients:,} | {boards} | {row['taken']:,} | {row['seconds']:.1f} | {row['megabytes']:.0f} |")
            print(grown[-1], flush=True)
    if given.write:
        given.write.write_text(page(travels, reached, turns, grown, several))


if __name__ == "__main__":
    main()
