"""What a training did, epoch by epoch, and why it ended."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..pictures.curves import curves
from ..pictures.picture import Picture, fragment

ALL_EPOCHS = "all epochs were trained"
NO_BETTER = "the held-out loss fell no more"
NO_LOWER = "the loss of its samples fell no more"
INTERRUPTED = "it was interrupted"


@dataclass
class History:
    """What `fit` did. One entry an epoch in `losses` and, where epochs were judged, in `validation`."""

    losses: list[float] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    updates: int = 0
    learning_rates: list[float] = field(default_factory=list)
    """Of each update; empty when the device kept its own."""

    best_epoch: int | None = None
    """Where epochs were judged: the one whose state was kept, 0 for that before training."""

    epochs: int = 0
    """Epochs that were planned; as many entries as `losses` has were trained."""

    samples: int = 0
    """Samples that were trained on, without those held out."""

    held_out: int = 0
    """Samples that were held out of the training to judge it by."""

    rehearsed: int = 0
    """Samples of a rehearsal that each epoch trained on beside these."""

    judged_by_its_own: bool = False
    """Whether `validation` is of samples that were trained on, because none were held out."""

    before: dict[str, float] | None = None
    """Of the validation samples before training, where there are any."""

    ended: str = ""
    """Why training ended: "all epochs were trained", "the held-out loss fell no more" (or "the loss of its samples"), or "it was interrupted"."""

    @property
    def after(self) -> dict[str, float] | None:
        """Of the validation samples with the state that was kept: of the best epoch, or without one of the last."""
        if self.best_epoch == 0 or not self.validation:
            return self.before
        return self.validation[-1 if self.best_epoch is None else self.best_epoch - 1]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; learning_rates are those of each epoch's first update."""
        found = dataclasses.asdict(self) | {"after": self.after}
        each = len(self.learning_rates) // max(1, len(self.losses))
        found["learning_rates"] = self.learning_rates[:: max(1, each)][: len(self.losses)]
        return found

    def plot(self) -> Picture:
        """Curves of loss, accuracy and rate over the epochs: a notebook shows them, `save("curves.html")` writes a page."""
        return Picture("training", curves(self))

    def _repr_html_(self) -> str:
        return fragment(self.text(), curves(self) if self.losses else "")

    def text(self) -> str:
        """How it ended, in a sentence or two."""
        planned = _counted(self.epochs, "epoch")
        done = planned if self.ended == ALL_EPOCHS else f"{len(self.losses)} of {planned}"
        parts = [f"{done}, {_counted(self.updates, 'update')}: {self.ended}"]
        if self.best_epoch == 0:
            whose = "of its samples" if self.judged_by_its_own else "it was judged by"
            parts.append(f"no epoch lowered the loss {whose}: the model is as it was before; a lower learning rate may help")
        elif self.best_epoch is not None:
            whose = "that it was trained on, as none were held out" if self.judged_by_its_own else "it was judged by"
            parts.append(f"the model is that of epoch {self.best_epoch}, the best on the samples {whose}")
        return "; ".join(parts)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during `fit`. The device keeps what was learned and can be used. history: what was done until then."""

    def __init__(self, history: History) -> None:
        super().__init__("training was interrupted: the device keeps what was learned")
        self.history = history
