"""What a fleet learns together without sharing data, on real data split by speaker, batch, patient and meter, by the generated C.

    make bench-fleet-learning

Biases and LoRA of rank 4 of every layer, SGD at its usual rate, 8 rounds of 2 epochs, the exact mean in integers: figures near those of
examples/federated, none of them chosen on these data. Every client has 150 samples of what the model was made for, too, the same for all, and
rehearses two of them for each of its own (`fit(rehearsal=)` as it is by default); that this is better than not was seen on other draws of patients,
and on other pictures of meters. "nothing rehearsed": federated without them. Every client is judged by samples of its own, of which none was
trained on; scores are of the predictions of all clients together, means over the draws with the lowest and the highest in brackets. "alone": each
client with an adapter that it trained for the same 16 epochs; in "alone, on all" every such adapter serves every client's samples. "central": one
LoRA trained for 16 epochs on the samples of all clients together, which a fleet does not have.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from finished import Finished
from fleets import FLEETS, Client, Fleet
from prose import wrapped
from scenarios import DATA

import kilotune as kt
from kilotune.federated import Contribution, exact_mean, product_mean

ROUNDS, EPOCHS, RANK, NEW_EPOCHS, FEW = 8, 2, 4, 4, 10
RANKS = (2, 4, 8)
"""Of clients in turn, where they differ."""
RULES = ("A and B apart", "A frozen", "product", "product, ranks 2, 4, 8")
Outcome = dict[str, Any]
"""Of one draw of a fleet: "scores" by what was done, those of the "late" client, of the "rules" of averaging, of the "rounds" of the fleet and of one
that rehearses nothing ("plain"); and "bytes" of an adapter."""


@dataclass
class Found:
    """Of a fleet, all draws."""

    fleet: Fleet
    outcomes: list[Outcome]

    def of(self, part: str, title: str) -> list[float]:
        return [float(outcome[part][title]) for outcome in self.outcomes]

    def mean(self, part: str, title: str) -> float:
        return float(np.mean(self.of(part, title)))


class Trainer:
    """One host device that is each client in turn."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder, self.devices = fleet, folder, dict[int, kt.Device]()
        self.model = kt.load(DATA / "models" / fleet.model)

    def device(self, rank: int = RANK) -> kt.Device:
        if rank not in self.devices:
            methods = [kt.BiasOnly(), kt.LoRA(rank=rank, layers="all")]
            options: dict[str, Any] = {"calibration": self.fleet.calibration, "loss": "soft_cross_entropy", "measure": False}
            self.devices[rank] = kt.build(self.model, self.folder / str(rank), method=methods, **options).open()
        return self.devices[rank]

    def base(self, rank: int = RANK) -> kt.Adapter:
        self.device(rank).reset()
        return self.device(rank).export_adapter()

    def trained(self, start: kt.Adapter, x: object, y: object, epochs: int, seed: int, rank: int = RANK, rehearse: bool = True) -> kt.Adapter:
        device = self.device(rank)
        device.reset()
        device.load_adapter(start)
        rehearsal = kt.Rehearsal(self.fleet.known) if rehearse else None
        device.fit(x, y, epochs=epochs, hold_out=0, seed=seed, progress=False, rehearsal=rehearsal)  # type: ignore[arg-type]
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


def federated(
    t: Trainer, clients: Sequence[Client], draw: int, rule: str = RULES[0], judge: bool = True, rehearse: bool = True
) -> tuple[kt.Adapter, list[float]]:
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
                adapter = t.trained(shared[rank], client.x, client.y, EPOCHS, seed, rank, rehearse)
            sent.append(Contribution(adapter, len(client.x), client.name))
        for rank in shared:
            shared[rank] = product_mean(sent, like=shared[rank]) if rule.startswith("product") else exact_mean(sent)
        if judge:
            scores.append(t.score([shared[RANK]] * len(clients), clients))
    return shared[RANK], scores


