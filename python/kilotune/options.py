"""What a build is asked for: groups of options, checked and as the compiler takes them.

Every field of a group is an option of `kt.build` by its own name, too.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc import TARGETS, AdapterOptions, CompileError, Loss, Options, Replay, SlowMemory, as_loss
from kiloc.features import FrontEnd
from kiloc.optim import SGD, Optimizer
from kiloc.peft import Method

from . import boards
from . import stack as stack_use
from .adapters.signing import public_key
from .config import Config, load_config
from .devices.data import packed
from .devices.manifest import Tensor
from .devices.recordings import input_of, is_recordings
from .model import Model
from .sizes import parse_size

Samples = ArrayLike | tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Training:
    """How trained values move and are kept."""

    optimizer: Optimizer | None = None
    """kt.SGD(), kt.Adam() or kt.Lion(); None is kt.SGD()."""
    loss: Loss | str = "cross_entropy"
    """"cross_entropy", "soft_cross_entropy", "bce", "mse", "huber", "next_token", "information_maximisation", or kt.CrossEntropy(...),
    kt.SoftCrossEntropy(...), kt.BinaryCrossEntropy(...), kt.MeanSquaredError(...), kt.Huber(...), kt.NextToken(), kt.InformationMaximisation(...)."""
    storage: str = "block16"
    """How tensors other than biases are kept between updates: "block16" adds a byte a parameter to the int8 codes that inference reads;
    "block8" adds none and rounds stochastically."""
    accumulate: int = 1
    """Samples an update; 1 updates at every sample and needs no memory for accumulated gradients."""
    slice_instructions: int | None = None
    """Let a training step be done in slices of about so many instructions, between which the model infers, with the bits of the whole step.
    Inference and training then lie beside each other in the arena; None: they share it, and a step is done in one."""
    replay: Replay | None = None
    """kt.Replay(samples=60): a buffer of old samples in the state, which training goes back to."""
    moments: bool = False
    """Keep running moments of what each layer with a trained gain gives, 12 bytes a channel of the state, for `Device.renormalise`."""
    shard: tuple[int, int] | None = None
    """(index, count): the part of the optimizer's state that this device holds where `count` devices train together (`kt.sharded`). (0, 1) holds
    all of it; gradients are then summed in integers as in a group, so that it has the same bits. None: alone."""


@dataclass(frozen=True)
class Memory:
    """Budgets in bytes or as "64K", BudgetError where they cannot be met, and where values lie."""

    ram: int | str | None = None
    """Budget of the arena, the state and the adapters that wait."""
    flash: int | str | None = None
    """Budget of the linked model: code, weights and tables."""
    stack: int | str | None = None
    """Budget of what a call may take of its caller's stack."""
    buffers: str = "caller"
    """Where inputs and results lie: "caller", in buffers that every call is given, or "arena", where firmware writes and reads them without
    a copy, at the addresses that functions such as kws_input(&model) return."""
    offload: str = "none"
    """What is moved to slow memory, such as external RAM, while it is not needed, by two functions of the firmware (kt/port.h): "none";
    "optimizer", the optimizer's moments, which then are no part of the state; "activations", just enough saved activations to meet `ram`,
    or without `ram` all that raise the arena's peak; "all", both."""
    moments_in_ram: int | str | None = None
    """With offload="optimizer" or "all": bytes of moments that stay in the state, those of whole tensors, the largest that fit first."""
    slow_memory: str | None = None
    """The name of a board whose slow memory this is: its size is a limit, and its speed decides between moving a value and computing it
    twice."""
    backward_weights: str = "auto"
    """Which weights the gradients to inputs read: "transposed", a second copy in flash; "shared", the copy of inference, which is slower;
    "auto", shared where that takes no longer and as far as the `flash` budget asks for, and transposed again in each step where memory has room for
    that and it takes hardly longer. The results are the same."""
    constant_channels: str = "all"
    """Which channels that hold one value for every input are computed without: "all" that can go without a change of any result, also where
    layers are trained; "frozen", those in front of everything trained, which takes any adapter, also one that moves such a channel."""
    optimal: bool = False
    """Search for the best placement in the arena and prove a lower bound (needs OR-Tools: pip install 'kilotune[optimal]')."""
    front: bool = False
    """Search what computing values twice would save and cost, for the report: it takes longer than the rest of a build."""


