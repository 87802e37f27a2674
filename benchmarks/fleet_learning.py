"""What a fleet learns together without sharing data, on real data split by speaker, batch, patient and meter, by the generated C.

    make bench-fleet-learning

Biases and LoRA of rank 4 of every layer, SGD at its usual rate, 8 rounds of 2 epochs, the exact mean in integers: figures near those of
examples/federated, none of them chosen on these data. Every client is judged by samples of its own; scores are of the predictions of all clients
together, means over the draws with the lowest and the highest in brackets. "alone": each client with an adapter that it trained for the same 16
epochs; in "alone, on all" every such adapter serves every client's samples. "central": one LoRA trained for 16 epochs on the samples of all clients
together, which a fleet does not have.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from fleets import FLEETS, Client, Fleet
from prose import wrapped
from scenarios import DATA

import kilotune as kt
from kilotune.federated import Contribution, exact_mean, product_mean

ROUNDS, EPOCHS, RANK, NEW_EPOCHS, FEW = 8, 2, 4, 4, 10
RANKS = (2, 4, 8)
"""Of clients in turn, where they differ."""
RULES = ("A and B apart", "A frozen", "product", "product, ranks 2, 4, 8")
Aggregate = Callable[[list[kt.Adapter], list[int]], kt.Adapter]
Scores = dict[str, list[float]]


@dataclass
class Found:
    """Of a fleet: scores by what was done, each draw's; and by rule of averaging, after each round."""

    title: str
    metric: str
    clients: int = 0
    adapter_bytes: int = 0
    scores: Scores = field(default_factory=dict)
    late: Scores = field(default_factory=dict)
    rules: Scores = field(default_factory=dict)
    rounds: list[list[float]] = field(default_factory=list)


