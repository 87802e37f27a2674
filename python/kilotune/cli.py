"""The command line: the Python API in the same words.

Exit codes: 0 ok, 1 a check, a budget or a device failed, 2 wrong usage, 3 the model is at fault, 130 interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.table import Table

import kilotune as kt
from kiloc import BACKWARD_WEIGHTS, BUFFERS, OFFLOADS, TARGETS
from kiloc.optim import STORAGES, parse_schedule

from . import boards as board_files
from . import doctor as checks
from . import flashing, plugins
from .building import MANIFEST
from .commands import adapter as adapters
from .commands.listing import analysis_text, tools_text
from .commands.losses import LOSS_NAMES, LOSS_OPTIONS, made_loss
from .commands.methods import MethodsCommand, finite, made_methods, options_of_methods
from .commands.models import models
from .commands.packaging import package_command
from .commands.reporting import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MODEL, console, fail, note, reports_errors
from .devices.serial_port import ports
from .simulation import load_samples, simulate_build
from .sizes import parse_size

POSITIVE = click.FloatRange(0, 1e18, min_open=True, max_open=True)


def size(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Bytes, as a number or as 64K."""
    try:
        return parse_size(value, "")
    except kt.CompileError as error:
        raise click.BadParameter(f"{error.what}: {error.hint}", context, option) from None


