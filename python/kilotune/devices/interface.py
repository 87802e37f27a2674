"""What a device implements, and what its build says that it can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc.emit import Written

from . import data
from .calls import Calls
from .errors import DeviceError, check_status
from .manifest import Manifest
from .new_classes import NewClasses
from .replay import ReplayLayout

AREAS = ("arena", "state")
"""Memory that `_checksums` tells about."""


class Interface(Calls, ABC):
    """Methods that move bytes, and checks of what is asked for against the build."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        super().__init__()
        self.manifest = manifest
        self.name = name
        self._left: tuple[bytes, int, bytes] | None = None
        """The sample of a training step that was left in the middle."""

    # ---- What a device implements ----

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _infer(self, sample: bytes) -> bytes: ...

    @abstractmethod
    def _train_step(self, sample: bytes, label: int, values: bytes) -> float: ...

    @abstractmethod
    def _remember(self, sample: bytes, label: int, values: bytes) -> None: ...

    @abstractmethod
    def _replay_step(self) -> float: ...

    @abstractmethod
    def _add_class(self, sample: bytes) -> int: ...

    @abstractmethod
    def _apply(self) -> None: ...

    @abstractmethod
    def _set_learning_rate(self, learning_rate: float) -> None: ...

    @abstractmethod
    def _read_state(self) -> bytes: ...

    @abstractmethod
    def _write_state(self, state: bytes) -> None: ...

    @abstractmethod
    def _read_part(self, at: int, length: int) -> bytes:
        """Bytes of the state."""

    @abstractmethod
    def _write_sums(self, at: int, content: bytes) -> None:
        """Change what devices exchange that train together: the number of samples and the accumulators; at: from its beginning."""

    @abstractmethod
    def _export_adapter(self) -> bytes: ...

    @abstractmethod
    def _load_adapter(self, adapter: bytes) -> None: ...

    def _train_slice(self, sample: bytes, label: int, values: bytes, instructions: int) -> float | None:
        """A slice of a training step: its loss when it is done."""
        raise NotImplementedError

    def _replay_slice(self, instructions: int) -> float | None:
        """A slice of a replayed step: its loss when it is done."""
        raise NotImplementedError

    def _checksums(self, ranges: Sequence[Written]) -> list[int]:
        """CRC-32 of ranges of the arena and of the state."""
        raise NotImplementedError

    def _read_arena(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    @abstractmethod
    def _stats(self) -> dict[str, Any]: ...

    @abstractmethod
    def _release(self) -> None:
        """Let go of what the device holds; called once."""

    # ---- What the build can do ----

    def _check_training(self) -> None:
        if not self.manifest.training:
            raise DeviceError(self.name, "the model was built without training", "build it with a method, such as kt.LoRA(rank=4)")

    def _check_alone(self) -> None:
        if self.manifest.shard is not None and self.manifest.shard.count > 1:
            what = f"the build holds part {self.manifest.shard.index} of {self.manifest.shard.count} of the optimizer's state"
            raise DeviceError(self.name, what, "train it in a kt.Group with the devices that hold the others, or build without shard")

    def _check_takes_state(self) -> None:
        if self.manifest.signed:
            check_status(19, self.name)

    def _check_adapters(self) -> None:
        if self.manifest.adapter_bytes == 0:
            raise DeviceError(self.name, "the model was built without a method: it takes no adapter", "build it with a method and train=False")

    def _slice(self, instructions: int | None) -> int:
        """Instructions of a slice: those asked for, or those of the build."""
        if not self.manifest.steps:
            raise DeviceError(self.name, "a training step of this build is done in one", "build with slice_instructions=100_000, for example")
        budget = self.manifest.slice_instructions or 0 if instructions is None else instructions
        if not 1 <= budget < 2**32:
            raise ValueError(f"instructions is {instructions}: it must be from 1 to 4294967295")
        return budget

    def _check_replay(self) -> ReplayLayout:
        self._check_training()
        if self.manifest.replay is None:
            raise DeviceError(self.name, "the model was built without a replay buffer", "build it with replay=kt.Replay(samples=60), for example")
        return self.manifest.replay

    def _check_new_classes(self) -> NewClasses:
        self._check_training()
        if self.manifest.new_classes is None:
            raise DeviceError(self.name, "the model has no room for another class", "build it with kt.Head(extra_classes=4), for example")
        return self.manifest.new_classes

    def _labelled(self, y: ArrayLike) -> bool:
        if self.manifest.targets is None:
            return np.asarray(y).dtype.kind in "iu"
        return self.manifest.targets == "labels" or self.manifest.loss == "information_maximisation"

    def _no_target(self, y: ArrayLike | None) -> None:
        if y is not None:
            raise ValueError("y is given, but this model's loss takes no targets: leave y out")

    def _targets(self, y: ArrayLike | None, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        if self.manifest.targets == "input":
            self._no_target(y)
            return np.zeros(count, np.int32), np.zeros((count, 0), np.float32)
        if y is None:
            raise ValueError("y is missing: this model's loss takes targets")
        if self.manifest.targets == "labels":
            labels = data.prepare_labels(y, count, self.manifest.classes or 0)
            return labels, np.zeros((count, 0), np.float32)
        values = data.prepare_values(y, count, self.manifest.outputs[0], self.manifest.loss)
        if self.manifest.loss in ("bce", "soft_cross_entropy"):
            data.check_probabilities(values, self.manifest.loss)
        return np.zeros(count, np.int32), values
