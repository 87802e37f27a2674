"""Everything that decides what is generated, and what no stage can make sense of."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .continual import Replay
from .errors import CompileError
from .features import FRONT_ENDS, FrontEnd
from .ir.graph import Graph
from .losses import Loss, as_loss
from .optim import SGD, STORAGES, Optimizer, Shard, check_shard
from .peft import Method

PROFILES = ("tflm", "litert")
BUFFERS = ("caller", "arena")
OFFLOADS = ("none", "optimizer", "activations", "all")
BACKWARD_WEIGHTS = ("auto", "transposed", "shared")
CONSTANT_CHANNELS = ("all", "frozen")
C_HEADERS = frozenset(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef "
    "stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype".split()
)


@dataclass(frozen=True)
class SlowMemory:
    """Where offloaded values lie. size: bytes, None: as many as it takes. cost: MACs of the processor in the time of a byte's way in or out."""

    size: int | None = None
    cost: float = 1.0


@dataclass(frozen=True)
class AdapterOptions:
    """What a build asks of the adapters that it takes.

    public_key: 32 bytes, or the path of a key file; an adapter must be signed with the secret key that belongs to it, and no state is
    taken from outside. None: adapters are checked for damage, not for origin. rollback_protection: in a slot, only an adapter with a
    higher sequence number replaces another, and one with a lower number is taken nowhere. resident: adapters that wait in memory beside
    the active one; they count in the RAM budget. slots: two in flash, for updates over the air. self_test: samples [N, ...] and labels
    that stay in the firmware; an update that makes more than `permitted` of them wrong that were right is not taken. private_updates: the build
    brings kt/private_update.h, with which firmware bounds what it learned and adds noise before it sends it.
    """

    public_key: bytes | str | os.PathLike[str] | None = None
    rollback_protection: bool = False
    resident: int = 0
    slots: bool = False
    self_test: tuple[NDArray[Any], NDArray[Any]] | None = field(default=None, compare=False)
    permitted: int = 0
    private_updates: bool = False


@dataclass(frozen=True)
class Options:
    """Everything that decides what is generated."""

    methods: tuple[Method, ...] = ()
    optimizer: Optimizer = field(default_factory=SGD)
    loss: Loss | str = "cross_entropy"
    storage: str = "block16"
    """Of trained tensors other than biases: "block16", or "block8" with stochastic rounding."""
    accumulate: int = 1
    """Samples an update. 1: each sample updates at once, part by part, and the state holds no gradients."""
    slice_instructions: int | None = None
    """A training step can be done in slices of about so many instructions, between which the model infers; None: it is done in one."""
    moments: bool = False
    """Whether a training step also keeps running moments of the layers with a trained gain: `passes/channel_moments.py`."""
    shard: Shard | None = None
    """(index, count): which part of the optimizer's state this device keeps, where several train together; None: all, and gradients are summed in
    float32. (0, 1) keeps all and sums as a group does."""
    target: str = "cortex-m4"
    ram: int | None = None
    flash: int | None = None
    stack: int | None = None
    profile: str = "tflm"
    calibration: NDArray[Any] | tuple[NDArray[Any], ...] | None = None
    """Inputs of the original domain [N, ...], of the model's type, several in a tuple; None: random inputs, and the report says so."""
    calibration_target: NDArray[Any] | None = None
    seed: int = 0
    name: str | None = None
    buffers: str = "caller"
    """Where inputs and results lie: in buffers of the caller, or in the "arena", which the caller then writes and reads without a copy."""
    offload: str = "none"
    """What lies in slow memory: nothing, the moments of the "optimizer", which each update pages in and out again, saved "activations" where
    the arena has no room for them, or "all" of that."""
    moments_in_ram: int = 0
    """Bytes of moments that stay in the state where the others lie in slow memory: those of whole tensors, the largest that fit first."""
    slow: SlowMemory = field(default_factory=SlowMemory)
    attention_window: int | None = None
    """Positions that one sees on either side in attention, itself included; None: as the model has it."""
    by_position: bool = False
    """Inference takes one position of a sequence a call, and keeps what later ones need of it."""
    speed: bool = False
    """Kernels that are faster for several times the flash."""
    size: bool = False
    """One portable kernel of each kind, compiled for size: less flash, and slower."""
    backward_weights: str = "auto"
    """What gradients to inputs read: a second, "transposed" copy of the weights, or those of inference, "shared"; "auto": a copy where
    it is faster and `flash` has room for it, but where each step can make it at little cost."""
    constant_channels: str = "all"
    """Of channels that hold one value for every input: "all" that are proved to go without a trace, also where layers are trained, or those
    in front of everything trained, the "frozen" ones."""
    optimal: bool = False
    """Search for the best placement and prove how good it is."""
    front: bool = False
    """Search what computing values twice would save, for the report."""
    train: bool = True
    """False: the methods' trained values come as adapters only; nothing is trained."""
    adapters: AdapterOptions = field(default_factory=AdapterOptions)
    class_names: tuple[str, ...] = ()
    """Of what the first output tells apart, in its order; the header names them. Empty: nobody named them."""
    features: FrontEnd | None = None
    """What makes the model's input of a recording; None: the caller brings the input."""
    replay: Replay | None = None
    """A buffer of old samples that training goes back to."""

    @property
    def kernels(self) -> str:
        """The target whose kernels are chosen: "" where all are portable."""
        return "" if self.size else self.target

    @property
    def pages_moments(self) -> bool:
        return self.offload in ("optimizer", "all")

    @property
    def pages_activations(self) -> bool:
        return self.offload in ("activations", "all")

    def describe(self) -> str:
        """What is trained and how, in one line: the generated code and the report say it."""
        if not self.methods:
            return "inference only"
        replay = [self.replay.describe()] if self.replay else []
        return "; ".join([*(m.describe() for m in self.methods), self.optimizer.describe() if self.train else "adapters only", *replay])


