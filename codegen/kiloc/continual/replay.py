"""A replay buffer: old samples that training goes back to, so that what comes later does not displace what was learned.

An entry is what a training step has in memory where its frozen front ends (the latent: the int8 input of the first layer that trains), with
the sample's target. The front runs once for each sample that is kept; a replayed step begins behind it. Which samples stay and which are drawn
is integer arithmetic on counters and a counter-based generator (`kt/random.h`), so that it is the same on every device; `ReplayBuffer` is the
meaning of runtime/src/core/replay.c in NumPy. With bits=4 two int8 values take a byte, so that twice as many samples fit: `pack`, `unpack`.

Sources: Pellegrini et al., "Latent Replay for Real-Time Continual Learning" (2020); the reservoir is Vitter's algorithm R, "Random Sampling with
a Reservoir" (1985); balancing by class follows Chrysakis and Moens, "Online Continual Learning from Imbalanced Data" (2020), without their
distinction of classes that were once the largest. Fewer bits for what is replayed: Ravaglia et al., "A TinyML Platform for On-Device Continual
Learning with Quantized Latent Replays" (2021).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..errors import CompileError
from ..ir.graph import REPLAY, Graph, Value
from ..ir.types import ELEMENT_BYTES, TensorType
from ..ops.model.embedding import tokens_of

POLICIES: Final = ("reservoir", "class_balanced")
KEEPS: Final = ("latent", "input")
MEMORIES: Final = ("state", "slow")
BITS: Final = (8, 4)
WORD: Final = 4
"""Bytes that transfers of slow memory begin at multiples of, and of the checksum behind an entry there."""
LABELS: Final = ("label", "target")
"""Values that a sample's target is called in the graph."""
MOST_SAMPLES: Final = 32767
MOST_CLASSES: Final = 256
"""A label of an entry is a byte."""

STREAM_PLACE: Final = 0x706C61  # "pla", and "dra": two uses of one seed
STREAM_DRAW: Final = 0x647261
HELD, OFFERED, DRAWN, CLASSES = range(4)
"""Of the buffer's counters; from CLASSES on those offered of each class, where it is balanced."""
MOST: Final = 2**31 - 1

COUNTS = "replay_counts"
LABEL_BYTES = "replay_labels"
TARGETS = "replay_targets"
ENTRIES = "replay_entries"
UNPACKED = "replay_unpacked"
STEP: Final = 16
"""Between two values that four bits tell apart."""


@dataclass(frozen=True)
class Replay:
    """A buffer of old samples in the state, from which training takes some beside each new one.

    samples: how many it holds. policy: which of those offered stay: "reservoir", each with the same probability, or "class_balanced", about
    equally many of each class, and within a class each with the same probability. keep: what of a sample is kept: "latent", what the frozen
    layers in front make of it, so that they are skipped in replay; or "input", the model's input, which is less where a latent is larger.
    memory: where that lies: "state", or "slow", what the program provides beside the arena through `kt/port.h`, such as external RAM or flash;
    counters and targets stay in the state, and one entry where the trained layers read the model's input or values have four bits. bits: of each
    int8 value that is kept: 8, or 4, the nearest of 16 values, of which one stands for 0: half the bytes, so that in the same memory twice as many
    samples are kept.
    """

    samples: int
    policy: str = "reservoir"
    keep: str = "latent"
    memory: str = "state"
    bits: int = 8

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or not isinstance(self.samples, int | np.integer) or not 1 <= self.samples <= MOST_SAMPLES:
            raise CompileError(f"Replay(samples={self.samples!r})", f"is not a whole number from 1 to {MOST_SAMPLES:,}", "60, for example")
        for name, value, known in (("policy", self.policy, POLICIES), ("keep", self.keep, KEEPS), ("memory", self.memory, MEMORIES)):
            if value not in known:
                raise CompileError(f"Replay({name}={value!r})", f"is unknown: a buffer knows {' and '.join(known)}", f'{name}="{known[0]}"')
        if self.bits not in BITS or isinstance(self.bits, bool | float):
            raise CompileError(f"Replay(bits={self.bits!r})", "is unknown: a value of an entry has 8 bits or 4", "bits=8")

    def describe(self) -> str:
        """One line for reports."""
        bits = f" of {self.bits} bits" if self.bits != 8 else ""
        return f"replay of {self.samples} {self.keep}s{bits}, {self.policy}{', in slow memory' if self.memory == 'slow' else ''}"


