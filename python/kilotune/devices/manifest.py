"""The manifest of a build directory: what a device needs to know about its model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kiloc.emit import SlicedStep, Written
from kiloc.features import FrontEnd, front_end

from .._version import __version__
from ..adapters.limits import ChannelLimits
from ..files import read_json, recover
from .errors import DeviceError
from .new_classes import NewClasses, new_classes
from .replay import ReplayLayout, replay_layout

T = TypeVar("T")

_MAKE = "make one with `kilotune build MODEL -o DIR`"

FORMAT = 1
"""Of a build directory. A manifest that names none is of format 1."""

DTYPES = ("int8", "uint8", "int16", "int32")
"""Of inputs and outputs. A manifest that names none means int8."""

TARGETS_OF_LOSSES = {
    "cross_entropy": "labels", "soft_cross_entropy": "values", "bce": "values", "mse": "values", "huber": "values", "next_token": "input",
    "information_maximisation": "input",
}  # fmt: skip
"""Losses, and what their targets are where the manifest does not say."""


@dataclass(frozen=True)
class Tensor:
    """An input or output: real = (q - zero_point) * scale. shape includes the batch axis, which is 1."""

    shape: tuple[int, ...]
    scale: float
    zero_point: int
    softmax: bool = False
    logistic: bool = False
    """Whether the values are probabilities of a softmax, or each of its own."""
    dtype: str = "int8"
    """Element type of q: "int8", "uint8", "int16" or "int32"."""
    tokens: int | None = None
    """Of an input of tokens, how many there are: real values are their numbers. None for any other tensor."""

    @cached_property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without the batch axis."""
        return self.shape[1:]

    @cached_property
    def size(self) -> int:
        """Values of one sample."""
        return math.prod(self.shape)

    @cached_property
    def width(self) -> int:
        """Bytes of a value."""
        return np.dtype(self.dtype).itemsize

    @cached_property
    def stored(self) -> np.dtype[Any]:
        """The type of a value as it lies in a buffer."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest q."""
        if self.tokens is not None:
            return self.zero_point, self.zero_point + self.tokens - 1
        limits = np.iinfo(self.dtype)
        return int(limits.min), int(limits.max)


