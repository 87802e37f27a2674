"""Builds at random, to find faults: models, methods, losses, optimizers, cores, budgets and options that nobody chose together.

Each draw is compiled and trained for some steps in the interpreter, on the host with portable C and with the kernels for vectors; a share of them
as the agent under sanitizers, and another on an emulated board, there sometimes with the header of another build of its core. Losses, state
and outputs have to be the same bits. Equal bits, or a CompileError with place, cause and remedy, are right; all else is a fault: another exception, a
warning of the compiler, memory written outside of the arena, a process that ends or takes minutes. A fault is printed with the number that
draws it again: make random-builds SEED=<number> MINUTES=0.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import random_models
import random_networks
from numpy.typing import NDArray

import kilotune as kt
from kiloc import LOSSES, Compilation, Loss, Options, as_loss, compile_graph
from kiloc.emit import state_layout
from kiloc.errors import BudgetError, CompileError
from kiloc.ir import Graph, interp
from kiloc.optim import Optimizer
from kiloc.peft import Method, has_weights
from kilotune import _version, boards
from kilotune.building import write_build
from kilotune.toolchain import firmware

BOARDS = {
    "cortex-m0plus": "microbit-1m",
    "cortex-m3": "mps2-an385",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
    "cortex-m23": "mps2-an505-m23",
    "cortex-m33": "mps2-an505",
    "cortex-m55": "mps3-an547",
    "rv32imc": "riscv32-virt",
}
LONGEST = 120
"""Seconds of a processor after which a draw counts as one that hangs; of the clock, `PATIENCE` times as many."""
PATIENCE = 5
ON_BOARDS, SANITIZED = 0.3, 0.2
"""Shares of the draws."""


@dataclass
class Draw:
    """What is built, and how. tight: how far the memory is between that of inference and what the build takes by default; None for no budget."""

    seed: int
    kind: str
    model: kt.Model
    options: Options
    tight: float | None
    steps: int
    board: str = ""
    sanitize: bool = False
    neighbour: str = ""
    """On the board: what another build of the core, whose runtime this one shares, has in its kt/target.h."""
    inputs: tuple[NDArray[Any], ...] = ()
    targets: NDArray[Any] | None = None
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        o = self.options
        usual = Options()
        names = (
            "storage accumulate slice_instructions moments buffers offload moments_in_ram backward_weights constant_channels speed size"
            " train by_position attention_window profile ram"
        )
        other = [f"{name}={getattr(o, name)!r}" for name in names.split() if getattr(o, name) != getattr(usual, name)]
        options = [f"loss {as_loss(o.loss).describe()}", *other]
        parts = [self.kind, f"on {o.target}", o.describe(), *options, *([f"tight={self.tight:.2f}"] if self.tight is not None else [])]
        return f"seed {self.seed}: " + ", ".join([*parts, *self.notes])


# ---- Drawing ----


def drawn(seed: int, files: Sequence[Path]) -> Draw:
    rng = np.random.default_rng([77, seed])
    kind, model = random_models.drawn(rng, files)
    loss = _loss(model.graph, rng)
    methods = _methods(model.graph, rng)
    target = str(rng.choice(list(BOARDS)))
    steps = 2 if random_models.total_macs(model.graph) > 1_000_000 else 5
    inputs = random_models.samples(model, rng, max(steps, 4))
    options = Options(
        methods=tuple(methods), optimizer=_optimizer(rng), loss=loss, target=target, accumulate=int(rng.choice((1, 1, 1, 2, 3))),
        calibration=inputs, seed=int(rng.integers(5)), **_others(rng),
    )  # fmt: skip
    if not methods:
        options = replace(options, train=True, replay=None, offload="none", slice_instructions=None, moments=False, moments_in_ram=0)
    draw = Draw(seed, kind, model, options, float(rng.random()) if rng.random() < 0.4 else None, steps, inputs=inputs)
    draw.board = BOARDS[target] if rng.random() < ON_BOARDS else ""
    draw.sanitize = bool(rng.random() < SANITIZED)
    draw.neighbour = str(rng.choice(("", "KT_RANK_FOUR")))
    return draw


def _others(rng: np.random.Generator) -> dict[str, Any]:
    """Options beside methods and optimizer: each is what it is by default in most draws."""
    rare: dict[str, tuple[float, tuple[Any, ...]]] = {
        "storage": (0.15, ("block8",)),
        "slice_instructions": (0.08, (300, 20_000)),
        "buffers": (0.15, ("arena",)),
        "offload": (0.2, ("optimizer", "activations", "all")),
        "backward_weights": (0.25, ("transposed", "shared")),
        "constant_channels": (0.1, ("frozen",)),
        "speed": (0.15, (True,)),
        "size": (0.12, (True,)),
        "moments": (0.08, (True,)),
        "replay": (0.08, (kt.Replay(3), kt.Replay(4, bits=4), kt.Replay(3, keep="input"), kt.Replay(4, policy="class_balanced", memory="slow"))),
        "attention_window": (0.05, (3,)),
    }
    found = {}
    for name, (share, values) in rare.items():
        at = int(rng.integers(len(values)))
        if rng.random() < share:
            found[name] = values[at]
    return found


def _loss(graph: Graph, rng: np.random.Generator) -> Loss:
    name = str(rng.choice(("cross_entropy",) * 5 + tuple(LOSSES)))
    if graph.name == "words" and len(graph.type(graph.outputs[0]).shape) == 3:
        name = "next_token"
    if name == "cross_entropy" and rng.random() < 0.2:
        return kt.CrossEntropy(label_smoothing=0.1)
    return as_loss(name)


def _optimizer(rng: np.random.Generator) -> Optimizer:
    bits = int(rng.choice((8, 32)))
    made: tuple[Optimizer, ...] = (
        kt.SGD(), kt.SGD(), kt.SGD(lr=0.3), kt.SGD(momentum=0.9, state_bits=bits), kt.SGD(momentum=0.5, nesterov=True, weight_decay=0.01),
        kt.Adam(state_bits=bits), kt.Lion(state_bits=bits), kt.SGD(schedule=kt.CosineDecay(10)),
    )  # fmt: skip
    return made[int(rng.integers(len(made)))]


def _methods(graph: Graph, rng: np.random.Generator) -> list[Method]:
    """None, one on some layers, or several beside each other."""
    layers = [n.name for n in graph.nodes if has_weights(n)]
    if not layers or rng.random() < 0.05:
        return []
    some: Any = tuple(n for n in layers if rng.random() < 0.5) or "all"
    where: Any = ("all", "last:1", "last:2", some, some)[int(rng.integers(5))]
    rank, width = int(rng.choice((1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 12, 16))), int(rng.choice((1, 3, 4, 8, 13)))
    ways: tuple[list[Method], ...] = (
        [kt.BiasOnly(layers=where)], [kt.LoRA(rank=rank, layers=where)], [kt.LoRA(rank=rank, layers=where)], [kt.ScaleShift(layers=where)],
        [kt.Full(layers=where)], [kt.SparseUpdate(layers=where, fraction=float(rng.choice((0.1, 0.25, 0.7))))],
        [kt.BottleneckAdapter(width=width, layers=where)], [kt.Head()], [kt.Head(classes=int(rng.integers(2, 9)))],
        [kt.Head(extra_classes=int(rng.integers(1, 4)))], [kt.BiasOnly(), kt.LoRA(rank=rank, layers=where)],
        [kt.ScaleShift(layers=where), kt.Full(layers=where)], [kt.LoRA(rank=rank, layers=where), kt.ScaleShift()],
        [kt.BiasOnly(), kt.BottleneckAdapter(width=width, layers=where)],
    )  # fmt: skip
    if rng.random() < 0.2:
        return random_networks.trained(graph, 3 + int(rng.integers(40)))[0]
    return ways[int(rng.integers(len(ways)))]


# ---- Building and comparing ----


class Fault(Exception):
    """What is neither equal nor refused."""


def checked(draw: Draw, folder: Path) -> str:
    """What became of a draw: "equal", or what refused it. Raises Fault, or whatever else went wrong."""
    try:
        compiled = _compiled(draw)
    except CompileError as error:
        if not (error.where and error.what and error.hint):
            raise Fault(f"an error without place, cause or remedy: {error}") from error
        return f"refused: {error}"
    draw.targets = _targets(draw, compiled)
    model = draw.model if draw.model.path.exists() else kt.Model(folder / draw.model.path, draw.model.graph)
    if model is not draw.model:
        model.path.write_bytes(b"")  # a build keeps the hash of its file
    build = write_build(model, compiled, folder / "build", measure=False)
    expected = _interpreted(draw, compiled)
    for name, kernels in (("host, portable", "portable"), ("host, vectors", "vector")):
        with build.open("host", kernels=kernels) as device:
            expected = _same(name, expected, _run(draw, compiled, device))
    if draw.sanitize:
        with build.open("agent:host", sanitize=True, timeout=20.0) as device:
            _same("agent under sanitizers", expected, _run(draw, compiled, device))
    if draw.board:
        _on_board(draw, compiled, build, expected)
    return "equal"


def _compiled(draw: Draw) -> Compilation:
    """Within the drawn budget: between what inference takes alone and what the build takes without one. One that is said to be possible must be."""
    found = compile_graph(draw.model.graph, draw.options, _version.__version__)
    if draw.tight is None or found.train is None:
        return found
    state = found.context.state_bytes
    least, usual = found.infer.plan.arena_bytes + state, found.train.plan.arena_bytes + state
    draw.options = replace(draw.options, ram=int(least + (usual - least) * draw.tight))
    try:
        return compile_graph(draw.model.graph, draw.options, _version.__version__)
    except BudgetError as error:
        promised = re.search(r"needs? at least ([\d,]+) bytes", error.what)
        if promised and error.hint:
            draw.options = replace(draw.options, ram=int(promised[1].replace(",", "")))
            draw.notes.append("the least that the refusal names")
            try:
                return compile_graph(draw.model.graph, draw.options, _version.__version__)
            except BudgetError as again:
                raise Fault(f"what a refusal names as enough is not: {again}") from again
        raise


def _targets(draw: Draw, compiled: Compilation) -> NDArray[Any] | None:
    loss, first = as_loss(draw.options.loss), compiled.graph.outputs[0]
    head = compiled.infer.graph.outputs[0]
    kind = compiled.graph.type(first if first in compiled.graph.values else head)
    found = None if compiled.train is None else loss.targets(kind, None, draw.steps)
    closed = sum(getattr(m, "extra_classes", None) or 0 for m in draw.options.methods)
    return found % (kind.size - closed) if closed and found is not None and found.dtype.kind == "i" else found


Outcome = dict[str, Any]


def _interpreted(draw: Draw, compiled: Compilation) -> Outcome:
    """Outputs before, losses, state and outputs after in NumPy; "state" only where the whole of it is known here."""
    graph, rows = draw.model.graph, slice(0, draw.steps)
    before = interp.infer(graph, *(x[rows] for x in draw.inputs)) if not _changes_results(draw) else None
    found: Outcome = {} if before is None else {"before": [y.ravel() for y in before]}
    if compiled.train is None or draw.options.replay:
        return found
    state, losses = interp.initial_state(compiled.graph), []
    target = [n for n in compiled.train.graph.inputs if n not in graph.inputs]
    for i in range(draw.steps):
        feeds = {n: x[i : i + 1] for n, x in zip(graph.inputs, draw.inputs, strict=True)}
        if target and draw.targets is not None:
            feeds[target[0]] = draw.targets[i : i + 1]
        losses.append(float(interp.train_step(compiled.train.graph, feeds, state)["loss.value"][0]))
        if (i + 1) % draw.options.accumulate == 0:
            interp.apply(compiled.graph, state)
    header = int(compiled.context.layout).to_bytes(4, "little") + bytes(compiled.context.base_hash)
    members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(compiled.graph).values)
    found |= {"losses": losses, "state": (header + members).ljust(compiled.context.state_bytes, b"\0")}
    after = interp.infer(compiled.infer.graph, *(x[rows] for x in draw.inputs), state={k: v.copy() for k, v in state.items()})
    return found | {"after": [y.ravel() for y in after]}


def _changes_results(draw: Draw) -> bool:
    """Whether a build gives other results than the model before it is trained: of another head, or of attention that sees less."""
    other_head = any(getattr(m, "classes", None) or getattr(m, "extra_classes", None) for m in draw.options.methods)
    return other_head or draw.options.attention_window is not None


def _run(draw: Draw, compiled: Compilation, device: kt.Device) -> Outcome:
    inputs = [x[: draw.steps] for x in draw.inputs]

    def results() -> list[NDArray[Any]]:
        y = device.infer(inputs if len(inputs) > 1 else inputs[0])
        return [np.asarray(part).ravel() for part in (y if isinstance(y, list) else [y])]

    found: Outcome = {"before": results()}
    if compiled.train is None:
        return found
    device.reset()
    losses = []
    for i in range(draw.steps):
        x = [part[i] for part in inputs] if len(inputs) > 1 else inputs[0][i]
        y = None if draw.targets is None else draw.targets[i]
        if draw.options.slice_instructions and i == 0:
            losses.append(_in_slices(device, x, y))
        else:
            losses.append(device.train_step(x, y))
        if draw.options.replay:
            device.remember(np.asarray(x)[None] if len(inputs) == 1 else [p[None] for p in x], None if y is None else np.asarray(y)[None])
            device.replay_step()
        if (i + 1) % draw.options.accumulate == 0:
            device.apply()
    return found | {"losses": losses, "state": device.state(), "after": results()}


def _in_slices(device: kt.Device, x: Any, y: Any) -> float:
    while True:
        loss = device.train_slice(x, y)
        if loss is not None:
            return loss


def _same(name: str, expected: Outcome, found: Outcome) -> Outcome:
    """What both know must be equal; what is known of either goes on."""
    for key in expected.keys() & found.keys():
        a, b = expected[key], found[key]
        equal = len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True)) if key in ("before", "after") else a == b
        if not equal and not (key == "losses" and np.array_equal(a, b, equal_nan=True)):
            raise Fault(f"{name}: {key} differs{_where(a, b)}")
    return found | expected


def _where(a: Any, b: Any) -> str:
    if isinstance(a, bytes):
        at = [i for i, (p, q) in enumerate(zip(a, b, strict=False)) if p != q]
        return f" in {len(at)} of {len(a)} bytes, from byte {at[0] if at else len(b)} on"
    return f": {a} and {b}" if all(isinstance(v, float) for v in a) else ""


def _on_board(draw: Draw, compiled: Compilation, build: kt.Build, expected: Outcome) -> None:
    header = build.directory / "runtime" / "include" / "kt" / "target.h"
    text = header.read_text()
    shared = draw.neighbour if draw.neighbour not in text and not draw.options.size else ""
    if shared:
        header.write_text(text.replace("\n#endif", f"\n#define {shared}\n#endif"))
    try:
        firmware(build.directory, boards.load(draw.board))
    except kt.DeviceError as error:
        if "does not fit" in str(error) or "has no slow memory" in str(error):
            return
        raise
    with build.open(f"qemu:{draw.board}", timeout=60.0) as device:
        _same(f"{draw.board}{f' with {shared} of another build' if shared else ''}", expected, _run(draw, compiled, device))


# ---- One draw a process ----


def _child(seed: int, files: Sequence[Path], answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST + 5))
    text = f"seed {seed}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            draw = drawn(seed, files)
            text = str(draw)
            answer.send(("drawn", text))
            answer.send((checked(draw, Path(folder)), str(draw)))
        except BaseException:
            answer.send((f"FAULT\n{traceback.format_exc()}", text))


def outcome(seed: int, files: Sequence[Path]) -> tuple[str, str]:
    """What became of a draw, and what it was; in a process of its own, so that none ends or stops the others."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(seed, files, there))
    process.start()
    there.close()
    until, last = time.monotonic() + LONGEST * PATIENCE, ("drawn", f"seed {seed}")
    try:
        while last[0] == "drawn" and here.poll(max(until - time.monotonic(), 0)):
            last = here.recv()
    except EOFError:
        pass
    if last[0] == "drawn":
        process.join(1)
        ended = process.exitcode is not None
        process.kill()
        process.join()
        return f"FAULT: {f'the process ended with {process.exitcode}' if ended else 'it takes minutes'}", last[1]
    process.join()
    return last


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="of the clock; 0: one draw")
    parser.add_argument("--seed", type=int, help="number of the first draw; by default the time")
    parser.add_argument("--only", help="kinds of models, as 'chain,mixture'", default="")
    given = parser.parse_args()
    data = os.environ.get("KILOTUNE_DATA")
    folder = Path(data) if data else Path(__file__).resolve().parents[2] / "shared" / "data"
    files = random_models.real(folder if folder.is_dir() else None)
    seed = int(time.time()) % 1_000_000 * 100 if given.seed is None else given.seed
    print(f"draws from number {seed} on, {len(files)} real models", flush=True)
    end, counts, faults = time.monotonic() + 60 * given.minutes, Counter[str](), []
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("KILOTUNE_CACHE", cache)
        while True:
            start = time.monotonic()
            what, text = outcome(seed, files)
            counts[re.split("[: ]", what)[0].lower()] += 1
            faults += [text] if what.startswith("FAULT") else []
            print(f"{time.monotonic() - start:5.1f} s  {text}\n         {what}", flush=True)
            seed += 1
            if time.monotonic() >= end:
                break
    print(*(f"{count:5} {what}" for what, count in sorted(counts.items())), *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
