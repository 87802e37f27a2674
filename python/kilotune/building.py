"""From a model and options to a folder of C with a manifest and a report."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc import pipeline
from kiloc.cores import TARGETS
from kiloc.emit import ModelContext
from kiloc.errors import CompileError
from kiloc.ir.graph import NEW_HEAD
from kiloc.ir.text import print_graph
from kiloc.losses import Loss, as_loss
from kiloc.optim import SGD, Optimizer
from kiloc.options import AdapterOptions, Options, SlowMemory
from kiloc.passes.slices import inference_slice
from kiloc.peft import Method
from kiloc.report import figures, render_html, render_text, timeline, unreached

from . import boards, monocypher_source, provenance, resources, runtime_files, toolchain
from . import stack as stack_use
from ._version import __version__
from .adapters.signing import public_key
from .config import Config, load_config
from .devices import Device, DeviceError, open_device
from .devices.manifest import FORMAT, Manifest
from .files import read_json, whole_directory, write_whole
from .model import Model
from .plugins import load_installed
from .sizes import parse_size

MANIFEST = "manifest.json"
REPORT = "report.json"
PLANS = "plan.json"
"""Where each value lies in the arena, step by step."""
GRAPH = "graph.txt"
"""Of a build with methods: the text form of what inference runs, with its trainable values; `kt.merge` reads it."""
MONOCYPHER = "monocypher"
"""Of a build that checks signatures: the folder of monocypher.c."""
SHOWN_FILES = 5
"""Of a build directory that a message names, where there are more that the build did not make."""
Samples = ArrayLike | tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Build:
    """A build directory: generated C, the runtime that it uses, manifest and report."""

    directory: Path
    manifest: dict[str, Any]
    report: dict[str, Any]

    def open(self, device: str = "host", **options: Any) -> Device:
        """A device that runs this build: "host", "qemu:mps2-an386", ... Use it in a `with` block."""
        return open_device(self.directory, device, **options)

    def report_text(self) -> str:
        """The report as the terminal shows it."""
        return self._rendered(lambda: render_text(self.report))

    def plans(self) -> dict[str, Any]:
        """Where each value lies in the arena, step by step: {"infer": ..., "train": ... or None}. Raises CompileError where it is missing."""
        path = self.directory / PLANS
        try:
            found = read_json(path)
            if not isinstance(found, dict) or not {"infer", "train"} <= set(found):
                raise ValueError("it holds no plans")
        except (OSError, ValueError) as error:
            raise CompileError(str(path), f"cannot be read ({error})", "build the model again") from None
        return dict(found)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """The report as a self-contained page with the memory timelines of inference and training."""
        plans = self.plans()
        write_whole(path, self._rendered(lambda: render_html(self.report, plans)))

    def changed_files(self) -> list[str]:
        """Files that are not as they were built: "kws.c has changed", "kws.h is missing", "string.h was added". Empty where all are."""
        recorded = self.manifest.get("files")
        if not isinstance(recorded, dict):
            raise CompileError(str(self.directory / MANIFEST), "names no hashes of files", "build the model again")
        return provenance.differences(self.directory, recorded, (MANIFEST,))

    def _rendered(self, render: Callable[[], str]) -> str:
        try:
            return render()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            what = f"entry {error} is missing" if isinstance(error, KeyError) else str(error)
            raise CompileError(str(self.directory / REPORT), f"the report is damaged: {what}", "build the model again") from None


def build(
    model: Model,
    directory: str | os.PathLike[str],
    *,
    method: Method | Sequence[Method] | None = None,
    train: bool = True,
    optimizer: Optimizer | None = None,
    loss: Loss | str = "cross_entropy",
    storage: str = "block16",
    accumulate: int = 1,
    target: str = "cortex-m4",
    ram: int | str | None = None,
    flash: int | str | None = None,
    stack: int | str | None = None,
    calibration: Samples | None = None,
    profile: str = "tflm",
    buffers: str = "caller",
    offload: str = "none",
    slow_memory: str | None = None,
    speed: bool = False,
    backward_weights: str = "auto",
    optimal: bool = False,
    adapters: AdapterOptions | None = None,
    seed: int = 0,
    name: str | None = None,
    dump: str | os.PathLike[str] | None = None,
    config: Config | str | os.PathLike[str] | None = None,
    measure: bool = True,
) -> Build:
    """Compile a model into a directory, which appears whole or not at all.

    method: what is trained, one method or a list of them; None builds inference only.
    train: False builds inference that takes adapters of these methods and trains nothing. The adapters come from a build of the same model,
    methods, seed and (for Head(classes=)) calibration; optimizer, loss, storage and accumulate do not matter then.
    optimizer: kt.SGD(), kt.Adam() or kt.Lion(); None is kt.SGD().
    loss: "cross_entropy", "bce", "mse", or kt.CrossEntropy(...), kt.BinaryCrossEntropy(), kt.MeanSquaredError(...).
    storage: how tensors other than biases are kept between updates: "block16" adds 2 bytes a parameter to the int8 codes that inference
    reads; "block8" adds none and rounds stochastically.
    accumulate: samples an update; 1 updates at every sample and needs no memory for accumulated gradients.
    target: the core, as "cortex-m4".
    ram, flash, stack (what a call may take of its caller's): budgets in bytes or as "64K"; BudgetError where they cannot be met.
    calibration: inputs of the original domain [N, ...] (float32 or int8; a list of arrays for a model of several inputs), or
    (inputs, targets). The constant shifts of the gradients are chosen on them; without calibration random inputs serve, and the report
    says so.
    profile: rounding of the forward pass, "tflm" (TensorFlow Lite Micro) or "litert" (LiteRT; inference only).
    buffers: where inputs and results lie: "caller", in buffers that every call is given, or "arena", where firmware writes and reads them
    without a copy, at the addresses that functions such as kws_input(&model) return.
    offload: what is moved to slow memory, such as external RAM, while it is not needed, by two functions of the firmware (kt/port.h):

    - "none": nothing;
    - "optimizer": the optimizer's moments, which then are no part of the state;
    - "activations": just enough saved activations to meet `ram`, or without `ram` all that raise the arena's peak;
    - "all": both.

    slow_memory: the name of a board whose slow memory this is: its size is a limit, and its speed decides between moving a value and
    computing it twice.
    speed: use kernels that are faster but take several times a layer's flash (3x3 convolutions by Winograd's transform), where the budgets
    allow.
    backward_weights: which weights the gradients to inputs read: "transposed", a second copy in flash; "shared", the copy of inference,
    which is slower; "auto", shared only as far as the `flash` budget asks for. The results are the same.
    optimal: search for the best placement in the arena and prove a lower bound (needs OR-Tools: pip install 'kilotune[optimal]').
    adapters: who must have signed them, protection against old ones, how many wait in memory: kt.AdapterOptions(...).
    seed: of the values that methods start from and of stochastic rounding.
    name: in every generated symbol; None takes the model's.
    dump: a folder for the graph's text form after each stage.
    config: from `kt.search` or a file that it wrote, instead of method, optimizer, loss, storage and accumulate.
    measure: link the model, where the cross compiler is installed, to report the size of its code.
    """
    _check_options(model, target, optimizer, accumulate, seed, name)
    chosen = _configured(config, method, optimizer, loss, storage, accumulate)
    _check_methods(chosen, train)
    x, y = _calibration(model, calibration)
    options = Options(
        methods=chosen.methods, train=train, adapters=_adapters(adapters, chosen.methods, model, train), optimizer=chosen.optimizer,
        loss=chosen.loss, storage=chosen.storage, accumulate=chosen.accumulate, target=target, profile=profile, buffers=buffers,
        offload=offload, slow=_slow_memory(slow_memory), speed=speed, backward_weights=backward_weights, optimal=optimal, seed=seed, name=name,
        ram=parse_size(ram, "ram"), flash=parse_size(flash, "flash"), stack=stack_use.budget(stack, measure), calibration=x, calibration_target=y,
    )  # fmt: skip
    return _made(model, options, Path(directory), dump, measure)


def _made(model: Model, options: Options, directory: Path, dump: str | os.PathLike[str] | None, measure: bool) -> Build:
    """The build directory of a model; budgets are checked on what was linked."""
    with whole_directory(directory, _replaceable) as folder:
        sizes: dict[str, Any] | None = None
        stack: dict[str, Any] | None = None

        def flash(compilation: pipeline.Compilation) -> int:
            nonlocal sizes, stack
            shutil.rmtree(folder)
            folder.mkdir()
            _write_sources(folder, model, compilation)
            sizes, stack = _measured(folder, compilation) if measure else (None, None)
            return int(sizes["constants"] + sizes["code"]) if sizes else compilation.context.constant_bytes

        compilation = pipeline.compile_graph(model.graph, options, __version__, _dumper(dump), flash)
        return _described(folder, directory, model, compilation, sizes, stack)


def write_build(model: Model, compilation: pipeline.Compilation, directory: Path, measure: bool = True) -> Build:
    """The build directory of a compilation, as `build` writes it. measure: link for the size of code."""
    with whole_directory(directory, _replaceable) as folder:
        _write_sources(folder, model, compilation)
        return _described(folder, directory, model, compilation, *(_measured(folder, compilation) if measure else (None, None)))


def _described(
    folder: Path, directory: Path, model: Model, compilation: pipeline.Compilation, sizes: dict[str, Any] | None, stack: dict[str, Any] | None
) -> Build:
    """The build of sources that lie in a folder, which will be the directory: with what is said of them, and their hashes."""
    report = figures(compilation, sizes, stack)
    stack_use.check(report["stack"], compilation.options.stack)
    _write_json(folder / REPORT, report)
    (folder / PLANS).write_text(json.dumps(timeline(compilation)) + "\n", encoding="utf-8")
    manifest = _manifest(model, compilation) | {"files": provenance.hashes(folder, (MANIFEST,))}
    _write_json(folder / MANIFEST, manifest)
    return Build(directory, manifest, report)


def open_build(directory: str | os.PathLike[str]) -> Build:
    """A build made earlier. Raises CompileError where the directory holds none."""
    load_installed()
    path, hint = Path(directory), "make one with `kilotune build MODEL -o DIR`"
    try:
        Manifest.load(path)
        manifest, report = read_json(path / MANIFEST), read_json(path / REPORT)
        if "kilotune" not in manifest or "memory" not in report:
            raise ValueError("its manifest or report is not one of kilotune")
    except DeviceError as error:
        raise CompileError(error.where, error.what, error.hint) from None
    except (OSError, ValueError, TypeError) as error:
        raise CompileError(str(path / REPORT), f"is not of a build directory ({error})", hint) from None
    return Build(path, manifest, report)


def _check_options(model: Any, target: Any, optimizer: Any, accumulate: Any, seed: Any, name: Any) -> None:
    """Refuse values that no stage of the compiler can make sense of."""
    if not isinstance(model, Model):
        raise CompileError("model", f"{model!r} is not a loaded model", "pass what kt.load(path) returns")
    if target not in TARGETS:
        near = difflib.get_close_matches(str(target), TARGETS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CompileError(f"target={target!r}", "is not a known core", f"{hint}targets are {', '.join(TARGETS)}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise CompileError("optimizer", f"{optimizer!r} is not an optimizer", "pass kt.SGD(), kt.Adam() or kt.Lion()")
    for option, value in (("accumulate", accumulate), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise CompileError(f"{option}={value!r}", "is not a whole number of at least 0", f"pass {option}=1, for example")
    if not isinstance(name, str | None):
        raise CompileError("name", f"{name!r} is not text", 'pass name="kws"')


def _configured(
    config: Config | str | os.PathLike[str] | None, method: Any, optimizer: Optimizer | None, loss: Loss | str, storage: str, accumulate: int
) -> Config:
    """A configuration, or what is given instead of one."""
    if config is None:
        made = SGD() if optimizer is None else optimizer
        return Config(_methods(method), made, loss=as_loss(loss), storage=storage, accumulate=accumulate)
    if method is not None or optimizer is not None:
        raise CompileError("config", "says what is trained, and so do method and optimizer", "pass either")
    read = config if isinstance(config, Config) else load_config(config)
    given = {"loss": (as_loss(loss), as_loss("cross_entropy")), "storage": (storage, "block16"), "accumulate": (accumulate, 1)}
    for option, (value, default) in given.items():
        if value not in (default, getattr(read, option)):
            raise CompileError("config", f"says {option} is {getattr(read, option)!r}, and {option}={value!r} is given", f"leave {option} out")
    return read


def _check_methods(chosen: Config, train: bool) -> None:
    if not train and not chosen.methods:
        raise CompileError("train=False", "no method says what an adapter holds", "name the methods that train the adapters, or leave train out")


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


def _self_test(model: Model, given: Any) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    x, y = _calibration(model, tuple(given))
    if x is None or y is None or y.ndim != 1 or y.dtype.kind not in "iu" or len(y) == 0:
        raise CompileError("AdapterOptions(self_test=...)", "is not samples [N, ...] and class numbers [N]", "pass (x, y) of a few samples")
    return np.concatenate([array.reshape(len(y), -1) for array in x], 1), y.astype(np.int32)


def _calibration(model: Model, samples: Samples | None) -> tuple[tuple[NDArray[np.int8], ...] | None, NDArray[Any] | None]:
    """Inputs as int8 [N, ...], one array each, and targets where they are given, of equal number."""
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


def _dumper(folder: str | os.PathLike[str] | None) -> pipeline.Dump | None:
    if folder is None:
        return None
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompileError(f"dump={str(path)!r}", f"cannot be written: {error.strerror}", "choose another directory") from None
    count = iter(range(1, 100))

    def write(stage: str, graph: Any) -> None:
        (path / f"{next(count):02}_{stage}.txt").write_text(print_graph(graph), encoding="utf-8")

    return write


def _replaceable(target: Path) -> bool:
    """An empty directory, or what an earlier build made: never a directory of anything else. CompileError where files of others are in it."""
    if not target.is_dir():
        return False
    try:
        if not any(target.iterdir()):
            return True
        manifest = read_json(target / MANIFEST)
        if "kilotune" not in manifest:
            return False
        recorded = manifest.get("files", {})
        added = [name for name in provenance.hashes(target, (MANIFEST,)) if name not in recorded] if recorded else []
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    if added:
        shown = ", ".join(added[:SHOWN_FILES]) + (f" and {len(added) - SHOWN_FILES} more" if len(added) > SHOWN_FILES else "")
        what = f"building again would delete what the build did not make: {shown}"
        raise CompileError(str(target), what, "move it, or choose another directory")
    return True




def _write_sources(folder: Path, model: Model, compilation: pipeline.Compilation) -> None:
    """All of a build but what is said of it: what can be compiled, with its bill of materials."""
    manifest = _manifest(model, compilation)
    if compilation.graph.state():
        (folder / GRAPH).write_text(print_graph(inference_slice(compilation.graph, compilation.options.buffers)), encoding="utf-8")
    sources = runtime_files.sources(compilation.context)
    for path in (*sources, *runtime_files.headers(sources, compilation.files.values())):
        destination = folder / "runtime" / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resources.runtime() / path, destination)
    for file, text in compilation.files.items():  # kt/target.h in place of the runtime's own
        (folder / file).write_text(text, encoding="utf-8")
    if _signed(compilation.context):
        shutil.copytree(monocypher_source.folder(), folder / MONOCYPHER, ignore=lambda _, names: set(names) - set(monocypher_source.FILES))
    _write_bill(folder, manifest)
    _write_json(folder / MANIFEST, manifest)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write_bill(folder: Path, manifest: dict[str, Any]) -> None:
    """The bill of materials, of what has been written so far."""
    monocypher = folder / MONOCYPHER / monocypher_source.FILES[0]
    text = monocypher.read_text(encoding="utf-8", errors="replace") if monocypher.is_file() else None
    bill = provenance.bill_of_materials(manifest, provenance.hashes(folder), text)
    _write_json(folder / provenance.BILL, bill)


def _signed(context: ModelContext) -> bool:
    return context.adapter is not None and context.adapter.public_key != ""


def _manifest(model: Model, c: pipeline.Compilation) -> dict[str, Any]:
    """What a device needs to know, and how the build came about."""
    m, graph = c.context, c.infer.graph

    def tensor(name: str) -> dict[str, Any]:
        t = graph.type(name)
        producer = graph.producers().get(name)
        softmax = producer is not None and producer.op.mnemonic == "softmax"
        return {"shape": list(t.shape), "scale": t.scale, "zero_point": t.zero_point, "softmax": softmax}

    sources = [f"{m.name}.c", f"{m.name}_interface.c"]
    sources += [f"runtime/{path.as_posix()}" for path in runtime_files.sources(m)]
    signed = [MONOCYPHER] if _signed(m) else []
    sources += [f"{folder}/monocypher.c" for folder in signed]
    return {
        "kilotune": __version__,
        "format": FORMAT,
        "name": m.name,
        "prefix": m.prefix,
        "model": {"file": model.path.name, "sha256": _sha256(model.path)},
        "options": {
            "methods": [x.describe() for x in c.options.methods],
            "optimizer": c.options.optimizer.describe(),
            "storage": c.options.storage,
            "profile": c.options.profile,
            "seed": c.options.seed,
            "ram": c.options.ram,
            "flash": c.options.flash,
            "stack": c.options.stack,
            "buffers": c.options.buffers,
            "offload": c.options.offload,
            "backward_weights": c.options.backward_weights,
            "sharing": sorted(c.train.graph.shared) if c.train else [],
        },
        "target": c.options.target,
        "training": m.training,
        "loss": m.loss or None,
        "targets": ("labels" if m.classes else "values" if m.target_values else "input") if m.training else None,
        "classes": m.classes or None,
        "accumulate": c.options.accumulate,
        "learning_rate": c.options.optimizer.lr,
        "schedule": c.options.optimizer.schedule.describe() if c.options.optimizer.schedule else None,
        "new_head": any(p.method == NEW_HEAD for p in c.graph.parameters),
        "inputs": [tensor(n) for n in graph.inputs],
        "outputs": [tensor(n) for n in graph.outputs],
        "base_hash": bytes(m.base_hash).hex(),
        "arena_bytes": {"infer": m.arena_infer, "train": m.arena_train},
        "state_layout": m.layout if c.graph.state() else None,
        "state_bytes": m.state_bytes,
        "page_bytes": m.page_bytes,
        "adapter_bytes": m.adapter.file_bytes if m.adapter else 0,
        "adapter_slot_bytes": m.adapter.slot_bytes if m.adapter else 0,
        "resident": m.adapter.resident if m.adapter else 0,
        "adapter_slots": c.options.adapters.slots,
        "signed": _signed(m),
        "sources": sources,
        "include": [".", "runtime/include", *signed],
    }


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CompileError(str(path), f"cannot be read any more: {error.strerror}", "load the model again") from None


def _measured(folder: Path, c: pipeline.Compilation) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Sizes and stack of the linked ELF; without a cross compiler no sizes, and of the stack why it is not known."""
    missing = stack_use.unknown()
    if missing:
        return None, missing
    return toolchain.measure(folder, c.options.target), stack_use.bounds(folder, unreached(c.infer), unreached(c.train or c.infer))
