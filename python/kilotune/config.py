"""A trainable set as a JSON file: what `kilotune search` writes and `kilotune build --config` reads.

    {"kilotune": "0.1.0", "format": 1, "model": "kws", "methods": [{"method": "lora", "rank": 4, "layers": "last:2"}],
     "optimizer": {"optimizer": "SGD", "lr": 0.1}, "loss": {"loss": "CrossEntropy"}, "storage": "block16", "accumulate": 1,
     "training": {"epochs": 10, "decay": "linear"}}

Methods are named as on the command line, optimizers and losses as in Python; a field that is left out has the default of its class. Files that
earlier versions wrote name methods by their Python classes ("LoRA"); they are read, too.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kiloc
from kiloc import CompileError, CrossEntropy, Loss, optim
from kiloc.optim import STORAGES, Optimizer, Schedule, parse_schedule
from kiloc.peft import REGISTRY, Method

from ._version import __version__
from .files import read_json, write_whole
from .plugins import load_installed

FORMAT = 1
"""Of the file. One that names none is of format 1."""


def _subclasses(module: Any, base: type) -> dict[str, type]:
    """The concrete classes that a package exports, by name."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {name: c for name, c in found.items() if isinstance(c, type) and issubclass(c, base) and c is not base}


OPTIMIZERS = _subclasses(optim, Optimizer)
LOSSES: dict[str, type] = {kind.__name__: kind for kind in kiloc.LOSSES.values()}


@dataclass(frozen=True)
class Config:
    """What is trained and how: options of `kt.build`, and in `training` what `Device.fit` takes: epochs and decay."""

    methods: tuple[Method, ...]
    optimizer: Optimizer
    model: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    loss: Loss = field(default_factory=CrossEntropy)
    storage: str = "block16"
    accumulate: int = 1

    def to_dict(self) -> dict[str, Any]:
        """What `save` writes, as plain values for JSON."""
        return {
            "kilotune": __version__,
            "format": FORMAT,
            "model": self.model,
            "methods": [_entry("method", m.name, m) for m in self.methods],
            "optimizer": _entry("optimizer", type(self.optimizer).__name__, self.optimizer),
            "loss": _entry("loss", type(self.loss).__name__, self.loss),
            "storage": self.storage,
            "accumulate": self.accumulate,
            "training": dict(self.training),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file for `kt.load_config` and `kilotune build --config`. It appears whole or not at all; CompileError where it cannot be
        written."""
        write_whole(path, json.dumps(self.to_dict(), indent=1) + "\n")


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a file that `Config.save` or a person wrote. Raises CompileError naming what is wrong in it."""
    load_installed()
    where, hint = str(path), "make one with `kilotune search MODEL --data NPZ --ram SIZE -o FILE`"
    try:
        raw = read_json(Path(path))
    except (OSError, ValueError) as error:
        raise CompileError(where, f"is not a configuration ({error})", hint) from None
    if isinstance(raw, dict) and raw.get("format", FORMAT) != FORMAT:
        made = f"the configuration is in format {raw['format']!r}, made by kilotune {raw.get('kilotune')}"
        raise CompileError(where, f"{made}: this is kilotune {__version__}, which reads format {FORMAT}", "install the other one, or search again")
    if not isinstance(raw, dict) or not isinstance(raw.get("methods"), list):
        raise CompileError(where, 'holds no list "methods"', hint)
    known: dict[str, type] = {**{cls.__name__: cls for cls in REGISTRY.values()}, **REGISTRY}
    chosen = tuple(_made(entry, "method", known, where) for entry in raw["methods"])
    optimizer = _made(raw.get("optimizer", {"optimizer": "SGD"}), "optimizer", OPTIMIZERS, where)
    training = raw.get("training", {})
    if not isinstance(training, dict):
        raise CompileError(where, '"training" is not an object', 'write {"epochs": 10, "decay": "linear"}')
    loss = _made(raw.get("loss", {"loss": "CrossEntropy"}), "loss", LOSSES, where)
    storage, accumulate = raw.get("storage", "block16"), raw.get("accumulate", 1)
    if storage not in STORAGES:
        raise CompileError(where, f"{storage!r} is no storage", f"formats are {', '.join(STORAGES)}")
    if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
        raise CompileError(where, f"accumulate is {accumulate!r}, not a number of samples", 'write "accumulate": 1')
    return Config(chosen, optimizer, str(raw.get("model", "")), training, loss, storage, accumulate)


def _entry(kind: str, name: str, made: Any) -> dict[str, Any]:
    """A method or an optimizer as JSON; fields with their default value are left out, layers and lr are not."""
    found: dict[str, Any] = {kind: name}
    for f in dataclasses.fields(made):
        value = getattr(made, f.name)
        if value != f.default or f.name in ("layers", "rank", "lr"):
            found[f.name] = list(value) if isinstance(value, tuple) else value.describe() if isinstance(value, Schedule) else value
    return found


def _made(entry: Any, kind: str, classes: Mapping[str, type], where: str) -> Any:
    name = str(entry.get(kind)) if isinstance(entry, dict) else ""
    if name not in classes:
        near = difflib.get_close_matches(name, classes, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CompileError(where, f"{name!r} is no {kind}", f"{hint}there are {', '.join(REGISTRY if kind == 'method' else classes)}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k != kind}
    known = {f.name for f in dataclasses.fields(classes[name])}
    if not fields.keys() <= known:
        raise CompileError(where, f"{name} has no {', '.join(sorted(fields.keys() - known))}", f"its fields are {', '.join(sorted(known)) or 'none'}")
    if isinstance(schedule := fields.get("schedule"), str):
        fields["schedule"] = parse_schedule(schedule)
    try:
        return classes[name](**fields)
    except TypeError as error:
        raise CompileError(where, f"{name} cannot be made: {error}", "compare with what `kilotune search` writes") from None
