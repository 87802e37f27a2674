"""From a model and options to a folder of C with a manifest and a report."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc import AdapterOptions, Compilation, CompileError, Dump, Huber, InformationMaximisation, Options, as_loss, compile_graph, head_of
from kiloc.continual import offsets as replay_offsets
from kiloc.emit import ModelContext, entries_of, keep_templates, shard_layout, state_layout
from kiloc.features import KEPT, FrontEnd, described
from kiloc.ir import NEW_HEAD, PACKAGES, node_types, print_graph, run
from kiloc.ops import output_scales, tokens_of
from kiloc.passes import inference_slice, moments_of
from kiloc.peft import Method
from kiloc.report import figures, render_html, render_text, timeline, unreached

from . import monocypher_source, provenance, resources, runtime_files, toolchain
from . import stack as stack_use
from ._version import __version__
from .cache import Templates
from .config import Config
from .devices import Device, DeviceError, open_device
from .devices.manifest import FORMAT, Manifest
from .devices.progress import stages
from .devices.recordings import input_of
from .files import read_json, whole_directory, write_json, write_whole
from .model import Model
from .options import Memory, Samples, SingleOptions, Target, Training, compile_options, grouped
from .pictures import tables
from .plugins import load_installed

MANIFEST = "manifest.json"
REPORT = "report.json"
PLANS = "plan.json"
"""Where each value lies in the arena, step by step."""
GRAPH = "graph.txt"
"""Of a build with methods: the text form of what inference runs, with its trainable values; `kt.merge` reads it."""
MONOCYPHER = "monocypher"
"""Of a build that checks signatures: the folder of monocypher.c."""
MOST_PRIVATE = 2**16
"""Values of an update under noise: KT_PRIVATE_SIZE."""
SHOWN_FILES = 5
"""Of a build directory that a message names, where there are more that the build did not make."""


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

    def features(self, samples: ArrayLike) -> NDArray[np.int8]:
        """The model's input [N, ...] of recordings [N, samples] of int16, with the bits of the C function. Raises CompileError.

        Of a model that goes on from call to call they are slices of one recording, from its beginning: `FrontEnd.slices` cuts them.
        """
        manifest = Manifest.load(self.directory)
        if manifest.features is None:
            raise CompileError(str(self.directory), "was built without a front end", "build it with features=kt.Mfcc(), for example")
        try:
            return input_of(np.asarray(samples), manifest.features, manifest.inputs[0], goes_on=manifest.features_kept is not None)
        except ValueError as error:
            raise CompileError("samples", str(error), "cut recordings to this length") from None

    def changed_files(self) -> list[str]:
        """Files that are not as they were built: "kws.c has changed", "kws.h is missing", "string.h was added". Empty where all are."""
        recorded = self.manifest.get("files")
        if not isinstance(recorded, dict):
            raise CompileError(str(self.directory / MANIFEST), "names no hashes of files", "build the model again")
        return provenance.differences(self.directory, recorded, (MANIFEST,))

    def _repr_html_(self) -> str:
        return self._rendered(lambda: tables.of_build(self))

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
    training: Training | None = None,
    target: Target | str = "cortex-m4",
    memory: Memory | None = None,
    calibration: Samples | None = None,
    adapters: AdapterOptions | None = None,
    seed: int = 0,
    name: str | None = None,
    config: Config | str | os.PathLike[str] | None = None,
    class_names: Sequence[str] = (),
    features: FrontEnd | None = None,
    dump: str | os.PathLike[str] | None = None,
    measure: bool = True,
    progress: bool | None = None,
    **single: Unpack[SingleOptions],
) -> Build:
    """Compile a model into a directory, which appears whole or not at all. CompileError names what cannot be compiled.

    method: what is trained, one method or a list of them; None builds inference only.
    train: False builds inference that takes adapters of these methods and trains nothing. The adapters come from a build of the same model,
    methods, seed and (for Head(classes=)) calibration; the options of `training` do not matter then.
    training: optimizer, loss and how trained values are kept: kt.Training(...).
    target: the core, as "cortex-m4", or kt.Target(...), which also says how to round and whether speed is worth flash.
    memory: budgets, and where values lie: kt.Memory(...).
    calibration: inputs of the original domain [N, ...] (float32 or the model's type; a list of arrays for a model of several inputs), or
    (inputs, targets). The constant shifts of the gradients are chosen on them; without calibration random inputs serve, and the report
    says so.
    adapters: who must have signed them, protection against old ones, how many wait in memory: kt.AdapterOptions(...).
    seed: of the values that methods start from and of stochastic rounding.
    name: in every generated symbol; None takes the model's.
    config: from `kt.search` or a file that it wrote, instead of method and training.
    class_names: of the classes that the first output tells apart, in its order: in manifest, header and report.
    features: what makes the input of a recording, as kt.Mfcc(): the build has a C function for it, `Build.features` gives its bits.
    dump: a folder for the graph's text form after each stage.
    measure: link the model, where the cross compiler is installed, to report the size of its code.
    progress: what is being done, on standard error, once it takes more than two seconds; None where that is a terminal.
    single: any field of kt.Training, kt.Memory and kt.Target by its own name: optimizer=kt.Adam(), loss="mse", accumulate=8, ram="64K".
    """
    groups = grouped(training, memory, target, single)
    options = compile_options(
        model, method, train, *groups, calibration=calibration, adapters=adapters, seed=seed, name=name, config=config, measure=measure,
        class_names=class_names, features=features,
    )  # fmt: skip
    return _made(model, options, Path(directory), dump, measure, progress)


def _made(model: Model, options: Options, directory: Path, dump: str | os.PathLike[str] | None, measure: bool, progress: bool | None) -> Build:
    """The build directory of a model; budgets are checked on what was linked."""
    write = _dumper(dump)
    keep_templates(Templates())
    with whole_directory(directory, replaceable) as folder, stages(f"building {options.name or model.name}", progress) as enter:
        sizes: dict[str, Any] | None = None
        stack: dict[str, Any] | None = None

        def flash(compilation: Compilation) -> int:
            nonlocal sizes, stack
            shutil.rmtree(folder)
            folder.mkdir()
            _write_sources(folder, model, compilation)
            enter("compile and link")
            sizes, stack = _measured(folder, compilation) if measure else (None, None)
            return int(sizes["constants"] + sizes["code"]) if sizes else compilation.context.constant_bytes

        def done(stage: str, graph: Any) -> None:
            enter(f"{stage} is done")
            if write:
                write(stage, graph)

        compilation = compile_graph(model.graph, options, __version__, done, flash)
        return _described(folder, directory, model, compilation, sizes, stack)


def write_build(model: Model, compilation: Compilation, directory: Path, measure: bool = True) -> Build:
    """The build directory of a compilation, as `build` writes it. measure: link for the size of code."""
    with whole_directory(directory, replaceable) as folder:
        _write_sources(folder, model, compilation)
        return _described(folder, directory, model, compilation, *(_measured(folder, compilation) if measure else (None, None)))


def _described(
    folder: Path, directory: Path, model: Model, compilation: Compilation, sizes: dict[str, Any] | None, stack: dict[str, Any] | None
) -> Build:
    """The build of sources that lie in a folder, which will be the directory: with what is said of them, and their hashes."""
    report = figures(compilation, sizes, stack)
    stack_use.check(report["stack"], compilation.options.stack)
    write_json(folder / REPORT, report)
    (folder / PLANS).write_text(json.dumps(timeline(compilation)) + "\n", encoding="utf-8")
    manifest = _manifest(model, compilation) | {"files": provenance.hashes(folder, (MANIFEST,))}
    write_json(folder / MANIFEST, manifest)
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


def _dumper(folder: str | os.PathLike[str] | None) -> Dump | None:
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


def replaceable(target: Path, record: str = MANIFEST, edited: bool = False) -> bool:
    """An empty directory, or what kilotune made earlier and described in the file `record`: never a directory of anything else.

    CompileError where files of others are in it; with `edited` also where files were changed since they were made.
    """
    if not target.is_dir():
        return False
    try:
        if not any(target.iterdir()):
            return True
        found = read_json(target / record)
        if "kilotune" not in found:
            return False
        recorded = found.get("files", {})
        differ = provenance.differences(target, recorded, (record,)) if recorded else []
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    added = [line.removesuffix(" was added") for line in differ if line.endswith(" was added")]
    changed = [line.removesuffix(" has changed") for line in differ if line.endswith(" has changed")] if edited else []
    for names, title in ((added, "did not make"), (changed, "made and somebody changed")):
        if names:
            shown = ", ".join(names[:SHOWN_FILES]) + (f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else "")
            what = f"building again would delete what the build {title}: {shown}"
            raise CompileError(str(target), what, "move it, or choose another directory")
    return True


def _write_sources(folder: Path, model: Model, compilation: Compilation) -> None:
    """All of a build but what is said of it: what can be compiled, with its bill of materials."""
    manifest = _manifest(model, compilation)
    if compilation.graph.trained_state():
        (folder / GRAPH).write_text(print_graph(inference_slice(compilation.graph, compilation.options.buffers)), encoding="utf-8")
    sources = runtime_files.sources(compilation.context)
    own = runtime_files.own(compilation.context)
    for name, source in own.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    texts = (*compilation.files.values(), *((folder / name).read_text(encoding="utf-8") for name in own))
    for path in (*sources, *runtime_files.headers(sources, texts)):
        destination = folder / "runtime" / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resources.runtime() / path, destination)
    for file, text in compilation.files.items():  # kt/target.h in place of the runtime's own
        (folder / file).write_text(text, encoding="utf-8")
    if _signed(compilation.context):
        shutil.copytree(monocypher_source.folder(), folder / MONOCYPHER, ignore=lambda _, names: set(names) - set(monocypher_source.FILES))
    _write_bill(folder, manifest)
    write_json(folder / MANIFEST, manifest)


def _write_bill(folder: Path, manifest: dict[str, Any]) -> None:
    """The bill of materials, of what has been written so far."""
    monocypher = folder / MONOCYPHER / monocypher_source.FILES[0]
    text = monocypher.read_text(encoding="utf-8", errors="replace") if monocypher.is_file() else None
    bill = provenance.bill_of_materials(manifest, provenance.hashes(folder), text)
    write_json(folder / provenance.BILL, bill)


def _signed(context: ModelContext) -> bool:
    return context.adapter is not None and context.adapter.public_key != ""


def _features(c: Compilation, front: FrontEnd) -> dict[str, Any]:
    """What a device needs to know of the front end, and where it keeps something from slice to slice."""
    kept = {"features_kept": state_layout(c.graph).offset(KEPT)} if KEPT in c.graph.values else {}
    return {"features": described(front), "slices": bool(c.graph.streams()), **kept}


def _tensor(c: Compilation, name: str) -> dict[str, Any]:
    """An input or output; what a result is says the graph before chains of operators are fused."""
    t, head = c.infer.graph.type(name), head_of(c.graph, name)
    kinds = {kind: head.kind == kind for kind in ("softmax", "logistic")}
    table = tokens_of(c.graph).get(name)
    tokens = {} if table is None else {"tokens": table.type.shape[0]}
    return {"shape": list(t.shape), "scale": t.scale, "zero_point": t.zero_point, "dtype": t.dtype, **kinds, **tokens}


def _manifest(model: Model, c: Compilation) -> dict[str, Any]:
    """What a device needs to know, and how the build came about."""
    m, graph, loss = c.context, c.infer.graph, as_loss(c.options.loss)
    sources = [f"{m.name}.c", f"{m.name}_interface.c", *([f"{m.name}_features.c"] if m.features else [])]
    sources += [f"runtime/{path.as_posix()}" for path in runtime_files.sources(m)]
    signed, own = [MONOCYPHER] if _signed(m) else [], [PACKAGES] if m.packages else []
    sources += [name for name in runtime_files.own(m) if name.endswith(".c")]
    sources += [f"{folder}/monocypher.c" for folder in signed]
    return {
        "kilotune": __version__,
        "format": FORMAT,
        "name": m.name,
        "prefix": m.prefix,
        "model": {"file": model.path.name, "sha256": _sha256(model.path)},
        "options": _options(c),
        "target": c.options.target,
        "size": m.size,
        "training": m.training,
        "loss": m.loss or None,
        "huber_delta": loss.delta if isinstance(loss, Huber) and c.train else None,
        **(_information(loss) if isinstance(loss, InformationMaximisation) and c.train else {}),
        **({"moments": _moments(c)} if c.options.moments and c.train else {}),
        **({"channel_limits": _channel_limits(c)} if c.limits else {}),
        "targets": ("labels" if m.classes else "values" if m.target_values else "input") if m.training else None,
        "classes": m.classes or None,
        "class_names": list(c.options.class_names),
        **(_features(c, c.options.features) if c.options.features else {}),
        "accumulate": c.options.accumulate,
        **({"shard": shard_layout(c.graph, c.options.optimizer, c.options.shard)} if c.options.shard else {}),
        "learning_rate": c.options.optimizer.lr,
        "schedule": c.options.optimizer.schedule.describe() if c.options.optimizer.schedule else None,
        "new_head": any(p.method == NEW_HEAD for p in c.graph.parameters),
        "inputs": [_tensor(c, n) for n in graph.inputs],
        "outputs": [_tensor(c, n) for n in graph.outputs],
        "base_hash": bytes(m.base_hash).hex(),
        "arena_bytes": {"infer": m.arena_infer, "train": m.arena_train},
        "state_layout": m.layout if c.graph.state() else None,
        "state_bytes": m.state_bytes,
        "state_members": _state_members(c) if c.graph.state() else [],
        **({"kept": _kept(c)} if c.graph.streams() else {}),
        **({"sliced_step": asdict(m.sliced)} if m.sliced else {}),
        **({"replay": _replay(c)} if m.replay else {}),
        **({"new_classes": _new_classes(c)} if m.new_classes else {}),
        "page_bytes": m.page_bytes,
        "adapter_bytes": m.adapter.file_bytes if m.adapter else 0,
        "adapter_slot_bytes": m.adapter.slot_bytes if m.adapter else 0,
        "resident": m.adapter.resident if m.adapter else 0,
        "adapter_slots": c.options.adapters.slots,
        **({"private_updates": _private_values(c)} if m.adapter and m.adapter.private else {}),
        "signed": _signed(m),
        "sources": sources,
        "include": [".", "runtime/include", *signed, *own],
    }


def _private_values(c: Compilation) -> int:
    """Values of an update."""
    found = sum(e.rows * e.columns for e in entries_of(c.graph) if e.part == "value")
    if found > MOST_PRIVATE:
        what = f"an update of {found:,} values is larger than {MOST_PRIVATE:,}"
        raise CompileError("private_updates", what, "train fewer layers, or a lower rank")
    return found


def _state_members(c: Compilation) -> list[dict[str, Any]]:
    """What a state holds, and where: what a difference of two states is named by."""
    layout = state_layout(c.graph)
    return [{"value": v.name, "area": "state", "offset": layout.offset(v.name), "bytes": v.type.bytes} for v in layout.values]


def _kept(c: Compilation) -> list[dict[str, Any]]:
    """What a state holds of earlier calls: at which byte, and what it is before the first one."""
    layout = state_layout(c.graph)
    return [{"at": layout.offset(v.name), "first": np.asarray(v.data).tobytes().hex()} for v in c.graph.streams() if v.data is not None]


def _replay(c: Compilation) -> dict[str, Any]:
    """Where the replay buffer lies in a state, and what an entry is."""
    assert c.context.replay is not None
    plan = c.context.replay.plan
    named: dict[str, Any] = {"samples": plan.options.samples, "policy": plan.options.policy, "keep": plan.options.keep, "entry_bytes": plan.entry}
    named["memory"] = plan.options.memory
    return {**named, "at": replay_offsets(state_layout(c.graph))}


def _new_classes(c: Compilation) -> dict[str, Any]:
    """Where in a state the biases lie that say which classes are open."""
    assert c.context.new_classes is not None
    plan = c.context.new_classes.plan
    return {"known": plan.known, "closed": list(plan.closed), "biases_at": state_layout(c.graph).offset(plan.bias)}


def _channel_limits(c: Compilation) -> list[dict[str, Any]]:
    """What adapters have to keep of channels that the build computes without."""
    names = {v.name: e.name for v, e in zip(state_layout(c.graph).adapter, entries_of(c.graph), strict=True)}
    return [
        {"value": names[x.value], "layer": x.layer, "channels": list(x.channels), "limits": list(x.limit), "at_most": list(x.at_low)}
        for x in c.limits
    ]


def _moments(c: Compilation) -> list[dict[str, Any]]:
    """Where a state holds moments of which layer, and what those of the calibration samples are."""
    graph, state, x = c.graph, state_layout(c.graph), c.options.calibration
    assert x is not None, "such builds have calibration samples"
    arrays = x if isinstance(x, tuple) else (x,)
    source, found = moments_of(graph, run(graph, dict(zip(graph.inputs, arrays, strict=False)))), []
    for name, moments in source.items():
        node = graph.node(name)
        y, types = graph.type(node.outputs[0]), node_types(graph, node)
        units = np.asarray(output_scales(types.type("x"), types.type("weights"), types.type("gain").size), np.float64) / y.scale
        floor, at = graph.node(f"{name}.moments").op.floor, state.offset(f"{name}.moments")  # type: ignore[attr-defined]
        found.append({"layer": name, "at": at, "floor": floor, "units": units.tolist(), "source": moments.tolist()})
    return found


def _information(loss: InformationMaximisation) -> dict[str, Any]:
    """What a device needs to judge predictions as the loss does."""
    return {"diversity": loss.diversity, "prior": None if loss.prior is None else list(loss.prior)}


def _options(c: Compilation) -> dict[str, Any]:
    """What decided how the model was built."""
    return {
        "methods": [x.describe() for x in c.options.methods],
        "optimizer": c.options.optimizer.describe(),
        "storage": c.options.storage,
        "profile": c.options.profile,
        "attention_window": c.options.attention_window,
        "by_position": c.options.by_position,
        "seed": c.options.seed,
        "ram": c.options.ram,
        "flash": c.options.flash,
        "stack": c.options.stack,
        "buffers": c.options.buffers,
        "offload": c.options.offload,
        "moments_in_ram": c.options.moments_in_ram,
        "backward_weights": c.options.backward_weights,
        "constant_channels": c.options.constant_channels,
        "sharing": sorted(c.train.graph.shared) if c.train else [],
    }


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CompileError(str(path), f"cannot be read any more: {error.strerror}", "load the model again") from None


def _measured(folder: Path, c: Compilation) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Sizes and stack of the linked ELF; without a cross compiler no sizes, and of the stack why it is not known."""
    missing = stack_use.unknown(c.options.target)
    if missing:
        return None, missing
    return toolchain.measure(folder, c.options.target), stack_use.bounds(folder, unreached(c.infer), unreached(c.train or c.infer))
