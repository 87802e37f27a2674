"""The command line: the Python API in the same words.

Exit codes: 0 ok, 1 a check, a budget or a device failed, 2 wrong usage, 3 the model is at fault, 130 interrupted.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from typing import Any

import click
from rich.table import Table

import kilotune as kt
from kiloc import BACKWARD_WEIGHTS, BUFFERS, CONSTANT_CHANNELS, OFFLOADS, TARGETS
from kiloc.continual import BITS, KEEPS, MEMORIES, POLICIES

from . import boards as board_files
from . import doctor as checks
from . import flashing, plugins
from .building import MANIFEST
from .commands import adapter as adapters
from .commands import checking, running, starting
from .commands.completing import complete_board, complete_layers
from .commands.front_ends import features_options, made_front_end
from .commands.listing import analysis_text, tools_text
from .commands.losses import made_loss
from .commands.methods import MethodsCommand, made_methods, options_of_methods
from .commands.models import models
from .commands.options import (
    OF_TRAINING,
    SAMPLES,
    class_names_option,
    learning_rate_option,
    made_optimizer,
    named,
    read_samples,
    reading_options,
    size,
    training_options,
    writable,
)  # fmt: skip
from .commands.packaging import package_command
from .commands.replaying import replay_command
from .commands.reporting import EXIT_FAILED, EXIT_MODEL, console, fail, reports_errors
from .commands.subject import wanted_of
from .data import Wanted, read_names
from .devices.serial_port import ports

OF_REPLAY = ("replay_policy", "replay_keep", "replay_memory", "replay_bits")
"""Options of a replay buffer beside its size."""


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
main.add_command(starting.federated)
for command in (
    running.train,
    running.evaluate,
    running.predict,
    running.simulate,
    checking.validate_command,
    checking.quantize_command,
    starting.new,
    package_command,
    replay_command,
    models,
):
    main.add_command(command)


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
@learning_rate_option
@training_options
@click.option("--replay", type=click.IntRange(1), default=None, metavar="SAMPLES", help="A buffer of old samples in the state, for replay.")
@click.option("--replay-policy", type=click.Choice(POLICIES), default="reservoir", show_default=True, help="Which samples stay in it.")
@click.option("--replay-keep", type=click.Choice(KEEPS), default="latent", show_default=True, help="What it keeps of a sample.")
@click.option("--replay-memory", type=click.Choice(MEMORIES), default="state", show_default=True, help="Where its entries lie.")
@click.option(
    "--replay-bits",
    type=click.Choice([str(bits) for bits in BITS]),
    default="8",
    show_default=True,
    callback=lambda context, option, value: int(value),
    help="Of each int8 value that it keeps.",
)
@click.option(
    "--slice-instructions", type=click.IntRange(1, 2**32 - 1), default=None,
    help="A training step can be done in slices of about so many, between which the model infers; more memory.",
)  # fmt: skip
@click.option("--target", type=click.Choice(TARGETS), default="cortex-m4", show_default=True)
@click.option("--ram", callback=size, default=None, help="Budget of arena and state, as bytes or 64K.")
@click.option("--flash", callback=size, default=None, help="Budget of code and constants.")
@click.option("--stack", callback=size, default=None, help="Budget of what a call may take of its caller's stack.")
@click.option("--calibration", type=SAMPLES, help="Samples (with labels, if there are some) of the original domain.")
@click.option("--profile", type=click.Choice(["tflm", "litert"]), default="tflm", show_default=True, help="Rounding profile.")
@click.option("--attention-window", type=click.IntRange(1), default=None, help="Positions that one sees on either side in attention.")
@click.option("--by-position", is_flag=True, help="Inference takes one position of a sequence a call and keeps what later ones need.")
@features_options
@click.option("--buffers", type=click.Choice(BUFFERS), default="caller", show_default=True, help="Where inputs and results lie.")
@click.option("--offload", type=click.Choice(OFFLOADS), default="none", show_default=True, help="What lies in slow memory: moments, saved values.")
@click.option("--moments-in-ram", callback=size, default=None, help="Of moments in slow memory, how much stays in the state, as bytes or 4K.")
@click.option(
    "--slow-memory", default=None, metavar="BOARD", shell_complete=complete_board,
    help="The board whose slow memory it is: its size is a limit, its cost is weighed.",
)  # fmt: skip
@click.option(
    "--backward-weights", type=click.Choice(BACKWARD_WEIGHTS), default="auto", show_default=True,
    help="What gradients to inputs read: a transposed copy, the weights of inference, or whatever is faster and fits --flash.",
)  # fmt: skip
@click.option(
    "--constant-channels", type=click.Choice(CONSTANT_CHANNELS), default="all", show_default=True,
    help="Which channels that hold one value are computed without: all that can go, or those in front of what is trained, which takes any adapter.",
)  # fmt: skip
@click.option("--size", is_flag=True, help="Code of less size, which is slower: one portable kernel of each kind, compiled with -Os.")
@click.option("--speed", is_flag=True, help="Faster kernels for several times a layer's flash, where the budgets allow.")
@click.option("--optimal", is_flag=True, help="Search for the best placement in the arena and prove a lower bound; takes OR-Tools.")
@click.option("--front", is_flag=True, help="Search what computing values twice would save and cost, for the report: a longer build.")
@class_names_option
@click.option("--name", default=None, help="C name of the model; from the file name by default.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--dump", type=click.Path(file_okay=False), help="Write the text form after every stage to this folder.")
@click.option("--config", type=click.Path(dir_okay=False), help="What is trained and how, as `kilotune search` wrote it.")
@reports_errors
def build(model: str, output: str, as_json: bool, **options: Any) -> None:
    """Compile MODEL into a folder of C."""
    chosen = made_methods(options)
    optimizer = made_optimizer(options)
    if options["config"]:
        _check_alone(("methods", "layers", *options_of_methods(), "lr", "clip"))
        _check_alone(tuple(name for name in OF_TRAINING if name != "clip"))
        optimizer = None
    options["loss"] = made_loss(options)
    calibration = options.pop("calibration")
    loaded = kt.load(model)
    options["features"] = made_front_end(options.pop("features"), options.pop("feature_fields"))
    names = options.pop("class_names")
    names = read_names(names) if names else ()
    if calibration:
        wanted = Wanted(wanted_of(loaded, chosen, "mse").inputs, None) if options["config"] else wanted_of(loaded, chosen, options["loss"])
        samples = read_samples(calibration, "--calibration", replace(wanted, class_names=names, features=options["features"]), {})
        options["calibration"] = samples.x if samples.y is None else (samples.x, samples.y)
        names = names or samples.class_names
    train = not options.pop("inference_only")
    asked = kt.AdapterOptions(**{k: options.pop(k) for k in ("public_key", "rollback_protection", "resident", "slots")})
    buffer = [options.pop(name) for name in ("replay", *OF_REPLAY)]
    if not buffer[0] and (given := _given(OF_REPLAY)):
        raise click.UsageError(f"{given}: there is no replay buffer: give --replay SAMPLES too")
    options["replay"] = kt.Replay(*buffer) if buffer[0] else None
    options["adapters"] = None if asked == kt.AdapterOptions() else asked
    result = kt.build(loaded, output, method=chosen or None, train=train, optimizer=optimizer, class_names=names, progress=not as_json, **options)
    click.echo(json.dumps(result.report, indent=1) if as_json else result.report_text())


def _check_alone(names: tuple[str, ...]) -> None:
    """Usage error where the command line sets what the configuration says."""
    if given := _given(names):
        raise click.UsageError(f"--config says what is trained: leave out {given}")


def _given(names: tuple[str, ...]) -> str:
    """Options that the command line sets, as it names them."""
    context = click.get_current_context()
    given = [n for n in names if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    return ", ".join("--" + n.replace("methods", "method").replace("_", "-") for n in given)


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
@click.option("--board", required=True, shell_complete=complete_board, help="A board of `kilotune boards`.")
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
    click.echo(f"written by {done.tool}; now: kilotune train {directory} --data NPZ --device serial:PORT")


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
@click.option("--data", required=True, type=SAMPLES, help="Labelled samples of the new domain, as `kilotune train` takes them.")
@reading_options
@class_names_option
@click.option("--ram", callback=size, required=True, help="Budget of arena and state, as bytes or 64K.")
@click.option("--flash", callback=size, default=None, help="Budget of code and constants.")
@click.option("--time", default=None, help="Budget of one training step: as 20ms, estimated for --clock, or a number of MACs.")
@click.option("--clock", default=None, help="Clock of the device in Hz; without it that of --board, or 100M.")
@click.option("--board", default=None, shell_complete=complete_board, help="Board, which names core and clock; --energy and --flash-wear need it.")
@click.option("--energy", default=None, help="Budget of one training step, as 2mJ: an estimate, by what board.toml says an instruction takes.")
@click.option(
    "--count/--no-count", default=None,
    help="Count some sets on the emulated chip for estimates of time; by default with --time 20ms or --energy, where QEMU is installed.",
)  # fmt: skip
@click.option("--flash-wear", default=None, help="Sectors of flash that an update of the adapter may erase.")
@training_options
@click.option("--calibration", type=SAMPLES, help="Samples (with labels, if there are some) of the original domain.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Passes over the samples that the device will make.")
@click.option(
    "--layers", default="all", show_default=True, shell_complete=complete_layers,
    help='Layers that may be trained: "all", "last:N", names or globs, separated by commas.',
)  # fmt: skip
@click.option("--offload", type=click.Choice(OFFLOADS), default="none", show_default=True, help="What will lie in slow memory.")
@click.option("--train/--no-train", default=True, help="Judge by training on part of the samples, or by gradients alone.")
@click.option("--target", type=click.Choice(TARGETS), default=None, help="Core; without it that of --board, or cortex-m4.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--html", type=click.Path(dir_okay=False), callback=writable, help="Write a page with a picture of the Pareto front.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), callback=writable, help="Write the choice as a configuration for `kilotune build --config`."
)
@reports_errors
def search(model: str, data: str, output: str | None, html: str | None, as_json: bool, **options: Any) -> None:
    """Find the trainable set of MODEL that promises most within a budget."""
    calibration = options.pop("calibration")
    options["optimizer"] = made_optimizer(options | {"lr": None})
    options["loss"] = made_loss(options)
    of_optimizer = ("momentum", "nesterov", "state_bits", "weight_decay", "schedule", "clip")
    settings = {k: v for k, v in options.items() if k not in (*of_optimizer, "keys", "labels", "label_column", "class_names")}
    start = time.perf_counter()
    loaded = kt.load(model)
    wanted = named(wanted_of(loaded, (), options["loss"]), options["class_names"])
    samples = read_samples(data, "--data", wanted, options, options["labels"])
    if calibration:
        original = read_samples(calibration, "--calibration", wanted, {})
        settings["calibration"] = original.x if original.y is None else (original.x, original.y)
    found = kt.search(loaded, (samples.x, samples.y), progress=not as_json, **settings)
    if output:
        found.config.save(output)
    if html:
        found.save_html(html)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
        return
    console.print(found.table())
    click.echo(f"train {found.best.name} with lr {found.best.lr:g}: {found.best.bytes:,} bytes of RAM, found in {time.perf_counter() - start:.0f} s")
    click.echo(found.why())
    if output:
        click.echo(f"  kilotune build {model} --config {output} -o DIR")


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
