"""Options of the command line that say by which loss a device trains."""

from __future__ import annotations

from typing import Any

import click

import kilotune as kt
from kiloc import LOSSES

from .methods import finite

RECONSTRUCTION = "reconstruction"
"""On the command line, the squared error to the model's own input."""


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Positive numbers, separated by commas."""
    if value is None:
        return None
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers: write 1,2.5,1", context, option) from None


LOSS_OPTIONS = (
    click.option("--loss", type=click.Choice([*LOSSES, RECONSTRUCTION]), default="cross_entropy", show_default=True),
    click.option(
        "--label-smoothing",
        type=click.FloatRange(0, 1, max_open=True),
        callback=finite,
        default=0.0,
        help="Part of the target that is spread over all classes, or with bce over yes and no (--loss cross_entropy, soft_cross_entropy, bce).",
    ),
    click.option(
        "--class-weights",
        callback=_numbers,
        metavar="W,W,...",
        help="A factor for each class on the loss of its samples (--loss cross_entropy, soft_cross_entropy).",
    ),
    click.option(
        "--positive-weights",
        callback=_numbers,
        metavar="W[,W...]",
        help="A factor for each result, or one for all, on the loss of what is there (--loss bce).",
    ),
    click.option(
        "--huber-delta",
        type=click.FloatRange(0, min_open=True),
        callback=finite,
        default=None,
        help="Difference from which on the loss is a straight line, in the result's units; default 1 (--loss huber).",
    ),
)

LOSS_NAMES = ("loss", "label_smoothing", "class_weights", "positive_weights", "huber_delta")


def made_loss(options: dict[str, Any]) -> Any:
    """The loss that the command line names. Takes its options out of those of the command; usage error for those of another loss."""
    name, smoothing, classes, positives, delta = (options.pop(n) for n in LOSS_NAMES)
    of_classes = ("cross_entropy", "soft_cross_entropy")
    for option, given, losses in (
        ("--label-smoothing", smoothing, (*of_classes, "bce")), ("--class-weights", classes, of_classes),
        ("--positive-weights", positives, ("bce",)), ("--huber-delta", delta, ("huber",)),
    ):  # fmt: skip
        if given and name not in losses:
            raise click.UsageError(f"{option} is of --loss {' and '.join(losses)}, not of {name}")
    if name == RECONSTRUCTION:
        return kt.MeanSquaredError(target="input")
    if name == "huber":
        return kt.Huber() if delta is None else kt.Huber(delta)
    if name == "bce":
        return kt.BinaryCrossEntropy(smoothing, positives[0] if positives and len(positives) == 1 else positives)
    if name in of_classes:
        return LOSSES[name](label_smoothing=smoothing, class_weights=classes)  # type: ignore[call-arg]
    return name