@dataclass(frozen=True)
class Target:
    """What the code runs on, and which arithmetic it follows."""

    core: str = "cortex-m4"
    """The core; `kt.build(target="cortex-m7")` is short for this field alone."""
    profile: str = "tflm"
    """Rounding of the forward pass, "tflm" (TensorFlow Lite Micro) or "litert" (LiteRT; inference only)."""
    attention_window: int | None = None
    """Let each position of a sequence see so many on either side in attention, itself included (with a causal mask, before it), which takes
    fewer products and changes results; None leaves attention as the model has it."""
    by_position: bool = False
    """Let inference take one position of a sequence a call and keep what later ones need of it: a language model then computes one row for a
    character, not all, and a wake word one for a frame of its window. Of a model that looks back alone, or whose layers slide over a window
    without padding; what was trained on whole sequences or windows comes as an adapter (`train=False`)."""
    size: bool = False
    """Compile for size: one portable kernel of each kind with -Os, gradients that share the weights of inference. Slower, with the same bits."""
    speed: bool = False
    """Use kernels that are faster but take several times a layer's flash (3x3 convolutions by Winograd's transform), where the budgets
    allow."""


class SingleOptions(TypedDict, total=False):
    """The fields of the groups, as options of `kt.build` by their own names. The core is named by `target`."""

    optimizer: Optimizer | None
    loss: Loss | str
    storage: str
    accumulate: int
    slice_instructions: int | None
    replay: Replay | None
    moments: bool
    shard: tuple[int, int] | None
    ram: int | str | None
    flash: int | str | None
    stack: int | str | None
    buffers: str
    offload: str
    moments_in_ram: int | str | None
    slow_memory: str | None
    backward_weights: str
    constant_channels: str
    optimal: bool
    front: bool
    profile: str
    attention_window: int | None
    by_position: bool
    size: bool
    speed: bool


GROUPS = ("training", "memory", "target")
Group = TypeVar("Group", Training, Memory, Target)


def grouped(training: Any, memory: Any, target: Any, single: Mapping[str, Any]) -> tuple[Training, Memory, Target]:
    """The groups with the options that were given by their own names. CompileError for one that is unknown, or given twice."""
    known = SingleOptions.__annotations__
    for name in single:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *GROUPS, "method", "calibration", "adapters", "config"], 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            hint += f"beside {', '.join(GROUPS)} there are {', '.join(known)}"
            raise CompileError(f"{name}={single[name]!r}", "is no option of a build", hint)
    core = target if isinstance(target, Target) else Target(core=target)
    return _merged("training", Training, training, single), _merged("memory", Memory, memory, single), _merged("target", Target, core, single)


def _merged(name: str, cls: type[Group], given: Any, single: Mapping[str, Any]) -> Group:
    group = cls() if given is None else given
    if not isinstance(group, cls):
        raise CompileError(name, f"{given!r} is no kt.{cls.__name__}", f"pass {name}=kt.{cls.__name__}(...)")
    changes = {}
    for f in fields(group):
        if f.name in single:
            if getattr(group, f.name) != f.default:
                what = f"is given twice, by its own name and in {name}=kt.{cls.__name__}({f.name}={getattr(group, f.name)!r})"
                raise CompileError(f"{f.name}={single[f.name]!r}", what, "leave one of them out")
            changes[f.name] = single[f.name]
    return replace(group, **changes)


