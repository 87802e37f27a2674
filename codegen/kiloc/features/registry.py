"""Which front ends there are, and how manifests describe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from ..errors import CompileError
from ..ir.types import TensorType
from .front_end import FrontEnd
from .mel import LogMel, Mfcc
from .micro import MicroFrontend
from .statistics import Statistics

FRONT_ENDS: dict[str, type[FrontEnd]] = {cls.name: cls for cls in (Mfcc, LogMel, MicroFrontend, Statistics)}


def described(front: FrontEnd) -> dict[str, Any]:
    """For a manifest: its name and fields."""
    return {"name": front.name} | asdict(front)


def front_end(description: Mapping[str, Any]) -> FrontEnd:
    """The front end of `described`. ValueError where it is none."""
    cls = FRONT_ENDS.get(str(description.get("name")))
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in description.items() if name != "name"}
    if cls is None or set(given) != {f.name for f in fields(cls)}:
        raise ValueError(f"{dict(description)!r} is no front end of this version")
    try:
        return cls(**given)
    except CompileError as error:
        raise ValueError(str(error)) from None


def check_fits(front: FrontEnd, inputs: Sequence[TensorType]) -> None:
    """Raises CompileError where the model's inputs are not what the front end makes."""
    shown = f"{type(front).__name__} gives {front.frames} x {front.width} values"
    if len(inputs) != 1 or inputs[0].dtype != "int8":
        types = ", ".join(t.dtype for t in inputs)
        raise CompileError("features", f"{shown} as int8, the model's inputs are {types}", "leave features out, or take a model of one int8 input")
    if inputs[0].size != front.frames * front.width:
        what = f"{shown}, the model takes {' x '.join(map(str, inputs[0].shape[1:]))}"
        raise CompileError("features", what, front.remedy)
