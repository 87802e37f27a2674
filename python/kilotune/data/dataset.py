"""What is read, how, and for which model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.features import FrontEnd

from ..devices.manifest import Manifest, Tensor


@dataclass(frozen=True)
class Reading:
    """How a file is to be read, where that does not follow from the file. None: as `load` finds it."""

    keys: tuple[str, ...] = ()
    """Names of the arrays of an .npz file: the samples, then the labels."""
    labels: str | None = None
    """A file of one label a sample, for samples in a file that holds none."""
    label_column: str | None = None
    """Of a .csv file: its name in the header, or its number; -1 is the last."""


@dataclass(frozen=True)
class Wanted:
    """What a model takes. Without inputs samples are not brought into any shape."""

    inputs: tuple[Tensor, ...] = ()
    targets: str | None = "labels"
    """"labels", "values", or "input" where a loss reads the input and there are no targets; None: a build that does not train has no loss."""
    classes: int | None = None
    values: int = 0
    """Numbers in a target that is values."""
    class_names: tuple[str, ...] = ()
    features: FrontEnd | None = None
    """What makes the input of recordings: these are then samples too, as int16 [N, samples]."""
    slices: bool = False
    """Whether the model goes on from call to call: then one recording is cut into slices whose frames follow each other."""

    @classmethod
    def by(cls, manifest: Manifest) -> Wanted:
        """What the model of a build takes."""
        labelled = manifest.targets in (None, "labels")
        classes = manifest.classes or (manifest.outputs[0].size if labelled else None)
        return cls(
            manifest.inputs, manifest.targets, classes, manifest.target_values, manifest.class_names, manifest.features, manifest.slices,
        )  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """Samples [N, ...], a list of arrays for a model of several inputs. y: labels [N] or values [N, n]; None where there are none."""

    x: NDArray[Any] | list[NDArray[Any]]
    y: NDArray[Any] | None
    source: str
    class_names: tuple[str, ...] = ()
    """In the order that y counts them in; empty where nobody names them."""
    items: tuple[str, ...] = ()
    """Where each sample is from, for samples that are files of their own."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was done to what was read: for a person."""

    def __len__(self) -> int:
        return len(self.x[0] if isinstance(self.x, list) else self.x)

    def first(self, count: int) -> tuple[NDArray[Any] | list[NDArray[Any]], NDArray[Any] | None]:
        """At most so many samples, spread evenly over all, and their targets."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        x = [a[rows] for a in self.x] if isinstance(self.x, list) else self.x[rows]
        return x, None if self.y is None else self.y[rows]