def measure(t: Trainer, fleet: Fleet, draw: int) -> Outcome:
    """One draw of a fleet."""
    clients, every, base, passes = fleet.clients, len(fleet.clients), t.base(), ROUNDS * EPOCHS
    alone = [t.trained(base, c.x, c.y, passes, draw) for c in clients]
    x, y = (np.concatenate([getattr(c, part) for c in clients]) for part in ("x", "y"))
    central = t.trained(base, x, y, passes, draw)
    scores = {
        "before": t.score([base] * every, clients),
        "alone": t.score(alone, clients),
        "alone, on all": float(np.mean([t.score([a] * every, clients) for a in alone])),
        "central": t.score([central] * every, clients),
    }
    shared, rounds = federated(t, clients, draw)
    own = [t.trained(shared, c.x, c.y, EPOCHS, draw) for c in clients]
    plain = {rule: federated(t, clients, draw, rule, rehearse=False)[1] for rule in RULES}
    scores |= {"federated": rounds[-1], "nothing rehearsed": plain[RULES[0]][-1], "federated, then own": t.score(own, clients)}
    rules = {rule: found[-1] for rule, found in plain.items()}
    return {
        "scores": scores, "rules": rules, "rounds": rounds, "plain": plain[RULES[0]], "late": late(t, fleet, draw), "bytes": len(base)
    }  # fmt: skip


def late(t: Trainer, fleet: Fleet, draw: int) -> dict[str, float]:
    """A client joins when the others have learned: as it starts, and after it has trained on a few samples."""
    new = fleet.clients[fleet.late]
    shared, _ = federated(t, [c for c in fleet.clients if c is not new], draw, judge=False)
    rows, found = np.random.default_rng(draw).permutation(len(new.x))[:FEW], dict[str, float]()
    for title, start in (("base", t.base()), ("federated", shared)):
        found[title] = t.score([start], [new])
        found[f"{title}, trained"] = t.score([t.trained(start, new.x[rows], new.y[rows], NEW_EPOCHS, draw)], [new])
    return found


def cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def table(found: Sequence[Found], part: str, titles: Sequence[str]) -> str:
    rows = [f"| fleet | draws | {' | '.join(titles)} |", "|---|---:|" + "---|" * len(titles)]
    rows += [f"| {f.fleet.title} | {len(f.outcomes)} | {' | '.join(cell(f.of(part, title)) for title in titles)} |" for f in found]
    return "\n".join(rows)


def losses(f: Found) -> Iterator[str]:
    """What did not work with a fleet, by the figures."""
    before, alone, central, shared = (f.mean("scores", k) for k in ("before", "alone", "central", "federated"))
    if shared < alone:
        yield f"an adapter of each client's own ({alone:.3f}) serves the clients better than the shared one ({shared:.3f})"
    if shared < before:
        yield f"the shared adapter ({shared:.3f}) is worse than none ({before:.3f})"
    if shared < (plain := f.mean("scores", "nothing rehearsed")):
        yield f"rehearsing costs: without it the shared adapter is at {plain:.3f}, with it at {shared:.3f}"
    if central < before:
        yield f"even one training on the samples of all ({central:.3f}) is worse than none ({before:.3f})"
    if shared < central - 0.01:
        yield f"the shared adapter is {central - shared:.3f} below one training on the samples of all"
    began, joined = f.mean("late", "base"), f.mean("late", "federated")
    if joined <= began:
        yield f"the late client starts at {joined:.3f} with the shared adapter and at {began:.3f} without: it does not gain"
    trained = f.mean("late", "base, trained"), f.mean("late", "federated, trained")
    if trained[1] <= trained[0]:
        yield f"once it has trained, the late client is at {trained[1]:.3f} from the shared adapter and at {trained[0]:.3f} from the base"
    for rule in RULES[1:]:
        if f.mean("rules", rule) < f.mean("rules", RULES[0]) - 0.05:
            yield f'averaging by "{rule}" ends at {f.mean("rules", rule):.3f}, A and B apart at {f.mean("rules", RULES[0]):.3f}'


