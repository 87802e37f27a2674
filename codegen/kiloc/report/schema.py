"""Every key of a report, with its unit and meaning: what docs/reference/report.md prints and the tests hold reports to.

A key is a path: `a.b` is a member, `a[]` each entry of a list, `a.*` each member of an object whose names the model decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Key:
    """unit: "bytes", "MACs", ...; for what has none the type, as "text"."""

    unit: str
    meaning: str


GROUPS: Final[Mapping[str, str]] = {
    "model": "What was compiled, and how it is trained.",
    "features": "What makes the model's input of a recording; null where the caller brings the input.",
    "target": "The core.",
    "memory": "Memory that is written: the arena, which inference and training share, and the state, which outlives a step.",
    "kernels": "Which C function runs each step, and why it is not the fastest one that the target has.",
    "flash": "Memory that is only read. Code is known where the cross compiler is installed, because it is read from a linked program.",
    "stack": "What each call takes of its caller's stack at most, from the instructions of the linked program; null where nothing was linked.",
    "sliced_step": "Where a training step may be left and gone on with; null in a build without `slice_instructions`.",
    "trainable": "What training changes.",
    "adapters": "Memory that adapters take; null where nothing is trained.",
    "replay": "The buffer of old samples that training goes back to; null where there is none.",
    "macs": "Work of one sample in multiply-accumulate operations.",
    "constant_channels": "Channels that were proved to hold one value for every input, and were removed (docs/internals/constant_channels.md).",
    "cut_windows": "Layers whose windows have rows or columns that meet nothing but the border, wherever they stand: these are left out.",
    "bounded_biases": "Layers of which some trained biases, or rows of LoRA's B, keep within bounds (docs/internals/kernels.md).",
    "compare": "The same model trained in the usual ways, planned by the same planner; null where nothing is trained.",
}
"""Members of the whole report, in its order."""


def _sized(prefix: str, entries: Mapping[str, str], unit: str = "bytes") -> dict[str, Key]:
    return {f"{prefix}.{name}": Key(unit, meaning) for name, meaning in entries.items()}


_AT_PEAK: Final = {
    "activations": "at the peak step, results of forward nodes that later forward nodes read",
    "saved": "at the peak step, values of the forward pass that the backward pass reads",
    "gradients": "at the peak step, gradients of activations, and of parameters where they stand in the arena",
    "scratch": "at the peak step, working memory of the kernel that runs",
    "scalars": "at the peak step, single numbers, as the loss and the exponent of a gradient",
}
_IN_STATE: Final = {
    "trainable": "in the state, trained values: codes, exponents, and the 16-bit values behind codes",
    "accumulators": "in the state, summed gradients of parameters",
    "optimizer": "in the state, moments",
    "replay": "in the state, the replay buffer; left out where there is none",
    "kept": "in the state, what a streaming model keeps from call to call; left out where it keeps nothing",
    "control": "in the state, learning rate, counters, seed, header and padding",
}


KEYS: Final[Mapping[str, Key]] = {
    "model.name": Key("text", "the name in every generated symbol"),
    "model.origin": Key("text", "the file that was compiled"),
    "model.layers": Key("count", "convolutions, depthwise convolutions and fully connected layers"),
    "model.methods[]": Key("text", "a method with its arguments"),
    "model.optimizer": Key("text", "the optimizer with its arguments; null where nothing is trained"),
    "model.loss": Key("text", "the loss with its arguments; null where nothing is trained"),
    "model.calibration": Key("text", 'what the shifts of gradients come from: "32 samples", "random inputs", or "none" where nothing is trained'),
    "model.class_names[]": Key("text", "a class, in the order of the model's outputs; empty where nobody named them"),
    "model.notes[]": Key("text", "what the compiler did that the user may not expect"),
    "features.front_end": Key("text", "the front end with its fields"),
    "features.frames": Key("count", "frames of a recording"),
    "features.width": Key("count", "values of a frame"),
    "features.scratch": Key("bytes", "of the arena, while it works"),
    "features.constants": Key("bytes", "its tables, which `flash.weights` counts too"),
    "target": Key("text", "the core that the code is for, as `cortex-m4`"),
    **_sized("memory", {
        "infer_arena": "arena of inference",
        "train_arena": "arena that a training step and inference need; 0 where nothing is trained",
        "state": "the state: what training changes and what it remembers",
        "slow": "slow memory that offloaded values take",
        "moved": "what a training step moves to slow memory and back, both ways together",
        "train_total": "train_arena + state; 0 where nothing is trained",
    }),
    "memory.train_to_infer": Key("ratio", "train_total / infer_arena; null where nothing is trained"),
    "memory.lower_bound": Key("bytes", "no placement of the same values takes less"),
    "memory.lower_bound_kind": Key("text", '"per step": the most that is alive at one step; "proved": by the solver (`optimal=True`)'),
    "memory.gap": Key("ratio", "how far the arena is above lower_bound: 0.02 is 2 %"),
    **_sized("memory.by_kind", _AT_PEAK | _IN_STATE),
    "memory.above_inference": Key("object", "what training takes beyond inference, by kind, where it is not 0; null without training"),
    "memory.above_inference.*": Key("bytes", "difference between both peaks, or its part of the state; `placement`: lost between buffers"),
    "memory.at_peak[].values[]": Key("text", "names of the values that share this buffer"),
    "memory.at_peak[].kind": Key("text", "what the buffer holds: activation, saved, gradient, scratch or scalar"),
    "memory.at_peak[].bytes": Key("bytes", "size of a buffer that is alive at the peak step; the largest comes first"),
    "memory.recompute_front[].arena_bytes": Key("bytes", "an arena that a `ram` budget can ask for; no entries where `front` did not ask for them"),
    "memory.recompute_front[].extra_macs": Key("MACs", "what is then computed twice in a training step"),
    "memory.recompute_front[].extra": Key("ratio", "the same as a share of the usual MACs of a step"),
    "memory.recompute_front_exact": Key("bool", "whether every set of saved values was tried for the front; true where nothing is trained"),
    "memory.peak_step": Key("text", "the step at which most bytes are alive, of training where there is any"),
    **{f"kernels.{part}[].{name}": Key("text", f"{meaning}, in {what}") for part, what in (("infer", "inference"), ("train", "a training step"))
       for name, meaning in {
           "step": "name of the node",
           "operator": "operator of the model's own graph",
           "kernel": "C function that runs",
           "makes": 'C function that makes the weights which it reads, in front of each call; "" where they are constants, or it has none',
           "slow": 'why it is not the fastest of its target; "" where it is',
       }.items()},
    "kernels.speed.layers": Key("count", "layers that run by Winograd's transform (`speed=True`)"),
    **_sized("kernels.speed", {"flash": "what the transformed weights take more", "scratch": "the most scratch that one of these layers takes"}),
    "kernels.backward_weights": Key("object", "gradients to inputs that cross weights; null where nothing is trained"),
    "kernels.backward_weights.twice.gradients": Key("count", "gradients with a transposed copy of weights that they could share with inference"),
    "kernels.backward_weights.twice.flash": Key("bytes", "what these copies take"),
    "kernels.backward_weights.shared.gradients": Key("count", "gradients that read the weights of inference"),
    "kernels.backward_weights.shared.flash": Key("bytes", "what they save"),
    "kernels.backward_weights.repacked.gradients": Key("count", "gradients that transpose weights of inference in each call, at once or in parts"),
    "kernels.backward_weights.repacked.flash": Key("bytes", "what they save"),
    "kernels.backward_weights.repacked.copies": Key("bytes", "copies of those of their weights that memory has no room for"),
    **_sized("flash", {
        "weights": "constants: weights, biases and tables",
        "code": "the code of the model and of the runtime that it uses; null without the cross compiler",
        "total": "weights + code; null without the cross compiler",
        "kernels.*": "code of one function of the runtime",
    }),
    "trainable.parameters": Key("count", "elements of all trained tensors"),
    "trainable.fraction": Key("ratio", "of the elements of the frozen model"),
    "trainable.update_bytes": Key("bytes", "an adapter file without signature"),
    "trainable.state_bytes_per_parameter": Key("bytes", "the part of the state that grows with the parameters, for each of them"),
    "sliced_step.instructions": Key("instructions", "of a slice, as the build was asked for"),
    "sliced_step.steps": Key("count", "calls of kernels, between any two of which a step may be left"),
    "sliced_step.total": Key("instructions", "of a whole step, as estimated on a Cortex-M4"),
    "sliced_step.slices": Key("count", "slices that a step takes, as estimated"),
    "sliced_step.longest.step": Key("text", "the step with the most instructions, which no slice is shorter than"),
    "sliced_step.longest.instructions": Key("instructions", "of it, as estimated"),
    "sliced_step.over[].step": Key("text", "a step that takes more than a slice: it is done in one of its own"),
    "sliced_step.over[].kernel": Key("text", "the C function that it calls"),
    "sliced_step.over[].instructions": Key("instructions", "of it, as estimated"),
    **_sized("adapters", {
        "base": "the frozen model that all adapters share",
        "active": "values of the adapter that inference reads",
        "slot": "one adapter that waits in memory",
        "resident_total": "all that wait in memory, as planned (`AdapterOptions(resident=)`)",
        "file": "the largest adapter file that the build takes",
    }),
    "adapters.resident": Key("count", "adapters that wait in memory"),
    "adapters.checked_for": Key("text", '"damage", or "damage and origin" where a key is built in'),
    "adapters.rollback_protection": Key("bool", "whether an adapter with a lower sequence number is refused"),
    "adapters.slots": Key("bool", "whether two slots in flash take updates over the air"),
    "adapters.self_test": Key("count", "samples that an update has to pass"),
    "replay.samples": Key("count", "entries of the buffer"),
    "replay.policy": Key("text", '"reservoir" or "class_balanced": which of the samples offered stay'),
    "replay.keep": Key("text", '"latent", what the frozen layers hand on, or "input"'),
    "replay.bits": Key("count", "bits of an int8 value that is kept: 8, or 4"),
    "replay.values[]": Key("text", "a value that an entry holds"),
    **_sized("replay", {
        "entry": "these values of one sample",
        "target": "its label or its targets",
        "total": "what of the buffer is in the state, with its counters, which `memory.state` counts too",
        "slow": "its entries in slow memory with their checksums, which `memory.slow` counts too; 0 where they lie in the state",
        "input": "what the model's input takes, for comparison with `replay.entry`",
    }),
    "replay.skipped_macs": Key("MACs", "of the forward pass, what a replayed step leaves out"),
    "stack.calls.*.bytes": Key("bytes", "the bound of a call, as infer or train_step; null where it has none"),
    "stack.calls.*.unbounded": Key("text", "why a call has no bound; null where it has one"),
    "stack.calls.*.chain[].function": Key("text", "a function on the way to the deepest point, the call itself first"),
    "stack.calls.*.chain[].bytes": Key("bytes", "the share of that function"),
    "stack.largest": Key("bytes", "the largest bound of all calls; null where one has none"),
    "stack.unknown": Key("text", "why nothing is known of the stack; null where it is"),
    "macs.forward": Key("MACs", "inference, with what is computed twice"),
    "macs.backward": Key("MACs", "what a training step does beyond the forward pass, with what is computed twice; 0 where nothing is trained"),
    "constant_channels.constant": Key("count", "channels that are proved constant; some of them have to stay"),
    "constant_channels.removed": Key("count", "channels that were removed"),
    "constant_channels.of": Key("count", "channels of all layers"),
    "constant_channels.macs_before": Key("MACs", "inference with all channels"),
    "constant_channels.macs_after": Key("MACs", "inference with those that are left"),
    "constant_channels.weights_before": Key("count", "int8 weights with all channels"),
    "constant_channels.weights_after": Key("count", "int8 weights of the channels that are left"),
    "constant_channels.limited": Key("count", "channels of trained layers that adapters and states from elsewhere may not move"),
    "constant_channels.layers[].layer": Key("text", "a layer that lost results or inputs"),
    "constant_channels.layers[].channels": Key("count", "its results in the model"),
    "constant_channels.layers[].removed": Key("count", "results that it lost"),
    "constant_channels.layers[].inputs_removed": Key("count", "input channels that it lost"),
    "constant_channels.stay[].layer": Key("text", "a layer with constant channels that stay"),
    "constant_channels.stay[].constant": Key("count", "its channels that are constant in the frozen model"),
    "constant_channels.stay[].removed": Key("count", "results that it lost"),
    "constant_channels.stay[].why": Key("text", "why the others stay"),
    "cut_windows[].layer": Key("text", "a layer with frozen weights whose window is cut"),
    "cut_windows[].kernel[]": Key("count", "rows and columns of its window in the model"),
    "cut_windows[].left[]": Key("count", "those that meet the image somewhere"),
    "bounded_biases[].layer": Key("text", "a layer with channels of small multipliers, which would have no fast kernel with any bias or LoRA"),
    "bounded_biases[].biases": Key("count", "its trained biases that keep within bounds; their gain, where there is one, is held at 1"),
    "bounded_biases[].held": Key("count", "those of them that are held where training starts"),
    "bounded_biases[].rows": Key("count", "its rows of LoRA's B that are held at 0"),
    **{f"compare.{way}.{name}": Key("bytes", f"{meaning}, {what}") for way, what in (
        ("standard_peft", "of the same methods planned as a framework keeps things"),
        ("full_finetuning", "of all weights and biases in float32; null where the model cannot be trained whole"),
    ) for name, meaning in {"arena": "arena", "state": "state", "total": "arena and state"}.items()},
    "compare.full_finetuning.refused": Key("text", "why the model cannot be trained whole; missing where it can"),
}  # fmt: skip


def paths(report: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a report in the notation of `KEYS`. Of an object that is empty or null the path of the object itself."""
    for name, thing in report.items():
        yield from _paths(name, thing)


def _paths(path: str, thing: Any) -> Iterator[str]:
    if isinstance(thing, Mapping) and thing:
        for name, member in thing.items():
            any_name = any(f"{key}.".startswith(f"{path}.*.") for key in KEYS)
            yield from _paths(f"{path}.*" if any_name else f"{path}.{name}", member)
    elif isinstance(thing, list | tuple):
        for entry in thing:
            yield from _paths(f"{path}[]", entry)
    elif not isinstance(thing, Mapping) and (thing is not None or path in KEYS):
        yield path
