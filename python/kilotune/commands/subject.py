"""MODEL of `train`, `evaluate` and `predict`: a build directory, or a model file that is built for the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from kiloc import CrossEntropy, as_loss
from kiloc.features import check_fits
from kiloc.peft import BiasOnly, LoRA, Method

from ..building import Build, build, open_build
from ..cache import scratch_directory
from ..data import Dataset, Wanted
from ..devices.manifest import Manifest
from ..model import Model, load
from ..oracles import tensor_of
from .front_ends import made_front_end
from .losses import made_loss
from .methods import made_methods, options_of_methods
from .options import OF_TRAINING, made_optimizer, named
from .reporting import note

USUAL: tuple[Method, ...] = (BiasOnly(), LoRA(layers="all"))
"""What is trained of a model file where nothing is named; docs/accuracy.md compares it with other choices."""
CALIBRATION = 32
"""Samples of --data that the gradients' shifts are chosen on."""

build_option = click.option(
    "--build", "build_folder", type=click.Path(file_okay=False), default=None, help="Keep the build of a model file in this folder."
)


@dataclass(frozen=True)
class Subject:
    """What a command runs. build: made before; model: a file that is still to be built, with `options` of `kilotune.build`."""

    wanted: Wanted
    build: Build | None = None
    model: Model | None = None
    folder: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def opened(self, samples: Dataset) -> Iterator[Build]:
        """The build, made now if need be: samples calibrate one that trains. It goes again unless its folder was named."""
        if self.build is not None:
            yield self.build
            return
        assert self.model is not None
        calibration = samples.first(CALIBRATION) if self.options["train"] and self.options["method"] else None
        made: Any = None if calibration is None else calibration if calibration[1] is not None else calibration[0]
        options = self.options | {"calibration": made, "class_names": self.wanted.class_names, "measure": self.folder is not None}
        if self.folder is not None:
            yield build(self.model, self.folder, **options)
            return
        with scratch_directory() as scratch:
            yield build(self.model, scratch / "build", **options)


def subject(model: str, options: dict[str, Any], *, trains: bool) -> Subject:
    """What MODEL names. Takes the options of methods, training and build out of those of the command."""
    folder, names = options.pop("build_folder"), options.pop("class_names")
    front = made_front_end(options.pop("features"), options.pop("feature_fields"))
    if Path(model).is_dir():
        _refuse_build_options(folder)
        for name in ("methods", "layers", *options_of_methods(), *(OF_TRAINING if trains else ()), *(("lr",) if trains else ())):
            options.pop(name)
        made = open_build(model)
        return Subject(named(Wanted.by(Manifest.load(made.directory)), names), build=made)
    loaded = load(model)
    if front is not None and not options.get("by_position"):  # else of one position: checked where it is built
        check_fits(front, [loaded.graph.type(name) for name in loaded.graph.inputs])
    methods = made_methods(options)
    if not methods and (trains or options["adapter"] is not None):
        methods = list(USUAL)
        if trains:
            what = " and ".join(m.describe() for m in methods)
            note("note", f"what is trained: {what}; --method names another choice, and `kilotune search` finds one for a budget")
    given: dict[str, Any] = {"method": methods or None, "train": trains or not methods}
    loss: Any = "cross_entropy"
    if trains:
        loss = made_loss(options)
        given |= {"optimizer": made_optimizer(options), "loss": loss, "storage": options.pop("storage"), "accumulate": options.pop("accumulate")}
    wanted = replace(wanted_of(loaded, methods, loss), features=front, slices=bool(loaded.graph.streams()) and not methods)
    return Subject(named(wanted, names), model=loaded, folder=folder, options=given | {"features": front})


def wanted_of(model: Model, methods: Sequence[Method], loss: Any) -> Wanted:
    """What a model file will take once it is built."""
    graph = model.graph
    inputs = tuple(tensor_of(graph, name) for name in graph.inputs)
    outputs = graph.type(graph.outputs[0]).size
    made = as_loss(loss)
    if not isinstance(made, CrossEntropy):
        return Wanted(inputs, "input" if getattr(made, "target", "given") == "input" else "values", None, outputs)
    classes = next((m.classes for m in methods if getattr(m, "classes", None)), outputs)  # type: ignore[attr-defined]
    return Wanted(inputs, "labels", classes)


def _refuse_build_options(folder: str | None) -> None:
    """A build directory says itself what is trained and how."""
    context = click.get_current_context()
    names = ("methods", "layers", "features", *options_of_methods(), *OF_TRAINING, "lr")
    given = [n for n in names if n in context.params and context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    if given or folder:
        shown = ", ".join(f"--{n}" for n in [*given, *(["build"] if folder else [])]).replace("--methods", "--method").replace("_", "-")
        raise click.UsageError(f"{shown}: MODEL is a build directory, which says what is trained; they are of `kilotune build`, or of a model file")
