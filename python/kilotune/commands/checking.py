"""`kilotune validate` and `kilotune quantize`."""

from __future__ import annotations

import json
from typing import Any

import click

from kiloc import TARGETS

from ..data import Dataset
from ..model import load
from ..oracles import ORACLES
from ..quantization import open_float, quantize
from ..validation import validate
from .completing import complete_device
from .options import FILE, KINDS, SAMPLES, class_names_option, named, read_samples, reading_options, writable
from .reporting import EXIT_FAILED, reports_errors
from .subject import wanted_of


@click.command("validate")
@click.argument("model", type=FILE)
@click.option("--data", required=True, type=SAMPLES, help=f"Samples: {KINDS}.")
@reading_options
@click.option("--samples", type=click.IntRange(1), default=100, show_default=True, help="Compare at most so many, spread over all.")
@click.option(
    "--device", default="host", show_default=True, shell_complete=complete_device,
    help='Where the C runs; "qemu:mps2-an386" and its like count instructions.',
)  # fmt: skip
@click.option("--oracle", type=click.Choice([o.name for o in ORACLES]), default=None, help="What to compare with; by default what is installed.")
@click.option("--target", type=click.Choice(TARGETS), default="cortex-m4", show_default=True)
@click.option("--most", type=click.IntRange(0), default=None, help="Steps that an output may differ by; 0 for .tflite files, any for .onnx files.")
@reports_errors
def validate_command(model: str, as_json: bool, **options: Any) -> None:
    """Compare the C of MODEL with another engine on samples. Exit code 1 where an output differs by more than --most.

    .tflite files are compared with TensorFlow Lite Micro or LiteRT, .onnx files with onnxruntime.
    """
    loaded = load(model)
    read = read_samples(options["data"], "--data", wanted_of(loaded, (), "cross_entropy"), options, options["labels"])
    chosen = Dataset(read.first(options["samples"])[0], None, read.source)
    try:
        found = validate(loaded, chosen, options["device"], options["oracle"], options["target"])
    except ValueError as error:
        raise click.UsageError(f"{read.source}: {error}") from None
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else found.text())
    most = options["most"] if options["most"] is not None else 0 if found.exact else 256
    raise SystemExit(EXIT_FAILED if found.output.largest > most or not found.interpreter_equal else 0)


@click.command("quantize")
@click.argument("model", type=FILE)
@click.option("--data", required=True, type=SAMPLES, help=f"Samples like those that the model was trained on, as float: {KINDS}.")
@reading_options
@class_names_option
@click.option("--samples", type=click.IntRange(1), default=200, show_default=True, help="Calibrate with at most so many, spread over all.")
@click.option("-o", "--output", required=True, type=FILE, callback=writable, help="The INT8 model: .onnx in QDQ form, or .tflite, as MODEL is.")
@reports_errors
def quantize_command(model: str, as_json: bool, output: str, **options: Any) -> None:
    """Quantise a float MODEL to full INT8, by onnxruntime or ai-edge-quantizer; with labels, its accuracy before and after.

    Needs pip install 'kilotune[quantize]'.
    """
    opened = open_float(model)
    samples = read_samples(options["data"], "--data", named(opened.wanted(), options["class_names"]), options, options["labels"])
    found = quantize(opened, samples, output, options["samples"])
    if as_json:
        summary = {
            "model": output,
            "calibration_samples": found.samples,
            "accuracy_before": found.accuracy_before,
            "accuracy_after": found.accuracy_after,
        }
        click.echo(json.dumps(summary, indent=1))
        return
    click.echo(f"{output}: full INT8, calibrated on {found.samples} samples; kilotune loads it")
    if found.accuracy_before is not None:
        click.echo(f"accuracy on {len(samples)} samples: float {found.accuracy_before:.4f}, int8 {found.accuracy_after:.4f}")
    click.echo(f"next: kilotune train {output} --data SAMPLES")