def compile_options(
    model: Model, method: Any, train: bool, training: Training, memory: Memory, target: Target, *, calibration: Samples | None, adapters: Any,
    seed: int, name: str | None, config: Config | str | os.PathLike[str] | None, measure: bool, class_names: Sequence[str] = (),
    features: Any = None,
) -> Options:  # fmt: skip
    """The compiler's options, checked. Arguments are those of `kt.build`. Raises CompileError."""
    _check(model, target.core, training, seed, name)
    chosen = _configured(config, method, training)
    if not train and not chosen.methods:
        raise CompileError("train=False", "no method says what an adapter holds", "name the methods that train the adapters, or leave train out")
    x, y = _calibration(model, _of_recordings(model, features, calibration))
    return Options(
        methods=chosen.methods, train=train, adapters=_adapters(adapters, chosen.methods, model, train), optimizer=chosen.optimizer,
        loss=chosen.loss, storage=chosen.storage, accumulate=chosen.accumulate, slice_instructions=training.slice_instructions,
        moments=training.moments, shard=training.shard,
        by_position=target.by_position, target=target.core, profile=target.profile, size=target.size, speed=target.speed,
        attention_window=target.attention_window,
        buffers=memory.buffers, offload=memory.offload, moments_in_ram=parse_size(memory.moments_in_ram, "moments_in_ram") or 0,
        slow=_slow_memory(memory.slow_memory), backward_weights=memory.backward_weights,
        constant_channels=memory.constant_channels,
        optimal=memory.optimal, front=memory.front, ram=parse_size(memory.ram, "ram"), flash=parse_size(memory.flash, "flash"),
        stack=stack_use.budget(memory.stack, measure, target.core), seed=seed, name=name, calibration=x, calibration_target=y,
        class_names=tuple(class_names), features=features, replay=training.replay,
    )  # fmt: skip