class Trainer:
    """One host device that is each client in turn."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder, self.devices = fleet, folder, dict[int, kt.Device]()
        self.model = kt.load(DATA / "models" / fleet.model)

    def device(self, rank: int = RANK) -> kt.Device:
        if rank not in self.devices:
            methods = [kt.BiasOnly(), kt.LoRA(rank=rank, layers="all")]
            build = kt.build(self.model, self.folder / str(rank), method=methods, calibration=self.fleet.calibration, measure=False)
            self.devices[rank] = build.open()
        return self.devices[rank]

    def base(self, rank: int = RANK) -> kt.Adapter:
        self.device(rank).reset()
        return self.device(rank).export_adapter()

    def trained(self, start: kt.Adapter, x: object, y: object, epochs: int, seed: int, rank: int = RANK) -> kt.Adapter:
        device = self.device(rank)
        device.reset()
        device.load_adapter(start)
        device.fit(x, y, epochs=epochs, hold_out=0, seed=seed, progress=False)  # type: ignore[arg-type]
        return device.export_adapter()

    def frozen(self, start: kt.Adapter, client: Client, epochs: int, seed: int) -> kt.Adapter:
        """Trained with A as it is at the start: it is put back after every update. The rate falls as that of `fit`."""
        device = self.device()
        device.reset()
        device.load_adapter(start)
        held = device.state()
        places = _places(device, "_lora_a")
        rate, order, done = device.manifest.learning_rate or 0.0, np.random.Generator(np.random.PCG64(seed)), 0
        for _ in range(epochs):
            for row in order.permutation(len(client.x)):
                device.set_learning_rate(rate * (1 - done / (epochs * len(client.x))))
                device.train_step(client.x[row], client.y[row])
                state = bytearray(device.state())
                for at, size in places:
                    state[at : at + size] = held[at : at + size]
                device.set_state(bytes(state))
                done += 1
        return device.export_adapter()

    def predictions(self, adapter: kt.Adapter, client: Client) -> np.ndarray:
        device = self.device()
        device.load_adapter(adapter)
        return np.asarray(device.predict(client.judged, progress=False))

    def score(self, adapters: Sequence[kt.Adapter], clients: Sequence[Client]) -> float:
        """Of all clients together, each with its adapter."""
        predicted = np.concatenate([self.predictions(a, c) for a, c in zip(adapters, clients, strict=True)])
        return self.fleet.score(predicted, np.concatenate([c.judged_labels for c in clients]))


def _places(device: kt.Device, part: str) -> list[tuple[int, int]]:
    """(byte, bytes) of the members of the state whose names hold `part`, from the header of the build."""
    sizes, at, found = {"float": 4, "int32_t": 4, "uint32_t": 4, "int16_t": 2, "int8_t": 1, "uint8_t": 1}, 0, []
    text = (device.manifest.directory / f"{device.manifest.name}.h").read_text(encoding="utf-8")
    for line in text.split("typedef struct {")[1].split("}")[0].strip().splitlines():
        kind, member = line.split(";")[0].split()
        name, _, count = member.partition("[")
        size = sizes[kind] * int(count.rstrip("]") or 1)
        found += [(at, size)] * (part in name)
        at += size
    return found


def federated(t: Trainer, clients: Sequence[Client], draw: int, rule: str, judge: bool = True) -> tuple[kt.Adapter, list[float]]:
    """The shared adapter after all rounds, and its score after each."""
    mixed = rule.endswith("8")
    ranks = [RANKS[i % len(RANKS)] if mixed else RANK for i in range(len(clients))]
    shared = {rank: t.base(rank) for rank in {RANK, *ranks}}
    scores = [t.score([shared[RANK]] * len(clients), clients)] if judge else []
    for number in range(ROUNDS):
        sent = []
        for i, (client, rank) in enumerate(zip(clients, ranks, strict=True)):
            seed = 1000 * draw + 10 * number + i
            if rule == "A frozen":
                adapter = t.frozen(shared[rank], client, EPOCHS, seed)
            else:
                adapter = t.trained(shared[rank], client.x, client.y, EPOCHS, seed, rank)
            sent.append(Contribution(adapter, len(client.x), client.name))
        for rank in shared:
            shared[rank] = product_mean(sent, like=shared[rank]) if rule.startswith("product") else exact_mean(sent)
        if judge:
            scores.append(t.score([shared[RANK]] * len(clients), clients))
    return shared[RANK], scores


def measure(name: str, draws: Sequence[int]) -> Found:
    """All of one fleet."""
    first = FLEETS[name](draws[0])
    found = Found(first.title, first.metric, len(first.clients))
    with tempfile.TemporaryDirectory() as folder:
        t = Trainer(first, Path(folder))
        for draw in draws:
            fleet = FLEETS[name](draw)
            clients, every = fleet.clients, len(fleet.clients)
            base = t.base()
            found.adapter_bytes = len(base)
            passes = ROUNDS * EPOCHS
            alone = [t.trained(base, c.x, c.y, passes, draw) for c in clients]
            x, y = (np.concatenate([getattr(c, part) for c in clients]) for part in ("x", "y"))
            central = t.trained(base, x, y, passes, draw)
            add(found.scores, "before", t.score([base] * every, clients))
            add(found.scores, "alone", t.score(alone, clients))
            add(found.scores, "alone, on all", float(np.mean([t.score([a] * every, clients) for a in alone])))
            add(found.scores, "central", t.score([central] * every, clients))
            for rule in RULES:
                shared, rounds = federated(t, clients, draw, rule)
                add(found.rules, rule, rounds[-1])
                if rule == RULES[0]:
                    found.rounds.append(rounds)
                    add(found.scores, "federated", rounds[-1])
                    own = [t.trained(shared, c.x, c.y, EPOCHS, draw) for c in clients]
                    add(found.scores, "federated, then own", t.score(own, clients))
            late(t, fleet, draw, found)
            print(name, draw, {k: round(v[-1], 3) for k, v in (found.scores | found.rules | found.late).items()}, flush=True)
    return found


def late(t: Trainer, fleet: Fleet, draw: int, found: Found) -> None:
    """A client joins when the others have learned: as it starts, and after it has trained on a few samples."""
    new = fleet.clients[fleet.late]
    shared, _ = federated(t, [c for c in fleet.clients if c is not new], draw, RULES[0], judge=False)
    rows = np.random.default_rng(draw).permutation(len(new.x))[:FEW]
    for title, start in (("base", t.base()), ("federated", shared)):
        add(found.late, title, t.score([start], [new]))
        add(found.late, f"{title}, trained", t.score([t.trained(start, new.x[rows], new.y[rows], NEW_EPOCHS, draw)], [new]))


def add(scores: Scores, title: str, value: float) -> None:
    scores.setdefault(title, []).append(value)


def cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def table(found: dict[str, Found], titles: Sequence[str], of: Callable[[Found], Scores]) -> str:
    rows = [f"| fleet | {' | '.join(titles)} |", "|---|" + "---|" * len(titles)]
    rows += [f"| {f.title} | {' | '.join(cell(of(f)[title]) for title in titles)} |" for f in found.values()]
    return "\n".join(rows)


def losses(found: dict[str, Found]) -> list[str]:
    """What did not work, by the figures."""
    said = []
    for f in found.values():
        means = {k: float(np.mean(v)) for k, v in f.scores.items()}
        if means["federated"] < means["alone"]:
            better = f"an adapter of each client's own ({means['alone']:.3f}) serves them better than the shared one ({means['federated']:.3f})"
            said.append(f"{f.title}: {better}.")
        if means["federated"] < means["before"]:
            said.append(f"{f.title}: the shared adapter ({means['federated']:.3f}) is worse than none ({means['before']:.3f}).")
        if means["federated"] < means["central"] - 0.01:
            said.append(f"{f.title}: {means['central'] - means['federated']:.3f} below one training on all samples.")
        began, joined = (float(np.mean(f.late[k])) for k in ("base", "federated"))
        if joined <= began:
            said.append(f"{f.title}: the late client starts at {joined:.3f} with the shared adapter and at {began:.3f} without: it does not gain.")
        best = max(f.rules, key=lambda rule: float(np.mean(f.rules[rule])))
        if best != RULES[0]:
            said.append(f'{f.title}: averaging by "{best}" is {np.mean(f.rules[best]) - np.mean(f.rules[RULES[0]]):.3f} better than A and B apart.')
    return said


def picture(found: dict[str, Found]) -> str:
    """Score by round, a panel a fleet, a line a draw; before and central as levels of their means."""
    width, height, gap, parts = 300, 180, 60, list[str]()
    for number, f in enumerate(found.values()):
        left, top = 50 + (number % 2) * (width + gap), 30 + (number // 2) * (height + gap)
        parts.append(f'<text x="{left}" y="{top - 8}" font-size="13">{f.title}, {f.metric}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
        parts += [f'<text x="{left - 6}" y="{top + height * (1 - y) + 4}" font-size="11" text-anchor="end">{y}</text>' for y in (0, 0.5, 1)]
        parts += [
            f'<text x="{left + width * n / ROUNDS}" y="{top + height + 14}" font-size="11" text-anchor="middle">{n}</text>' for n in range(ROUNDS + 1)
        ]
        for title, dash in (("before", "2 4"), ("central", "8 4")):
            y = top + height * (1 - float(np.mean(f.scores[title])))
            parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#555" stroke-dasharray="{dash}"/>')
        for scores in f.rounds:
            points = " ".join(f"{left + width * n / ROUNDS:.1f},{top + height * (1 - s):.1f}" for n, s in enumerate(scores))
            parts.append(f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>')
    rows = (len(found) + 1) // 2
    said = "by round, a line a draw; dots: the model before; dashes: one training on the samples of all"
    parts.append(f'<text x="50" y="{rows * (height + gap) + 30}" font-size="12">{said}</text>')
    size = f'width="{2 * (width + gap) + 20}" height="{rows * (height + gap) + 45}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{"".join(parts)}</svg>\n'


@click.command()
@click.option("--fleet", "names", multiple=True, type=click.Choice(list(FLEETS)), help="Which; all without it.")
@click.option("--draws", default="0,1,2")
@click.option("--page", type=click.Path(path_type=Path))
def main(names: tuple[str, ...], draws: str, page: Path | None) -> None:
    """Measure, and write the page."""
    found = {name: measure(name, [int(d) for d in draws.split(",")]) for name in names or FLEETS}
    sizes = "; ".join(f"{f.title} {f.clients} clients, {f.adapter_bytes:,} bytes" for f in found.values())
    splits = "\n".join(wrapped(FLEETS[name].__doc__ or "", "- ") for name in found)
    text = "\n\n".join([
        "# What a fleet learns together",
        wrapped(f"Printed by `make bench-fleet-learning` on {datetime.date.today()}. How it is done: [many devices](how_to/federated.md)."),
        wrapped((__doc__ or "").split("make bench-fleet-learning")[1]),
        splits,
        table(found, ("before", "alone, on all", "federated", "central", "alone", "federated, then own"), lambda f: f.scores),
        wrapped(f"A client sends and takes an adapter a round: {sizes}."),
        "![score by round](fleet_learning.svg)",
        "## What of LoRA is averaged",
        wrapped("A and B apart: `exact_mean` of each factor. A frozen: A stays as it was made, and clients train B alone, whose mean is exact. "
                "Product: `product_mean`, the mean of the products B A, taken apart again; in the last column clients have other ranks."),
        table(found, RULES, lambda f: f.rules),
        "## A client that joins late",
        wrapped(f"The others have learned for {ROUNDS} rounds without it. As it starts, and after {NEW_EPOCHS} epochs on {FEW} samples of its own."),
        table(found, ("base", "federated", "base, trained", "federated, trained"), lambda f: f.late),
        "## What did not work",
        "\n".join(wrapped(line, "- ") for line in losses(found)) or "Nothing that these tables show.",
    ])  # fmt: skip
    print(text)
    if page:
        page.write_text(text + "\n", encoding="utf-8")
        page.with_suffix(".svg").write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main()
