"""The command line: the Python API in the same words.

Exit codes: 0 ok, 1 a check, a budget or a device failed, 2 wrong usage, 3 the model is at fault.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

import kilotune as kt

from . import doctor as checks
from .building import TARGETS
from .simulation import load_samples, simulate_build
from .sizes import parse_size

EXIT_FAILED, EXIT_MODEL = 1, 3
console = Console()


POSITIVE = click.FloatRange(0, 1e18, min_open=True, max_open=True)


def size(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Bytes, as a number or as 64K."""
    try:
        return parse_size(value, "")
    except kt.CompileError as error:
        raise click.BadParameter(f"{error.what}: {error.hint}", context, option) from None


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the exceptions that a user can cause into a message and an exit code; add --json."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> None:
        try:
            command(*args, as_json=as_json, **kwargs)
        except (kt.CompileError, kt.DeviceError) as error:
            code = EXIT_MODEL if type(error) is kt.CompileError else EXIT_FAILED
            fail(error.where, error.what, error.hint, as_json, code)
        except (ValueError, OSError) as error:
            fail("", str(error), "", as_json, EXIT_FAILED)

    return wrapped


def fail(where: str, what: str, hint: str, as_json: bool, code: int) -> None:
    if as_json:
        click.echo(json.dumps({"error": {"where": where, "what": what, "hint": hint}}, indent=1))
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(what, err=True)
        for title, text in (("at", where), ("hint:", hint)):
            if text:
                click.echo(f"  {title} {text}", err=True)
    raise SystemExit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kt.__version__, prog_name="kilotune")
def main() -> None:
    """Fine-tune in kilobytes: compile INT8 models into C that infers and trains on a microcontroller."""


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
    table = Table(title=f"{loaded.name}: {summary['parameters']:,} parameters, {summary['macs']:,} MACs")
    for title in ("layer", "operator", "result", "parameters", "MACs", "trainable"):
        table.add_column(title, justify="right" if title in ("parameters", "MACs") else "left")
    for x in layers:
        shape = "x".join(map(str, x["shape"][1:]))
        table.add_row(x["name"], x["operator"], shape, f"{x['parameters']:,}", f"{x['macs']:,}", "yes" if x["trainable"] else "")
    console.print(table)
    for note in graph.notes:
        console.print(f"note: {note}")


def _tensor(t: Any) -> dict[str, Any]:
    return {"shape": list(t.shape), "scale": t.scale, "zero_point": t.zero_point}


@main.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Build directory; it appears whole or not at all.")
@click.option("--method", "methods", multiple=True, type=click.Choice(["none", "bias", "head", "lora"]), help="What is trained; may be repeated.")
@click.option("--layers", default=None, help='Layers of the methods: "all", "last:N", names or globs, separated by commas.')
@click.option("--rank", type=click.IntRange(1), default=4, show_default=True, help="Rank of LoRA.")
@click.option("--alpha", type=POSITIVE, default=None, help="Scale of LoRA times its rank; the rank by default.")
@click.option("--lr", type=POSITIVE, default=None, help="Learning rate; 0.1 with LoRA, else 0.3.")
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True)
@click.option("--clip", type=click.FloatRange(0), default=1.0, show_default=True, help="Largest norm of each tensor's gradient; 0 for none.")
@click.option("--loss", type=click.Choice(["cross_entropy", "mse"]), default="cross_entropy", show_default=True)
@click.option("--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Samples an update.")
@click.option("--target", type=click.Choice(TARGETS), default="cortex-m4", show_default=True)
@click.option("--ram", callback=size, default=None, help="Budget of arena and state, as bytes or 64K.")
@click.option("--flash", callback=size, default=None, help="Budget of code and constants.")
@click.option("--calibration", type=click.Path(dir_okay=False), help="NPZ with x (and y) of the original domain.")
@click.option("--profile", type=click.Choice(["tflm", "litert"]), default="tflm", show_default=True, help="Rounding profile.")
@click.option("--name", default=None, help="C name of the model; from the file name by default.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--dump", type=click.Path(file_okay=False), help="Write the text form after every stage to this folder.")
@reports_errors
def build(model: str, output: str, methods: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Compile MODEL into a folder of C."""
    chosen = _methods([m for m in methods if m != "none"], options.pop("layers"), options.pop("rank"), options.pop("alpha"))
    rate, momentum, clip = options.pop("lr"), options.pop("momentum"), options.pop("clip")
    optimizer = kt.SGD(lr=rate if rate is not None else (0.1 if "lora" in methods else 0.3), momentum=momentum, clip=clip)
    calibration = options.pop("calibration")
    samples = load_samples(calibration, "calibration") if calibration else None
    if samples is not None:
        options["calibration"] = samples if samples[1] is not None else samples[0]
    result = kt.build(kt.load(model), output, method=chosen or None, optimizer=optimizer, **options)
    click.echo(json.dumps(result.report, indent=1) if as_json else result.report_text())


def _methods(names: list[str], layers: str | None, rank: int, alpha: float | None) -> list[Any]:
    made: list[Any] = []
    for name in dict.fromkeys(names):
        if name == "bias":
            made.append(kt.BiasOnly(layers=layers or "all"))
        elif name == "head":
            made.append(kt.Head())
        else:
            made.append(kt.LoRA(rank=rank, layers=layers or "last:4", alpha=alpha))
    return made


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@reports_errors
def report(directory: str, as_json: bool) -> None:
    """Memory, flash and work of the build in DIRECTORY."""
    made = kt.open_build(directory)
    click.echo(json.dumps(made.report, indent=1) if as_json else made.report_text())


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--data", required=True, type=click.Path(dir_okay=False), help="NPZ with x and y to train on (y may be missing: then it only infers).")
@click.option("--test", type=click.Path(dir_okay=False), help="NPZ with x and y to evaluate on; --data without it.")
@click.option("--device", default="host", show_default=True, help='"host", "agent:host" or "qemu:mps2-an386".')
@click.option("--epochs", type=click.IntRange(0), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Order of the samples.")
@click.option("--decay", type=click.Choice(["constant", "linear"]), default="constant", show_default=True, help="Learning rate over the updates.")
@click.option("--save", type=click.Path(dir_okay=False), help="Write the trained adapter to this file.")
@reports_errors
def simulate(directory: str, as_json: bool, **options: Any) -> None:
    """Run the build in DIRECTORY on a device: evaluate, train, evaluate."""
    result = simulate_build(kt.open_build(directory), progress=not as_json, **options)
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    for key, value in result.items():
        console.print(f"{key.replace('_', ' '):<18} {value:.4f}" if isinstance(value, float) else f"{key.replace('_', ' '):<18} {value}")


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
        table = Table("tool", "found", "needed for", "get it with")
        for row in found:
            table.add_row(row["tool"], row["version"] or "missing", row["purpose"], "" if row["version"] else row["remedy"])
        console.print(table)
    raise SystemExit(0 if all(row["version"] for row in found if row["required"]) else EXIT_FAILED)