def _check(model: Any, target: Any, training: Training, seed: Any, name: Any) -> None:
    """Refuse values that no stage of the compiler can make sense of."""
    if not isinstance(model, Model):
        raise CompileError("model", f"a {type(model).__name__} is not a loaded model", "pass what kt.load(path) returns")
    if target not in TARGETS:
        near = difflib.get_close_matches(str(target), TARGETS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CompileError(f"target={target!r}", "is not a known core", f"{hint}targets are {', '.join(TARGETS)}")
    if training.optimizer is not None and not isinstance(training.optimizer, Optimizer):
        raise CompileError("optimizer", f"{training.optimizer!r} is not an optimizer", "pass kt.SGD(), kt.Adam() or kt.Lion()")
    for option, value in (("accumulate", training.accumulate), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise CompileError(f"{option}={value!r}", "is not a whole number of at least 0", f"pass {option}=1, for example")
    if not isinstance(name, str | None):
        raise CompileError("name", f"{name!r} is not text", 'pass name="kws"')


def _configured(config: Config | str | os.PathLike[str] | None, method: Any, training: Training) -> Config:
    """A configuration, or what is given instead of one."""
    if config is None:
        made = SGD() if training.optimizer is None else training.optimizer
        return Config(_methods(method), made, loss=as_loss(training.loss), storage=training.storage, accumulate=training.accumulate)
    if method is not None or training.optimizer is not None:
        raise CompileError("config", "says what is trained, and so do method and optimizer", "pass either")
    read = config if isinstance(config, Config) else load_config(config)
    usual, given = replace(Training(), loss=as_loss(Training.loss)), replace(training, loss=as_loss(training.loss))
    for option in ("loss", "storage", "accumulate"):
        value = getattr(given, option)
        if value not in (getattr(usual, option), getattr(read, option)):
            raise CompileError("config", f"says {option} is {getattr(read, option)!r}, and {option}={value!r} is given", f"leave {option} out")
    return read


def _methods(method: Any) -> tuple[Method, ...]:
    if method is None or isinstance(method, Method):
        return () if method is None else (method,)
    given = tuple(method) if isinstance(method, list | tuple) else (method,)
    for m in given:
        if not isinstance(m, Method):
            raise CompileError("method", f"{m!r} is not a method", "pass kt.BiasOnly(), kt.Head(), kt.LoRA() or a list of them")
    return given


def _adapters(given: Any, methods: Sequence[Method], model: Model, train: bool) -> AdapterOptions:
    """The adapter options, checked: what they ask for is nothing where no adapter is taken."""
    options = AdapterOptions() if given is None else given
    if not isinstance(options, AdapterOptions):
        raise CompileError("adapters", f"{given!r} is no kt.AdapterOptions", "pass kt.AdapterOptions(public_key=..., resident=2)")
    if not isinstance(options.resident, int) or not 0 <= options.resident <= 1000:
        raise CompileError(f"AdapterOptions(resident={options.resident!r})", "is not a number of adapters from 0 to 1000", "2, for example")
    if options != AdapterOptions() and not methods:
        raise CompileError("adapters", "options for adapters, but no method says what an adapter holds", "name the methods, or leave adapters out")
    if (options.slots or options.self_test is not None) and train:
        what = "slots and self_test are for builds that only infer: training changes the values where they lie"
        raise CompileError("AdapterOptions", what, "pass train=False, or leave them out")
    key = options.public_key
    options = options if key is None else replace(options, public_key=public_key(key))
    return options if options.self_test is None else replace(options, self_test=_self_test(model, options.self_test))


def _self_test(model: Model, given: Any) -> tuple[NDArray[Any], NDArray[np.int32]]:
    graph = model.graph
    outputs = [graph.type(name).dtype for name in graph.outputs]
    if outputs != ["int8"]:
        what = f"looks for the largest of one int8 output, the model's outputs are {', '.join(outputs)}"
        raise CompileError("AdapterOptions(self_test=...)", what, "leave it out")
    x, y = _calibration(model, tuple(given))
    if x is None or y is None or y.ndim != 1 or y.dtype.kind not in "iu" or len(y) == 0:
        raise CompileError("AdapterOptions(self_test=...)", "is not samples [N, ...] and class numbers [N]", "pass (x, y) of a few samples")
    types = [graph.type(name) for name in graph.inputs]
    return packed(x, tuple(Tensor(t.shape, t.scale, t.zero_point, dtype=t.dtype) for t in types)).view(np.int8), y.astype(np.int32)


def _of_recordings(model: Model, features: Any, samples: Samples | None) -> Samples | None:
    """Calibration samples, in place of recordings the input that the front end makes of them."""
    x = samples[0] if isinstance(samples, tuple) and samples else samples
    if not isinstance(features, FrontEnd) or len(model.graph.inputs) != 1 or not is_recordings(array := np.asarray(x), features):
        return samples
    t = model.graph.type(model.graph.inputs[0])
    made = input_of(array, features, Tensor(t.shape, t.scale, t.zero_point, dtype=t.dtype))
    return (made, *samples[1:]) if isinstance(samples, tuple) else made


def _calibration(model: Model, samples: Samples | None) -> tuple[tuple[NDArray[Any], ...] | None, NDArray[Any] | None]:
    """Inputs [N, ...] of the model's type, one array each, and targets where they are given, of equal number."""
    if samples is None:
        return None, None
    hint = "pass samples [N, ...] of the original domain, or (samples, targets)"
    if isinstance(samples, tuple) and len(samples) != 2:
        raise CompileError("calibration", f"is a tuple of {len(samples)}, not of samples and targets", hint)
    x, y = samples if isinstance(samples, tuple) else (samples, None)
    try:
        arrays = model.quantize_inputs(x)
        y = None if y is None else np.asarray(y)
    except (ValueError, TypeError) as error:
        raise CompileError("calibration", str(error), hint) from None
    if y is not None and (y.ndim == 0 or len(y) != len(arrays[0])):
        raise CompileError("calibration", f"has {len(arrays[0])} samples, but targets of shape {list(y.shape)}", hint)
    return arrays, y


def _slow_memory(board: str | None) -> SlowMemory:
    """What is known of a board's slow memory; without one nothing."""
    if board is None:
        return SlowMemory()
    memory = boards.load(board).slow_memory
    if memory is None:
        having = ", ".join(name for name in boards.names() if boards.load(name).slow_memory)
        raise CompileError(f"slow_memory={board!r}", "this board has none beside the linker's", f"boards that have: {having}")
    return SlowMemory(memory.size or None, memory.cost)