def check_options(graph: Graph, options: Options) -> None:
    name = options.name or graph.name
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise CompileError("name", f"{name!r} is not a lower-case C identifier of at most 40 characters", 'pass name="kws"')
    if name == "kt" or name.startswith("kt_"):
        raise CompileError("name", f"{name!r} begins as the runtime's own names do", f'pass name="my_{name}", for example')
    if name in C_HEADERS:
        raise CompileError("name", f"{name}.h would hide C's own header <{name}.h>", f'pass name="{name}_model", for example')
    as_loss(options.loss)
    _check_known("storage", options.storage, STORAGES, "formats")
    _check_known("profile", options.profile, PROFILES, "profiles")
    _check_known("buffers", options.buffers, BUFFERS, "places")
    _check_known("backward_weights", options.backward_weights, BACKWARD_WEIGHTS, "values")
    _check_known("constant_channels", options.constant_channels, CONSTANT_CHANNELS, "values")
    if options.moments and (options.calibration is None or not (options.methods and options.train)):
        what = "keeps what the layers of a training are like beside what they were in the original domain"
        raise CompileError("moments=True", what, "train with kt.ScaleShift(), and pass calibration samples of the original domain")
    if options.offload in OFFLOADS[1:] and not (options.methods and options.train):
        raise CompileError(f"offload={options.offload!r}", "nothing is trained, so nothing waits for an update", "leave offload out, or train")
    check_offload(options.offload, options.optimizer)
    if options.moments_in_ram and not options.pages_moments:
        where = f"moments_in_ram={options.moments_in_ram}"
        raise CompileError(where, "all moments are in RAM, none in slow memory", 'pass offload="optimizer" too, or leave it out')
    if not isinstance(options.replay, Replay | None):
        raise CompileError(f"replay={options.replay!r}", "is no kt.Replay", "pass kt.Replay(samples=60), for example")
    if options.replay and not (options.methods and options.train):
        raise CompileError("replay", "nothing is trained, so nothing goes back to old samples", "leave replay out, or train")
    if options.profile == "litert" and options.methods:
        raise CompileError("profile", "training needs the tflm rounding profile", "leave profile out, or build without a method")
    if options.size and options.speed:
        raise CompileError("size=True", "is asked for beside speed=True, which takes several times a layer's flash", "leave one of them out")
    check_class_names(options.class_names)
    if not isinstance(options.features, FrontEnd | None):
        known = ", ".join(f"kt.{cls.__name__}()" for cls in FRONT_ENDS.values())
        raise CompileError("features", f"{options.features!r} is no front end", f"front ends are {known}")
    window = options.attention_window
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise CompileError(f"attention_window={window!r}", "is no number of positions of at least 1", "pass 16, for example, or leave it out")
    if options.by_position and options.methods and options.train:
        what = "would infer position by position and train on whole sequences"
        raise CompileError("by_position=True", what, "build twice: for training without it, and with train=False for inference with what was trained")
    if options.by_position and (options.adapters.slots or options.adapters.self_test):
        raise CompileError("by_position=True", "has no whole sequence that an update in flash could be tested with", "load adapters without slots")
    if options.accumulate < 1:
        raise CompileError("accumulate", f"{options.accumulate} samples an update", "pass 1 or more")
    if options.shard is not None:
        _check_sharing(options)
    _check_sliced(options)