def places(tensors: tuple[Tensor, ...]) -> tuple[tuple[int, ...], int]:
    """Where tensors lie behind each other in one buffer, and its bytes: each begins at a multiple of its values' width, as `kt/model.h` says."""
    if len(tensors) == 1:
        return (0,), tensors[0].size * tensors[0].width
    found, at = [], 0
    for t in tensors:
        at = -(-at // t.width) * t.width
        found.append(at)
        at += t.size * t.width
    widest = max(t.width for t in tensors)
    return tuple(found), -(-at // widest) * widest


@dataclass(frozen=True)
class Part:
    """What of the optimizer's state a device holds, and where in its state lies what it exchanges (`kiloc.emit.shard_layout`)."""

    index: int
    count: int
    at: int
    """Byte of the number of samples; the accumulators of all parameters are behind it."""
    elements: int
    own: tuple[int, int]
    """The elements [first, end) that the device steps."""
    sums: tuple[int, int]
    """Those of the parameters that these are of, whose sums it needs."""
    moments: tuple[tuple[int, int], ...]
    """(byte, bytes) in the state of what no other device holds."""
    flags: tuple[int, int]
    """(byte, bytes) of marks that count for all devices where one has set them."""
    used: int
    """Bytes of the state without padding."""

    @property
    def moment_bytes(self) -> int:
        return sum(size for _, size in self.moments)


@dataclass(frozen=True)
class Manifest:
    """manifest.json of a build directory, checked."""

    directory: Path
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    loss: str | None
    huber_delta: float | None
    """Of Huber's loss: the difference from which on it is linear."""
    diversity: float
    prior: tuple[float, ...]
    """Of information maximisation: the weight of the spread over classes, and how often each is expected; empty for all alike."""
    moments: tuple[dict[str, Any], ...]
    """Layers whose moments the state keeps: "layer", "at" which byte, "floor" of its clamp, "units": codes of a step of each channel's bias, and
    "source": the moments of the original domain."""
    channel_limits: tuple[ChannelLimits, ...]
    """Of channels that the build computes without: what adapters have to keep."""
    targets: str | None
    """What a training sample brings: "labels", "values", or "input" for nothing: the loss reads the input."""
    classes: int | None
    accumulate: int
    shard: Part | None
    """None where the device trains alone."""
    training: bool
    target: str
    base_hash: bytes
    state_layout: int | None
    """First 4 bytes of every state: a number for its members and their meaning. None where it is not known."""
    state_bytes: int
    page_bytes: int
    """Of what lies in slow memory."""
    arena_infer: int
    arena_train: int
    adapter_bytes: int
    adapter_slot_bytes: int
    resident: int
    """Adapters that a pool in memory holds."""
    adapter_slots: bool
    """Whether two slots in flash take updates."""
    private_updates: int
    """Values of an update that the device makes under noise; 0: it makes none."""
    size: bool
    """Whether the code is compiled for size."""
    signed: bool
    """Whether adapters must be signed by a key, and states are taken from nobody."""
    learning_rate: float | None
    schedule: str | None
    new_head: bool
    """Whether the last layer is one for new classes, which starts from nothing."""
    class_names: tuple[str, ...]
    """In the order that labels count them in; empty where the build was told none."""
    features: FrontEnd | None
    """What makes the input of a recording."""
    kept: tuple[tuple[int, bytes], ...]
    """Where in the state lies what the model keeps from call to call, and what that is at first."""
    features_kept: int | None
    """Where in the state lies what that keeps from slice to slice; None where each recording begins anew."""
    slices: bool
    """Whether recordings are slices of one, in their order: the model goes on from call to call."""
    slice_instructions: int | None
    """Of a slice of a training step, as the build was asked for; None where a step is done in one."""
    steps: tuple[SlicedStep, ...]
    """Of a training step that may be left after each of them; empty where it is done in one."""
    state_members: tuple[Written, ...]
    """What the state holds and where, in its order; empty where the build does not say."""
    replay: ReplayLayout | None
    """Where in the state the replay buffer lies; None where there is none."""
    new_classes: NewClasses | None
    """Where in the state it stands which classes are open; None where none can be added."""
    sources: tuple[str, ...]
    include: tuple[str, ...]

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs, concatenated."""
        return places(self.inputs)[1]

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs, concatenated."""
        return places(self.outputs)[1]

    @property
    def target_values(self) -> int:
        """Floats in a target, which is of the first output; 0 when targets are labels or there is no training."""
        return self.outputs[0].size if self.training and self.targets == "values" else 0

    @property
    def arena_bytes(self) -> int:
        """What the model must be given: the larger of the two arenas."""
        return max(self.arena_infer, self.arena_train)

    @classmethod
    def load(cls, build_dir: str | os.PathLike[str]) -> Manifest:
        """Read build_dir/manifest.json; DeviceError says what is wrong with it."""
        path = Path(build_dir) / "manifest.json"
        recover(Path(build_dir))
        try:
            data = read_json(path)
        except FileNotFoundError:
            raise DeviceError(str(build_dir), "this is not a build directory: it has no manifest.json", _MAKE) from None
        except (OSError, ValueError) as error:
            what = f"this is not a build directory: its manifest cannot be read ({error})"
            raise DeviceError(str(path), what, _MAKE) from error
        if not isinstance(data, dict):
            raise DeviceError(str(path), "this is not a build directory: its manifest holds no JSON object", _MAKE)
        if data.get("format", FORMAT) != FORMAT:
            made = f"the build is in format {data['format']!r}, made by kilotune {data.get('kilotune')}"
            what = f"{made}: this is kilotune {__version__}, which reads format {FORMAT}"
            raise DeviceError(str(path), what, "build it again with this version, or install the other one")
        try:
            return cls._from_json(Path(build_dir).resolve(), data)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            what = f"entry {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DeviceError(str(path), f"this is not a build directory, or the manifest is damaged: {what}", _MAKE) from error

    @classmethod
    def _from_json(cls, directory: Path, data: dict[str, Any]) -> Manifest:
        manifest = cls(
            directory=directory,
            name=str(data["name"]),
            inputs=tuple(_tensor(t) for t in data["inputs"]),
            outputs=tuple(_tensor(t) for t in data["outputs"]),
            loss=_optional(str, data["loss"]),
            huber_delta=_optional(float, data.get("huber_delta")),
            diversity=float(data.get("diversity", 1.0)),
            prior=tuple(float(share) for share in data.get("prior") or ()),
            moments=tuple(dict(layer) for layer in data.get("moments", [])),
            channel_limits=tuple(ChannelLimits.read(entry) for entry in data.get("channel_limits", [])),
            targets=_optional(str, data.get("targets", TARGETS_OF_LOSSES.get(data["loss"]))),
            classes=_optional(int, data["classes"]),
            accumulate=int(data["accumulate"]),
            shard=_optional(_part, data.get("shard")),
            training=bool(data["training"]),
            target=str(data["target"]),
            base_hash=bytes.fromhex(data["base_hash"]),
            state_layout=_optional(int, data.get("state_layout")),
            state_bytes=int(data["state_bytes"]),
            page_bytes=int(data.get("page_bytes", 0)),
            arena_infer=int(data["arena_bytes"]["infer"]),
            arena_train=int(data["arena_bytes"].get("train") or 0),
            adapter_bytes=int(data["adapter_bytes"]),
            adapter_slot_bytes=int(data.get("adapter_slot_bytes", 0)),
            resident=int(data.get("resident", 0)),
            adapter_slots=bool(data.get("adapter_slots", False)),
            private_updates=int(data.get("private_updates", 0)),
            size=bool(data.get("size", False)),
            signed=bool(data.get("signed", False)),
            learning_rate=_optional(float, data.get("learning_rate")),
            schedule=_optional(str, data.get("schedule")),
            new_head=bool(data.get("new_head", False)),
            class_names=_names(data.get("class_names", [])),
            features=_optional(front_end, data.get("features")),
            kept=tuple((int(part["at"]), bytes.fromhex(part["first"])) for part in data.get("kept", [])),
            features_kept=_optional(int, data.get("features_kept")),
            slices=bool(data.get("slices", False)),
            slice_instructions=_optional(int, (data.get("sliced_step") or {}).get("budget")),
            steps=tuple(_step(s) for s in (data.get("sliced_step") or {}).get("steps", [])),
            state_members=tuple(_written(w) for w in data.get("state_members", [])),
            replay=_optional(replay_layout, data.get("replay")),
            new_classes=_optional(new_classes, data.get("new_classes")),
            sources=_names(data["sources"]),
            include=_names(data["include"]),
        )
        if not manifest.name.isidentifier():
            raise ValueError(f"the name {manifest.name!r} is not a C name")
        if len(manifest.base_hash) != 8:
            raise ValueError("base_hash is not 8 bytes")
        if manifest.loss not in (None, *TARGETS_OF_LOSSES):
            raise ValueError(f"the loss {manifest.loss!r} is unknown")
        if manifest.loss == "huber" and not (manifest.huber_delta and manifest.huber_delta > 0):
            raise ValueError("huber_delta is missing")
        if manifest.targets not in (None, "labels", "values", "input") or (manifest.training and manifest.targets is None):
            raise ValueError(f"the targets {manifest.targets!r} are unknown")
        if manifest.training and manifest.targets == "labels" and not manifest.classes:
            raise ValueError("classes is missing")
        return manifest


def _tensor(data: dict[str, Any]) -> Tensor:
    shape = tuple(int(n) for n in data["shape"])
    if not shape or shape[0] != 1 or min(shape) < 1:
        raise ValueError(f"the shape {list(shape)} has no batch axis of 1")
    dtype = str(data.get("dtype", "int8"))
    if dtype not in DTYPES:
        raise ValueError(f"the type {dtype!r} is none of {', '.join(DTYPES)}")
    softmax, logistic = (bool(data.get(kind, False)) for kind in ("softmax", "logistic"))
    tokens = _optional(int, data.get("tokens"))
    if tokens is not None and not 1 <= tokens <= 256:
        raise ValueError(f"an input has {tokens} tokens")
    return Tensor(shape, float(data["scale"]), int(data["zero_point"]), softmax, logistic, dtype, tokens)


def _written(data: dict[str, Any]) -> Written:
    found = Written(str(data["value"]), str(data["area"]), int(data["offset"]), int(data["bytes"]))
    if found.area not in ("arena", "state") or found.offset < 0 or found.bytes < 0:
        raise ValueError(f"{data!r} is no place in memory")
    return found


def _step(data: dict[str, Any]) -> SlicedStep:
    name, kernel, phase = (str(data[key]) for key in ("name", "kernel", "phase"))
    return SlicedStep(name, kernel, phase, int(data["instructions"]), tuple(_written(w) for w in data["writes"]))


def _part(data: dict[str, Any]) -> Part:
    def pair(given: Any) -> tuple[int, int]:
        first, second = given
        return int(first), int(second)

    return Part(
        index=int(data["index"]),
        count=int(data["count"]),
        at=int(data["at"]),
        elements=int(data["elements"]),
        own=pair(data["own"]),
        sums=pair(data["sums"]),
        moments=tuple(pair(m) for m in data["moments"]),
        flags=pair(data["flags"]),
        used=int(data["used"]),
    )


def _names(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise ValueError(f"{data!r} is no list of names")
    return tuple(data)


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)