def writable(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A file that can be written, found out before the work is done."""
    if value is not None and not os.access(Path(value).parent, os.W_OK):
        raise click.BadParameter(f"the folder {Path(value).parent} does not exist, or cannot be written", context, option)
    return value


TRAINING_OPTIONS = (
    click.option("--optimizer", type=click.Choice(["sgd", "adam", "lion"]), default="sgd", show_default=True),
    click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), callback=finite, default=None, help="Momentum (of sgd; 0 by default)."),
    click.option("--nesterov", is_flag=True, help="Use Nesterov's momentum (of sgd)."),
    click.option("--state-bits", type=click.Choice(["32", "8"]), default="32", show_default=True, help="Bits of the optimizer's moments."),
    click.option("--weight-decay", type=click.FloatRange(0), callback=finite, default=0.0, show_default=True, help="Decoupled weight decay."),
    click.option("--schedule", default="constant", show_default=True, help="cosine:UPDATES[:FINAL], linear:UPDATES[:FINAL] or step:EVERY[:FACTOR]."),
    click.option("--storage", type=click.Choice(STORAGES), default="block16", show_default=True, help="Format of trained tensors."),
    click.option("--clip", type=click.FloatRange(0), callback=finite, default=1.0, show_default=True, help="Largest norm of a gradient; 0: none."),
    *LOSS_OPTIONS,
    click.option("--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Samples that one update sums over."),
)
"""How a device trains: the same for a build and a search."""


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(TRAINING_OPTIONS):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kt.__version__, prog_name="kilotune")
@click.option("--plugin", "files", multiple=True, metavar="FILE", help="A Python file with methods or operators of your own; may be repeated.")
def main(files: tuple[str, ...]) -> None:
    """Fine-tune in kilobytes: compile INT8 models into C that infers and trains on a microcontroller."""
    try:
        plugins.load_installed()
        for file in files:
            plugins.load_plugin(file)
    except kt.CompileError as error:
        fail(error.where, error.what, error.hint, as_json=False, code=EXIT_MODEL)


main.add_command(adapters.adapter)
main.add_command(adapters.merge)
main.add_command(package_command)
main.add_command(models)


@main.command()
@click.argument("model", type=click.Path(dir_okay=False))
@reports_errors
def analyze(model: str, as_json: bool) -> None:
    """What is in MODEL, what can be trained, what it costs."""
    loaded = kt.load(model)
    layers = loaded.layers()
    graph = loaded.graph
    summary = {
        "name": loaded.name,
        "inputs": [_tensor(graph.type(n)) for n in graph.inputs],
        "outputs": [_tensor(graph.type(n)) for n in graph.outputs],
        "parameters": sum(x["parameters"] for x in layers),
        "macs": sum(x["macs"] for x in layers),
        "layers": layers,
        "notes": list(graph.notes),
    }
    if as_json:
        click.echo(json.dumps(summary, indent=1))
        return
    click.echo(analysis_text(summary))


def _tensor(t: Any) -> dict[str, Any]:
    return {"shape": list(t.shape), "scale": t.scale, "zero_point": t.zero_point, "dtype": t.dtype}


@main.command(cls=MethodsCommand)
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Build directory; it appears whole or not at all.")
@click.option("--inference-only", is_flag=True, help="Train nothing: take adapters that a build with the same methods trained.")
@click.option("--public-key", type=click.Path(dir_okay=False), help="Take only adapters that this key's owner signed (`kilotune adapter keys`).")
@click.option("--rollback-protection", is_flag=True, help="In a slot, only an adapter with a higher sequence number replaces another.")
@click.option("--resident", type=click.IntRange(0, 1000), default=0, show_default=True, help="Adapters that wait in memory, counted in --ram.")
@click.option("--slots", is_flag=True, help="With --inference-only: two slots in flash, for updates over the air.")
@click.option("--lr", type=POSITIVE, callback=finite, default=None, help="Learning rate; by default what suits optimizer and method.")
@training_options
@click.option("--target", type=click.Choice(TARGETS), default="cortex-m4", show_default=True)
@click.option("--ram", callback=size, default=None, help="Budget of arena and state, as bytes or 64K.")
@click.option("--flash", callback=size, default=None, help="Budget of code and constants.")
@click.option("--stack", callback=size, default=None, help="Budget of what a call may take of its caller's stack.")
@click.option("--calibration", type=click.Path(dir_okay=False), help="NPZ with x (and y) of the original domain.")
@click.option("--profile", type=click.Choice(["tflm", "litert"]), default="tflm", show_default=True, help="Rounding profile.")
@click.option("--buffers", type=click.Choice(BUFFERS), default="caller", show_default=True, help="Where inputs and results lie.")
@click.option("--offload", type=click.Choice(OFFLOADS), default="none", show_default=True, help="What lies in slow memory: moments, saved values.")
@click.option("--slow-memory", default=None, metavar="BOARD", help="The board whose slow memory it is: its size is a limit, its cost is weighed.")
@click.option(
    "--backward-weights", type=click.Choice(BACKWARD_WEIGHTS), default="auto", show_default=True,
    help="What gradients to inputs read: a transposed copy, the weights of inference, which takes longer, or the copy where --flash has room.",
)  # fmt: skip
@click.option("--speed", is_flag=True, help="Faster kernels for several times a layer's flash, where the budgets allow.")
@click.option("--optimal", is_flag=True, help="Search for the best placement in the arena and prove a lower bound; takes OR-Tools.")
@click.option("--name", default=None, help="C name of the model; from the file name by default.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--dump", type=click.Path(file_okay=False), help="Write the text form after every stage to this folder.")
@click.option("--config", type=click.Path(dir_okay=False), help="What is trained and how, as `kilotune search` wrote it.")
@reports_errors
def build(model: str, output: str, as_json: bool, **options: Any) -> None:
    """Compile MODEL into a folder of C."""
    chosen = made_methods(options)
    optimizer = _optimizer(options)
    if options["config"]:
        _check_alone(("methods", "layers", *options_of_methods(), "lr", "clip"))
        _check_alone(("optimizer", "momentum", "nesterov", "state_bits", "weight_decay", "schedule", *LOSS_NAMES, "storage", "accumulate"))
        optimizer = None
    options["loss"] = made_loss(options)
    calibration = options.pop("calibration")
    samples = load_samples(calibration, "calibration") if calibration else None
    if samples is not None:
        options["calibration"] = samples if samples[1] is not None else samples[0]
    train = not options.pop("inference_only")
    asked = kt.AdapterOptions(**{k: options.pop(k) for k in ("public_key", "rollback_protection", "resident", "slots")})
    options["adapters"] = None if asked == kt.AdapterOptions() else asked
    result = kt.build(kt.load(model), output, method=chosen or None, train=train, optimizer=optimizer, progress=not as_json, **options)
    click.echo(json.dumps(result.report, indent=1) if as_json else result.report_text())


def _check_alone(names: tuple[str, ...]) -> None:
    """Usage error where the command line sets what the configuration says."""
    context = click.get_current_context()
    given = [n for n in names if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"--config says what is trained: leave out --{', --'.join(given).replace('methods', 'method').replace('_', '-')}")


def _optimizer(options: dict[str, Any]) -> Any:
    """Takes its own options out of those of a build."""
    kind, momentum, nesterov, rate = (options.pop(name) for name in ("optimizer", "momentum", "nesterov", "lr"))
    if kind != "sgd" and (momentum is not None or nesterov):
        raise click.UsageError(f"--momentum and --nesterov are of --optimizer sgd, not of {kind}")
    shared = {"lr": rate, "clip": options.pop("clip"), "weight_decay": options.pop("weight_decay")}
    shared |= {"state_bits": int(options.pop("state_bits")), "schedule": parse_schedule(options.pop("schedule"))}
    if kind == "sgd":
        return kt.SGD(momentum=momentum or 0.0, nesterov=nesterov, **shared)
    return kt.Adam(**shared) if kind == "adam" else kt.Lion(**shared)


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--html", type=click.Path(dir_okay=False), help="Write a page with a picture of the memory over the steps.")
@reports_errors
def report(directory: str, html: str | None, as_json: bool) -> None:
    """Memory, flash and work of the build in DIRECTORY."""
    made = kt.open_build(directory)
    if html:
        made.save_html(html)
    click.echo(json.dumps(made.report, indent=1) if as_json else made.report_text())


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@reports_errors
def verify(directory: str, as_json: bool) -> None:
    """Whether every file of the build in DIRECTORY is as it was built. Exit code 1 where one is not.

    The hashes are in its manifest.json, whose own hash is printed: compare it with one that was kept elsewhere.
    """
    made = kt.open_build(directory)
    changed, digest = made.changed_files(), hashlib.sha256((made.directory / MANIFEST).read_bytes()).hexdigest()
    if as_json:
        click.echo(json.dumps({"files": len(made.manifest["files"]), "changed": changed, "manifest_sha256": digest}, indent=1))
    else:
        for line in changed or [f"{len(made.manifest['files'])} files are as they were built"]:
            click.echo(line)
        click.echo(f"sha256 of {MANIFEST}: {digest}")
    raise SystemExit(EXIT_FAILED if changed else 0)


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--data", required=True, type=click.Path(dir_okay=False), help="NPZ with x and y to train on (y may be missing: then it only infers).")
@click.option("--test", type=click.Path(dir_okay=False), help="NPZ with x and y to evaluate on; --data without it, which says little.")
@click.option("--device", default="host", show_default=True, help='"host", "agent:host", "qemu:mps2-an386", "serial:/dev/ttyACM0".')
@click.option("--count", is_flag=True, help="Count instructions, which makes an emulated board slower (--device qemu:...).")
@click.option("--baud", type=click.IntRange(300, 4_000_000), default=None, help="Bits a second of a serial port; 115200 by default.")
@click.option("--epochs", type=click.IntRange(0), default=None, help="Passes over the samples, at most; by default about 1000 steps.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Order of the samples.")
@click.option(
    "--decay", type=click.Choice(["constant", "linear"]), default=None,
    help="How the learning rate falls over the training; linear by default.",
)  # fmt: skip
@click.option(
    "--hold-out", type=click.FloatRange(0, 1, max_open=True), default=None,
    help="Share of the samples to judge the training by instead of training on them; by default a fifth of 100 or more, see Device.fit.",
)  # fmt: skip
@click.option("--within", type=click.FloatRange(0), callback=finite, default=None, help="Show too what share of the samples is at most so far off.")
@click.option(
    "--period", type=POSITIVE, callback=finite, default=None,
    help="Length of the circle around which --within measures, such as the number of classes.",
)  # fmt: skip
@click.option("--save", type=click.Path(dir_okay=False), callback=writable, help="Write the trained adapter to this file, also after Ctrl-C.")
@reports_errors
def simulate(directory: str, as_json: bool, **options: Any) -> None:
    """Run the build in DIRECTORY on a device: evaluate, train, evaluate."""
    if options["period"] is not None and options["within"] is None:
        raise click.UsageError("--period is of --within: pass the distance that is near enough")
    chosen = _device_options(options["device"], {"serial": ("baud", options.pop("baud")), "qemu": ("count", options.pop("count") or None)})
    made = kt.open_build(directory)
    if made.manifest["training"] and not options["test"]:
        note("note", "without --test the result is measured on the samples that it trains on, which says little about new ones")
    result = simulate_build(made, progress=None if as_json else True, device_options=chosen, **options)
    click.echo(json.dumps(result.to_dict(), indent=1) if as_json else result.text())
    if result.interrupted:
        kept = f"it is saved in {options['save']}" if options["save"] else "it was not saved, as --save was not given"
        note("interrupted", f"what was learned until then counts; {kept}")
        raise SystemExit(EXIT_INTERRUPTED)


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--board", required=True, help="A board of `kilotune boards`.")
@click.option("--tool", type=click.Choice(flashing.TOOLS), default=None, help="By default the first that is installed.")
@click.option("--elf", type=click.Path(dir_okay=False), help="Firmware of your own instead of the agent; it is checked for the board.")
@reports_errors
def flash(directory: str, as_json: bool, **options: Any) -> None:
    """Write the agent with the model of the build in DIRECTORY to a board."""
    done = flashing.flash(directory, **options)
    if as_json:
        memory = {name: {"used": use.used, "size": use.size} for name, use in done.memory.items()}
        click.echo(json.dumps({"board": done.board, "tool": done.tool, "elf": str(done.elf), "memory": memory}, indent=1))
        return
    for name, use in done.memory.items():
        click.echo(f"{name:<6} {use.used:>9,} of {use.size:,} bytes")
    click.echo(f"written by {done.tool}; now: kilotune simulate {directory} --data NPZ --device serial:PORT")


@main.command()
@reports_errors
def boards(as_json: bool) -> None:
    """Boards that firmware is built for, and how to reach them."""
    rows = board_files.overview()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = Table()
    for title in ("board", "core", "flash", "RAM", "device", "flashed by", "serial port"):
        table.add_column(title, no_wrap=title == "board")
    for row in rows:
        sizes = [f"{row['memory'][name] >> 10}K" for name in ("FLASH", "RAM")]
        table.add_row(row["board"], row["core"].removeprefix("cortex-"), *sizes, row["device"].split(":")[0], "\n".join(row["tools"]), row["serial"])
    console.print(table)


@main.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("--data", required=True, type=click.Path(dir_okay=False), help="NPZ with x and y: labelled samples of the new domain.")
@click.option("--ram", callback=size, required=True, help="Budget of arena and state, as bytes or 64K.")
@click.option("--flash", callback=size, default=None, help="Budget of code and constants.")
@click.option("--time", default=None, help="Budget of one training step: as 20ms, estimated for --clock, or a number of MACs.")
@click.option("--clock", default="100M", show_default=True, help="Clock of the device in Hz.")
@training_options
@click.option("--calibration", type=click.Path(dir_okay=False), help="NPZ with x (and y) of the original domain.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Passes over the samples that the device will make.")
@click.option("--layers", default="all", show_default=True, help='Layers that may be trained: "all", "last:N", names or globs, separated by commas.')
@click.option("--offload", type=click.Choice(OFFLOADS), default="none", show_default=True, help="What will lie in slow memory.")
@click.option("--train/--no-train", default=True, help="Judge by training on part of the samples, or by gradients alone.")
@click.option("--target", type=click.Choice(TARGETS), default="cortex-m4", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--html", type=click.Path(dir_okay=False), callback=writable, help="Write a page with a picture of the Pareto front.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), callback=writable, help="Write the choice as a configuration for `kilotune build --config`."
)
@reports_errors
def search(model: str, data: str, output: str | None, html: str | None, as_json: bool, **options: Any) -> None:
    """Find the trainable set of MODEL that promises most within a budget."""
    calibration = options.pop("calibration")
    samples = load_samples(calibration, "calibration") if calibration else None
    if samples is not None:
        options["calibration"] = samples if samples[1] is not None else samples[0]
    options["optimizer"] = _optimizer(options | {"lr": None})
    options["loss"] = made_loss(options)
    of_optimizer = ("momentum", "nesterov", "state_bits", "weight_decay", "schedule", "clip")
    settings = {k: v for k, v in options.items() if k not in of_optimizer}
    start = time.perf_counter()
    found = kt.search(kt.load(model), load_samples(data, "--data"), progress=not as_json, **settings)
    if output:
        found.config.save(output)
    if html:
        found.save_html(html)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
        return
    console.print(found.table())
    click.echo(f"train {found.best.name} with lr {found.best.lr:g}: {found.best.bytes:,} bytes of RAM, found in {time.perf_counter() - start:.0f} s")
    if output:
        click.echo(f"  kilotune build {model} --config {output} -o DIR")


def _device_options(device: str, given: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """Options of a kind of device; usage error where one is given for another kind. None: not given."""
    kind = device.partition(":")[0]
    for of, (name, value) in given.items():
        if value is not None and of != kind:
            raise click.UsageError(f"--{name} is of --device {of}:..., not of {device}")
    return {name: value for of, (name, value) in given.items() if value is not None}


@main.command()
@reports_errors
def ops(as_json: bool) -> None:
    """Operators that the compiler knows, and which can be trained through."""
    rows = checks.operators()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = Table("operator", "gradient", "meaning")
    for row in rows:
        table.add_row(row["operator"], "yes" if row["gradient"] else "no", row["meaning"])
    console.print(table)


@main.command()
@reports_errors
def doctor(as_json: bool) -> None:
    """What this machine has, what is missing and how to get it. Exit code 1 where the host compiler is missing."""
    found = checks.tools()
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(tools_text(found))
        click.echo(f"serial ports: {', '.join(ports()) or 'none'}")
    raise SystemExit(0 if all(row["version"] for row in found if row["required"]) else EXIT_FAILED)