def _check_sliced(options: Options) -> None:
    """Raises CompileError where a training step cannot be cut into slices."""
    given = options.slice_instructions
    if given is None:
        return
    where = f"slice_instructions={given!r}"
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given < 2**32:
        raise CompileError(where, "is no number of instructions from 1 to 4294967295", "pass 100000, for example")
    if not (options.methods and options.train):
        raise CompileError(where, "nothing is trained, so there is no step to cut", "leave it out, or train")
    if options.buffers == "arena":
        what = "the arena's inputs are those of inference, and a step that is cut keeps its own"
        raise CompileError(where, what, 'pass buffers="caller"')


def _check_sharing(options: Options) -> None:
    check_shard(options.shard)
    where = f"shard={options.shard!r}"
    if not (options.methods and options.train):
        raise CompileError(where, "nothing is trained, so an optimizer has no state", "leave shard out, or train")
    room = any(getattr(m, "extra_classes", None) for m in options.methods)
    if options.replay or room or options.slice_instructions is not None or options.moments:
        what = "is asked for beside a replay buffer, a head with room, slices of a step or running moments, which each device would have of its own"
        raise CompileError(where, what, "leave them out")
    if options.accumulate == 1:
        raise CompileError(where, "with accumulate=1 each sample updates by itself, and no sum is exchanged", "pass accumulate=8, for example")
    if options.pages_moments:
        raise CompileError(where, f"the moments would lie in slow memory, with offload={options.offload!r}", "leave one of them out")
    if options.adapters.public_key is not None:
        raise CompileError(where, "gradients from outside carry no signature, which a public key asks for", "leave one of them out")


def check_streams(graph: Graph, options: Options) -> None:
    """Raises CompileError where a model that keeps a state from call to call cannot be trained, or run, as the options ask for."""
    if graph.streams() and not options.train:
        what = "keeps a state from call to call, for which a build that takes adapters alone has no place"
        raise CompileError(graph.origin, what, "build it with training, or merge the adapter into the model")
    if graph.streams() and options.slice_instructions is not None:
        what = "keeps a state from call to call, which an inference between two slices of a step would change"
        raise CompileError(graph.origin, what, "leave slice_instructions out")
    if graph.streams() and options.adapters.slots:
        what = "keeps a state from call to call, which the test samples of an update in flash would change"
        raise CompileError(graph.origin, what, "load adapters without slots")


def check_class_names(names: tuple[str, ...], where: str = "class_names") -> None:
    """Raises CompileError where one is no text that can be shown, or is there twice."""
    for name in names:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise CompileError(where, f"{name!r} is not a name", "names are text of printable characters")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CompileError(where, f"{twice!r} is there twice", "each class has its own name")


def check_offload(offload: str, optimizer: Optimizer) -> None:
    """Raises CompileError where there is nothing of that name, or nothing of it to offload."""
    _check_known("offload", offload, OFFLOADS, "values")
    if offload == "optimizer" and not optimizer.moments_per_parameter:
        where = f"offload={offload!r}"
        raise CompileError(where, f"{optimizer.name} without momentum keeps no moments", "leave offload out, or pass kt.Adam(), for example")


def _check_known(option: str, value: str, known: Sequence[str], plural: str) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CompileError(f"{option}={value!r}", f"unknown {option}", f"{hint}{plural} are {', '.join(known)}")
