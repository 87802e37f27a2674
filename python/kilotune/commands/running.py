"""`kilotune train`, `evaluate`, `predict`, and `simulate`, which does of these what its build and samples allow."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import runs
from ..building import open_build
from ..data import Wanted
from ..devices.manifest import Manifest
from ..files import write_whole
from .front_ends import features_options
from .methods import MethodsCommand, finite
from .options import (
    FILE,
    KINDS,
    POSITIVE,
    SAMPLES,
    class_names_option,
    device_options,
    learning_rate_option,
    named,
    read_samples,
    reading_options,
    taken_by_device,
    training_options,
    writable,
)
from .reporting import EXIT_INTERRUPTED, note, reports_errors
from .subject import build_option, subject

MODEL = click.argument("model", type=click.Path())
DATA = click.option("--data", required=True, type=SAMPLES, help=f"Samples: {KINDS}.")
ADAPTER = click.option(
    "--adapter", type=click.Path(exists=True, dir_okay=False), default=None, help="An adapter of the same model and methods (.kta)."
)
HTML = click.option("--html", type=FILE, callback=writable, help="Write a page: curves, confusion before and after, what was trained.")
SAVE = click.option("--save", type=FILE, callback=writable, help="Write the trained adapter to this file, also after Ctrl-C.")
TEST = click.option("--test", type=SAMPLES, help="Samples to measure the result on; without them --data is used, which says little.")
TEST_LABELS = click.option("--test-labels", type=FILE, default=None, help="As --labels, for --test.")
EPOCHS = click.option("--epochs", type=click.IntRange(0), default=None, help="Passes over the samples, at most; by default about 1000 steps.")
SEED = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Order of the samples.")
DECAY = click.option(
    "--decay", type=click.Choice(["constant", "linear"]), default=None,
    help="How the learning rate falls over the training; linear by default.",
)  # fmt: skip
HOLD_OUT = click.option(
    "--hold-out", type=click.FloatRange(0, 1, max_open=True), default=None,
    help="Share of the samples to judge the training by instead of training on them; by default a fifth of 100 or more, see Device.fit.",
)  # fmt: skip
WITHIN = click.option(
    "--within", type=click.FloatRange(0), callback=finite, default=None, help="Show too what share of the samples is at most so far off."
)
PERIOD = click.option(
    "--period", type=POSITIVE, callback=finite, default=None,
    help="Length of the circle around which --within measures, such as the number of classes.",
)  # fmt: skip
OUTPUTS = (".csv", ".json", ".npz")


@click.command(cls=MethodsCommand)
@MODEL
@build_option
@features_options
@DATA
@TEST
@reading_options
@TEST_LABELS
@class_names_option
@device_options
@ADAPTER
@SAVE
@click.option(
    "--checkpoint", type=FILE, callback=writable, default=None,
    help="Keep in this file, after each epoch and each half a minute, what is needed to go on.",
)  # fmt: skip
@click.option("--record", type=FILE, callback=writable, default=None, help="Write a log of the training for `kilotune replay`.")
@click.option("--record-kernels", is_flag=True, help="In the log, checksums of each kernel: slower; for builds with --slice-instructions.")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint, where it is there: with the bits of a training that was never cut off.")
@EPOCHS
@SEED
@DECAY
@HOLD_OUT
@WITHIN
@PERIOD
@HTML
@learning_rate_option
@training_options
@reports_errors
def train(model: str, as_json: bool, **options: Any) -> None:
    """Train MODEL, a build directory or a model file, on samples; measure before and after.

    A model file is built for it: --method and the options of training are those of `kilotune build`.
    """
    if options["resume"] and not options["checkpoint"]:
        raise click.UsageError("--resume needs --checkpoint: the file to go on from")
    if options["record_kernels"] and not options["record"]:
        raise click.UsageError("--record-kernels needs --record: the file of the log")
    on_device = taken_by_device(options)
    found = subject(model, options, trains=True)
    samples = read_samples(options["data"], "--data", found.wanted, options, options["labels"])
    wanted = found.wanted if found.wanted.class_names else named(found.wanted, ",".join(samples.class_names) or None)
    test = read_samples(options["test"], "--test", wanted, options, options["test_labels"]) if options["test"] else None
    if test is None:
        _note_no_test()
    if options["resume"] and not Path(options["checkpoint"]).exists():
        note("note", f"there is no checkpoint {options['checkpoint']} yet: training starts at the beginning")
    fit = {name: options[name] for name in ("epochs", "seed", "decay", "hold_out", "checkpoint", "resume")}
    with found.opened(samples) as build:
        result = runs.train(
            build, samples, test, device=options["device"], adapter=options["adapter"], save=options["save"], progress=_progress(as_json),
            fit=fit, options=on_device, near=_near(options), html=options["html"],
            record=(options["record"], options["record_kernels"]) if options["record"] else None,
        )  # fmt: skip
    _show(result, as_json, options["save"], options["checkpoint"])


@click.command(cls=MethodsCommand)
@MODEL
@build_option
@features_options
@DATA
@reading_options
@class_names_option
@device_options
@ADAPTER
@WITHIN
@PERIOD
@reports_errors
def evaluate(model: str, as_json: bool, **options: Any) -> None:
    """Accuracy and loss of MODEL, a build directory or a model file; with --adapter beside those without it."""
    on_device = taken_by_device(options)
    found = subject(model, options, trains=False)
    samples = read_samples(options["data"], "--data", found.wanted, options, options["labels"])
    with found.opened(samples) as build:
        result = runs.evaluate(build, samples, options["device"], options["adapter"], _progress(as_json), on_device, _near(options))
    _show(result, as_json)


@click.command(cls=MethodsCommand)
@MODEL
@build_option
@features_options
@DATA
@reading_options
@class_names_option
@device_options
@ADAPTER
@click.option("-o", "--output", type=FILE, callback=writable, default=None, help=f"A file to write: {', '.join(OUTPUTS)}; else CSV is printed.")
@reports_errors
def predict(model: str, as_json: bool, **options: Any) -> None:
    """Classes, or outputs, that MODEL, a build directory or a model file, gives for samples."""
    output = options["output"]
    if output and Path(output).suffix not in OUTPUTS:
        raise click.UsageError(f"--output is {output}: its suffix must be one of {', '.join(OUTPUTS)}")
    on_device = taken_by_device(options)
    found = subject(model, options, trains=False)
    samples = read_samples(options["data"], "--data", found.wanted, options, options["labels"])
    with found.opened(samples) as build:
        result = runs.predict(build, samples, options["device"], options["adapter"], _progress(as_json), on_device)
    if output:
        write_whole(output, _encoded(result, Path(output).suffix))
    if as_json:
        click.echo(_encoded(result, ".json").decode(), nl=False)
    elif not output:
        click.echo(_encoded(result, ".csv").decode(), nl=False)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False))
@DATA
@TEST
@reading_options
@TEST_LABELS
@class_names_option
@device_options
@EPOCHS
@SEED
@DECAY
@HOLD_OUT
@WITHIN
@PERIOD
@SAVE
@reports_errors
def simulate(directory: str, as_json: bool, **options: Any) -> None:
    """Train where the build in DIRECTORY trains, evaluate where it does not, count classes where samples have no labels."""
    on_device, near = taken_by_device(options), _near(options)
    build = open_build(directory)
    wanted = named(Wanted.by(Manifest.load(build.directory)), options["class_names"])
    samples = read_samples(options["data"], "--data", wanted, options, options["labels"])
    test = read_samples(options["test"], "--test", wanted, options, options["test_labels"]) if options["test"] else None
    device, progress = options["device"], _progress(as_json)
    if samples.y is None and build.manifest["targets"] != "input":
        found = runs.predict(build, samples, device, None, progress, on_device)
        counts = {} if found.classes is None else {"classes": np.bincount(found.classes).tolist()}
        result = runs.Run({"device": device, "samples": len(samples)} | counts, [], None)
    elif build.manifest["training"]:
        if test is None:
            _note_no_test()
        fit = {name: options[name] for name in ("epochs", "seed", "decay", "hold_out")}
        result = runs.train(
            build, samples, test, device=device, adapter=None, save=options["save"], progress=progress, fit=fit, options=on_device, near=near
        )
    else:
        title = "test samples" if test else "samples of --data"
        result = runs.evaluate(build, test or samples, device, None, progress, on_device, near, title)
    _show(result, as_json, options["save"])


def _near(options: dict[str, Any]) -> dict[str, float | None]:
    if options["period"] is not None and options["within"] is None:
        raise click.UsageError("--period is of --within: pass the distance that is near enough")
    return {"within": options["within"], "period": options["period"]}


def _progress(as_json: bool) -> bool | None:
    return None if as_json else True


def _note_no_test() -> None:
    note("note", "without --test the result is measured on the samples that it trains on, which says little about new ones")


def _show(result: runs.Run, as_json: bool, save: str | None = None, checkpoint: str | None = None) -> None:
    click.echo(json.dumps(result.to_dict(), indent=1) if as_json else result.text())
    if result.worse:
        more = "more samples, some of before and of every class, less that is trained (--method bias) or a lower --lr may help"
        note("warning", f"the training made it worse: {result.worse}; {more}")
    if result.interrupted:
        kept = f"it is saved in {save}" if save else "it was not saved, as --save was not given"
        more = f"; the same command with --resume goes on from {checkpoint}" if checkpoint else ""
        note("interrupted", f"what was learned until then counts; {kept}{more}")
        raise SystemExit(EXIT_INTERRUPTED)


def _encoded(found: runs.Prediction, suffix: str) -> bytes:
    """A prediction as a file of this kind."""
    if suffix == ".npz":
        content = io.BytesIO()
        arrays: dict[str, Any] = {"scores": found.scores}
        if found.classes is not None:
            arrays["classes"] = found.classes
        if found.class_names:
            arrays["class_names"] = np.array(found.class_names)
        np.savez(content, allow_pickle=False, **arrays)
        return content.getvalue()
    rows = found.rows()
    if suffix == ".json":
        return (json.dumps(rows, indent=1) + "\n").encode()
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]) if rows else ["sample"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()