def picture(found: Sequence[Found]) -> str:
    """Score by round, a panel a fleet, a line a draw; before and central as levels of their means."""
    width, height, gap, parts = 300, 180, 60, list[str]()
    for number, f in enumerate(found):
        left, top = 50 + (number % 2) * (width + gap), 30 + (number // 2) * (height + gap)
        parts.append(f'<text x="{left}" y="{top - 8}" font-size="13">{f.fleet.title}, {f.fleet.metric}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
        parts += [f'<text x="{left - 6}" y="{top + height * (1 - y) + 4}" font-size="11" text-anchor="end">{y}</text>' for y in (0, 0.5, 1)]
        for n in range(ROUNDS + 1):
            parts.append(f'<text x="{left + width * n / ROUNDS}" y="{top + height + 14}" font-size="11" text-anchor="middle">{n}</text>')
        for title, dash in (("before", "2 4"), ("central", "8 4")):
            y = top + height * (1 - f.mean("scores", title))
            parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#555" stroke-dasharray="{dash}"/>')
        for outcome, (part, colour) in product(f.outcomes, (("plain", "#e90"), ("rounds", "#06c"))):
            points = " ".join(f"{left + width * n / ROUNDS:.1f},{top + height * (1 - s):.1f}" for n, s in enumerate(outcome[part]))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    rows = (len(found) + 1) // 2
    said = "by round, a line a draw; orange: nothing rehearsed; dots: the model before; dashes: one training on the samples of all"
    parts.append(f'<text x="50" y="{rows * (height + gap) + 30}" font-size="12">{said}</text>')
    size = f'width="{2 * (width + gap) + 20}" height="{rows * (height + gap) + 45}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{"".join(parts)}</svg>\n'


@click.command()
@click.option("--draws", default=3, show_default=True)
@click.option("--finished", type=click.Path(path_type=Path), help="A file that keeps finished draws: stopped, it goes on where it was.")
@click.option("--stop", is_flag=True, help="Make no further draw: the page of those that are finished.")
@click.option("--page", type=click.Path(path_type=Path))
def main(draws: int, finished: Path | None, stop: bool, page: Path | None) -> None:
    """Measure, and write the page."""
    made, trainers = Finished(finished), dict[str, Trainer]()
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in () if stop else made.missing(tuple(FLEETS), draws):
            fleet = FLEETS[name](draw)
            trainer = trainers.setdefault(name, Trainer(fleet, Path(folder) / name))
            trainer.fleet = fleet
            made.keep((name, draw), measure(trainer, fleet, draw))
            print(name, draw, made.draws[name, draw], flush=True)
    known = {name: [o for (n, _), o in sorted(made.draws.items()) if n == name] for name in FLEETS}
    found = [Found(FLEETS[name](0), outcomes) for name, outcomes in known.items() if outcomes]
    sizes = "; ".join(f"{f.fleet.title} {len(f.fleet.clients)} clients, {f.outcomes[0]['bytes']:,} bytes" for f in found)
    splits = "\n".join(wrapped(FLEETS[name].__doc__ or "", "- ") for name, outcomes in known.items() if outcomes)
    failed = "\n".join(wrapped(f"{f.fleet.title}: {line}.", "- ") for f in found for line in losses(f))
    text = "\n\n".join([
        "# What a fleet learns together",
        wrapped(f"Printed by `make bench-fleet-learning` on {datetime.date.today()}. How it is done: [many devices](how_to/federated.md)."),
        wrapped((__doc__ or "").split("make bench-fleet-learning")[1]),
        splits,
        table(found, "scores", ("before", "alone, on all", "federated", "nothing rehearsed", "central", "alone", "federated, then own")),
        wrapped(f"A client sends and takes an adapter a round: {sizes}."),
        "![score by round](fleet_learning.svg)",
        "## What of LoRA is averaged",
        wrapped("A and B apart: `exact_mean` of each factor. A frozen: A stays as it was made, and clients train B alone, whose mean is exact. "
                "Product: `product_mean`, the mean of the products B A, taken apart again; in the last column clients have other ranks. Nothing is "
                "rehearsed here."),
        table(found, "rules", RULES),
        "## A client that joins late",
        wrapped(f"The others have learned for {ROUNDS} rounds without it. As it starts, and after {NEW_EPOCHS} epochs on {FEW} samples of its own."),
        table(found, "late", ("base", "federated", "base, trained", "federated, trained")),
        "## What did not work",
        failed or "Nothing that these tables show.",
    ])  # fmt: skip
    print(text)
    if page:
        page.write_text(text + "\n", encoding="utf-8")
        page.with_suffix(".svg").write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main()