@dataclass(frozen=True)
class Packed:
    """A part of an entry in four bits a value. values: how many; lowest: what the least of the 16 stands for.

    at: of a part that the trained layers read in the caller's buffer, where it lies once it is unpacked, in bytes; None for others.
    """

    values: int
    lowest: int
    at: int | None


@dataclass(frozen=True)
class ReplayPlan:
    """Where the parts of an entry lie. parts: value -> (offset in the entry, bytes); entry: bytes of one, a multiple of the widest element.

    packed: those in four bits a value. staged: of entries in slow memory, whether trained layers read one of its parts in the caller's buffer or
    one has four bits a value, so that the state holds one entry.
    """

    options: Replay
    parts: dict[str, tuple[int, int]]
    entry: int
    width: int
    classes: int
    target_values: int
    seed: int
    staged: bool = False
    packed: dict[str, Packed] = field(default_factory=dict)

    @property
    def unpacked_bytes(self) -> int:
        """Of an entry's parts that are unpacked in the state, because the trained layers read them in the caller's buffer."""
        return sum(p.values for p in self.packed.values() if p.at is not None)

    @property
    def slow(self) -> bool:
        return self.options.memory == "slow"

    @property
    def stride(self) -> int:
        """Bytes from one entry in slow memory to the next: with its checksum."""
        return -(-self.entry // WORD) * WORD + WORD

    @property
    def slow_bytes(self) -> int:
        """Of all entries in slow memory."""
        return self.options.samples * self.stride if self.slow else 0

    @property
    def label_bytes(self) -> int:
        """Bytes of an entry's target, which lies beside the entry."""
        return 1 if self.classes else 4 * self.target_values

    @property
    def bytes(self) -> int:
        """Of what of the buffer is in the state, with its counters."""
        return sum(v.type.bytes for v in self.values())

    @property
    def balanced(self) -> bool:
        return self.options.policy == "class_balanced"

    def values(self) -> list[Value]:
        """The members of the state."""
        samples = self.options.samples
        found = [_value(COUNTS, (CLASSES + (self.classes if self.balanced else 0),), "int32")]
        if self.classes:
            found.append(_value(LABEL_BYTES, (samples,), "uint8"))
        if self.target_values:
            found.append(_value(TARGETS, (samples * self.target_values,), "float32"))
        dtype = {1: "int8", 2: "int16", 4: "int32"}[self.width]
        if self.unpacked_bytes:
            found.append(_value(UNPACKED, (self.unpacked_bytes,), "int8"))
        held = samples if not self.slow else int(self.staged)
        return [*found, _value(ENTRIES, (held * self.entry // self.width,), dtype)] if held else found


def plan_replay(options: Replay, graph: Graph, values: Sequence[str], seed: int, caller: Container[str] = ()) -> ReplayPlan:
    """The buffer of a training slice, of whose values these make an entry; caller: those that lie in the caller's buffers. Raises CompileError
    where it cannot hold the targets."""
    read = graph.node("loss").inputs
    classes, targets = (graph.type(read["y"]).size if operand in read else 0 for operand in LABELS)
    if classes > MOST_CLASSES:
        what = f"the model has {classes} classes, a label of the buffer is a byte"
        raise CompileError("replay", what, f"train a model of at most {MOST_CLASSES} classes, or without replay")
    if options.policy == "class_balanced" and not classes:
        what = "balances classes, but the targets of this loss are no class numbers"
        raise CompileError('Replay(policy="class_balanced")', what, 'policy="reservoir", or loss="cross_entropy"')
    if graph.streams():
        what = "keeps a state from call to call, which a sample out of its order does not fit"
        raise CompileError(graph.origin, what, "train it without replay")
    packed = _packed(graph, values, caller) if options.bits == 4 else {}
    parts, at, width = dict[str, tuple[int, int]](), 0, 1
    for name in values:
        t = graph.type(name)
        element = ELEMENT_BYTES[t.dtype] if options.memory == "state" else WORD
        at, width = -(-at // element) * element, max(width, element)
        parts[name] = (at, -(-packed[name].values // 2) if name in packed else t.bytes)
        at += parts[name][1]
    staged = options.memory == "slow" and (bool(packed) or any(name in caller for name in values))
    return ReplayPlan(options, parts, -(-at // width) * width, width, classes, targets, seed, staged, packed)


def _packed(graph: Graph, values: Sequence[str], caller: Container[str]) -> dict[str, Packed]:
    """The parts of an entry that take four bits a value: int8 values that stand for numbers. Raises CompileError where there are none."""
    found, at = dict[str, Packed](), 0
    tokens = tokens_of(graph)
    for name in values:
        t = graph.type(name)
        if t.dtype == "int8" and t.quantization is not None and name not in tokens:
            found[name] = Packed(t.size, lowest(t.zero_point), at if name in caller else None)
            at += t.size if name in caller else 0
    if not found:
        what = f"no value of an entry is of int8 and stands for a number: {', '.join(values)}"
        raise CompileError("Replay(bits=4)", what, "bits=8")
    return found


def lowest(zero_point: int) -> int:
    """The least of the 16 codes that four bits tell apart, STEP from each other: so that the zero point is one of them."""
    return -128 + (zero_point + 128) % STEP


def pack(values: NDArray[np.int8], least: int) -> NDArray[np.uint8]:
    """Two values a byte, the first in its lower half; each the number of the nearest code from `least` up. values: [N]."""
    numbers = np.clip(values.astype(np.int32) - least + STEP // 2 >> 4, 0, 15).astype(np.uint8)
    pairs = np.append(numbers, np.zeros(len(numbers) % 2, np.uint8)).reshape(-1, 2)
    return np.asarray(pairs[:, 0] | pairs[:, 1] << 4, np.uint8)


def unpack(packed: NDArray[np.uint8], count: int, least: int) -> NDArray[np.int8]:
    """The codes that they stand for [count]."""
    numbers = np.stack([packed & 15, packed >> 4], 1).reshape(-1)[:count]
    return (numbers.astype(np.int32) * STEP + least).astype(np.int8)


def _value(name: str, shape: tuple[int, ...], dtype: str) -> Value:
    return Value(name, TensorType(shape, dtype), REPLAY, np.zeros(shape, dtype))


def below(n: int, seed: int, counter: int, stream: int) -> int:
    """A number from 0 to n - 1: the upper half of n times 32 random bits. n < 2^31."""
    return int(nm.random_bits(seed, counter, stream)) * n >> 32


@dataclass
class ReplayBuffer:
    """What runtime/src/core/replay.c does to a buffer, one call after the other.

    samples, classes (0: reservoir) and seed as built. labels: of the entries [held]; offered: samples so far; of_class: of each class.
    """

    samples: int
    classes: int = 0
    seed: int = 0
    labels: list[int] = field(default_factory=list)
    offered: int = 0
    drawn: int = 0
    of_class: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        self.of_class = np.zeros(self.classes, np.int64)

    def place(self, label: int) -> int | None:
        """The entry that the next sample takes, held from now on; None: it is not kept."""
        number, self.offered = self.offered, min(self.offered + 1, MOST)
        if self.classes:
            self.of_class[label] = min(self.of_class[label] + 1, MOST)
        if len(self.labels) < self.samples:
            self.labels.append(label)
            return len(self.labels) - 1
        entry = self._of_class(label, number) if self.classes else below(self.offered, self.seed, number, STREAM_PLACE)
        if entry is None or entry >= self.samples:
            return None
        self.labels[entry] = label
        return entry

    def _of_class(self, label: int, number: int) -> int | None:
        """Balanced: an entry of the largest class; of the sample's own, where that is the largest, with the probability of a reservoir."""
        counts = np.bincount(self.labels, minlength=self.classes)
        largest = int(counts.argmax())
        if counts[label] == counts[largest]:
            rank = below(int(self.of_class[label]), self.seed, number, STREAM_PLACE)
            largest = label
        else:
            rank = below(int(counts[largest]), self.seed, number, STREAM_PLACE)
        entries = np.flatnonzero(np.array(self.labels) == largest)
        return int(entries[rank]) if rank < len(entries) else None

    def drop(self, lost: Container[int]) -> None:
        """Entries that slow memory has lost are none: the last ones that are whole take their places."""
        entry, held = 0, len(self.labels)
        while entry < held:
            if entry in lost:
                held -= 1
                while held > entry and held in lost:
                    held -= 1
                self.labels[entry] = self.labels[held]
            entry += 1
        del self.labels[held:]

    def draw(self) -> int | None:
        """The entry of the next replayed step; None: there is none."""
        if not self.labels:
            return None
        entry = below(len(self.labels), self.seed, self.drawn, STREAM_DRAW)
        self.drawn = min(self.drawn + 1, MOST)
        return entry


def offsets(layout: Any) -> dict[str, int]:
    """Where the members of the buffer lie in the state, by name."""
    return {v.name: layout.offset(v.name) for v in layout.values if v.kind == REPLAY}
