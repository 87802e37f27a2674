"""Curves of a training over its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kiloc.report import Line, lines

if TYPE_CHECKING:
    from ..devices.history import History


def curves(history: History) -> str:
    """Figures of loss, of accuracy where there are samples that it was judged by, and of the rate where it changed."""
    epochs = range(1, len(history.losses) + 1)
    judged = history.validation
    start = [(0.0, history.before)] if history.before is not None else []
    found = [(x, values) for x, values in [*start, *((float(e), v) for e, v in zip(epochs, judged, strict=False))]]
    mark = None if history.best_epoch is None else (float(history.best_epoch), f"kept: epoch {history.best_epoch}")
    whose = "trained on, after the epoch" if history.judged_by_its_own else "held out"
    figures = []
    drawn = [Line("training", [(float(e), loss) for e, loss in zip(epochs, history.losses, strict=True)])] if history.losses else []
    if found:
        drawn.append(Line(whose, [(x, values["loss"]) for x, values in found], second=True))
    if drawn:
        figures.append(lines("loss", drawn, "epoch", mark))
    if found and all("accuracy" in values for _, values in found):
        accuracy = Line(whose, [(x, values["accuracy"]) for x, values in found], second=True)
        figures.append(lines("accuracy", [accuracy], "epoch", mark, top=1.0))
    rates = [(float(e), r) for e, r in zip(epochs, history.to_dict()["learning_rates"], strict=False)]
    if len({rate for _, rate in rates}) > 1:
        figures.append(lines("learning rate at the beginning of each epoch", [Line("rate", rates)], "epoch"))
    return f'<div class="pair">{"".join(figures)}</div>\n'
