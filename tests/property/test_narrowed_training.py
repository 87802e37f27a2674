"""Training without constant channels: every bit of results, losses and states is that of the training with all channels, whatever is trained."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import kilotune as kt
from kiloc.errors import CompileError
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.verify import total_macs
from kiloc.ops.paging.bounded_channels import BoundedChannels
from kiloc.optim import SGD, Adam, Lion
from kiloc.options import AdapterOptions, Options
from kiloc.passes import channel_bounds, narrowed_training
from kiloc.passes.slices import inference_slice
from kiloc.peft import BiasOnly, BottleneckAdapter, Full, Head, LoRA, Method, ScaleShift, SparseUpdate
from kiloc.pipeline import Compilation, compile_graph
from kiloc.report.channels import constant_channels
from kilotune import toolchain
from kilotune.adapters import Adapter

from .dead_channels import SATURATED, extremes, mobilenet, mobilenet_with_dead_channels, with_dead_channels, with_small_multipliers
from .graphs import graphs

pytestmark = pytest.mark.filterwarnings("error", r"ignore:os\.fork\(\) was called:RuntimeWarning")  # another module of the run has jax

few = settings(
    max_examples=10, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip

METHODS: dict[str, tuple[Method, ...]] = {
    "biases": (BiasOnly(),),
    "LoRA": (LoRA(rank=2, layers="all"),),
    "ScaleShift": (ScaleShift(),),
    "LoRA, gains and biases": (LoRA(rank=2, layers="all"), ScaleShift(), BiasOnly()),
    "Full beside biases": (Full("last:1"), BiasOnly()),
    "SparseUpdate in the middle": (SparseUpdate("mix_1"), ScaleShift("mix_0")),
    "bottleneck adapters": (BottleneckAdapter(width=4, layers="mix_2"), BiasOnly("spread_*")),
    "head": (Head(), BiasOnly("mix_2,spread_3")),
    "new head": (Head(classes=4), BiasOnly("mix_*")),
    "head with room": (Head(extra_classes=2), LoRA(rank=2, layers="mix_*")),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": SGD(lr=0.1, clip=0)},
    "momentum, 8 bits": {"optimizer": SGD(lr=0.1, momentum=0.9, nesterov=True, state_bits=8), "storage": "block8"},
    "Adam, weight decay": {"optimizer": Adam(lr=0.02, weight_decay=0.5), "accumulate": 2},
    "Lion, 8 bits": {"optimizer": Lion(lr=0.01, state_bits=8, weight_decay=0.1), "storage": "block8"},
}


def compiled(graph: Graph, methods: tuple[Method, ...], **options: Any) -> Compilation:
    return compile_graph(graph, Options(**{"methods": methods, "calibration": extremes(graph, 4), "optimizer": SGD(lr=0.1), **options}), "0")


def after_steps(graph: Graph, whole: Graph, x: np.ndarray, classes: int) -> dict[str, Any]:
    """Losses of a few samples, the state after them but for what a replay buffer holds, and results with it. whole: whose update it is."""
    state = interp.initial_state(whole)
    losses = []
    for i, sample in enumerate(x):
        label = np.array([i % classes], np.int32)
        target = {"label": label} if "label" in graph.inputs else {"target": np.zeros(graph.type("target").shape, np.float32)}
        losses.append(interp.train_step(graph, {graph.inputs[0]: sample[np.newaxis], **target}, state)["loss.value"].tobytes())
        if i % 2:
            interp.apply(graph, state)
    part = inference_slice(graph)
    results = interp.run(part, {part.inputs[0]: x}, dict(state))[part.outputs[0]]
    return {"losses": losses, "results": results.tobytes(), **{k: v.tobytes() for k, v in state.items() if whole.values[k].is_state}}


def check_bits(c: Compilation, x: np.ndarray) -> int:
    """The whole and the reduced graph, trained; MACs that are saved."""
    classes = c.graph.type(c.graph.node("loss").inputs["y"]).size
    assert after_steps(c.graph, c.graph, x, classes) == after_steps(c.reduced, c.graph, x, classes)
    assert {v.name: v.type for v in c.graph.state()} == {v.name: v.type for v in c.reduced.state()}
    return total_macs(c.graph) - total_macs(c.reduced)


@few
@given(graphs(), st.integers(0, 1000), st.sampled_from(tuple(METHODS)[:5]), st.sampled_from(tuple(OPTIMIZERS)))
def test_random_graphs_keep_their_bits(graph: Graph, seed: int, method: str, optimizer: str) -> None:
    dead = with_dead_channels(graph, seed, 0.6)
    try:
        c = compiled(dead, METHODS[method], **OPTIMIZERS[optimizer])
    except CompileError:
        assume(False)
    check_bits(c, extremes(dead, 2)[:3])


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("biases", "ScaleShift")])  # which "LoRA, gains and biases" has
def test_a_mobilenet_keeps_its_bits_and_takes_fewer_products(method: str) -> None:
    options = dict(OPTIMIZERS[list(OPTIMIZERS)[list(METHODS).index(method) % len(OPTIMIZERS)]])
    if method == "head with room":  # takes 16 bits
        options = dict(OPTIMIZERS["SGD"])
    if method != "LoRA":  # biases of the others would be drawn to 0, where nothing is constant
        options["optimizer"] = replace(options["optimizer"], weight_decay=0)
    graph = mobilenet_with_dead_channels(4 + len(method) % 3)
    c = compiled(graph, METHODS[method], **options)
    saved, usual = check_bits(c, extremes(graph, 2)[:3]), compiled(graph, METHODS[method], constant_channels="frozen", **options)
    assert saved > total_macs(c.graph) - total_macs(usual.reduced), "no more goes than in front of what is trained"
    assert c.context.base_hash == usual.context.base_hash and c.context.layout == usual.context.layout and not usual.limits
    assert c.context.adapter is not None and usual.context.adapter is not None
    assert replace(c.context.adapter, limits=()) == usual.context.adapter


@pytest.mark.parametrize("method", ["biases", "ScaleShift"])
def test_bounds_of_biases_are_those_of_all_channels(method: str) -> None:
    """A layer that lost the channel with the widest sums bounds the biases of the others as the whole one does."""
    graph = with_small_multipliers(mobilenet_with_dead_channels(5, activation="relu"), 2, 0.2)
    c = compiled(graph, METHODS[method], optimizer=SGD(lr=0.5))
    whole, reduced = ([n.op for n in g.nodes if isinstance(n.op, BoundedChannels)] for g in (c.graph, c.reduced))
    assert len(whole) >= 4 and sum(len(op.chosen) for op in reduced) < sum(len(op.chosen) for op in whole)
    check_bits(c, extremes(graph, 2)[:4])


def test_options_that_go_with_it() -> None:
    """A replay buffer and slices of a step; and what keeps all channels, with the reason in the report."""
    graph = mobilenet_with_dead_channels()
    check_bits(compiled(graph, METHODS["biases"], slice_instructions=20_000, accumulate=2), extremes(graph, 2)[:3])
    stays: dict[str, dict[str, Any]] = {
        "asked": {"constant_channels": "frozen"},
        "noise": {"adapters": AdapterOptions(private_updates=True)},
        "gradients": {"shard": (0, 2), "optimizer": SGD(lr=0.1, momentum=0.9), "accumulate": 2},
        "moments": {"moments": True},
    }
    for options in stays.values():
        c = compiled(graph, METHODS["ScaleShift"], **options)
        assert total_macs(c.reduced) == total_macs(c.graph) and not c.limits
        reasons = {entry["why"] for entry in constant_channels(c)["stay"]}
        assert narrowed_training.why_channels_stay(c.options) in reasons
    merged = constant_channels(compiled(graph, (Full("mix_2"),)))["stay"]
    assert "delta" in next(entry["why"] for entry in merged if entry["layer"] == "mix_2")
    with pytest.raises(CompileError, match="constant_channels='none'"):
        compiled(graph, (), constant_channels="none")


# -- the proof is needed ------------------------------------------------------------------------------
def without_weights(bias: int) -> Graph:
    """The last convolution of a MobileNet has channels without weights: constant, at an end of the clamp if their bias is large."""
    graph = mobilenet()
    data = {v: np.array(graph.values[v].data) for v in ("mix_3.weights", "mix_3.bias")}
    data["mix_3.weights"][:8], data["mix_3.bias"][:8] = 0, bias
    return graph.with_values(replace(graph.values[v], data=d) for v, d in data.items())


@pytest.mark.parametrize(("bias", "left"), [(-SATURATED, {0.5: 56}), (SATURATED, {0.0: 56, 0.5: 64}), (0, {0.5: 56}), (3000, {0.0: 64})])
def test_a_bias_is_followed_to_where_weight_decay_draws_it(bias: int, left: dict[float, int]) -> None:
    """At 0 the result is the zero point, which is the lower end of the clamp; a bias between the ends is trained."""
    graph = without_weights(bias)
    for decay, channels in left.items():
        c = compiled(graph, (BiasOnly("mix_3"),), optimizer=SGD(lr=0.9, weight_decay=decay))
        assert c.reduced.type("mix_3").shape[-1] == channels and bool(c.limits) == (channels == 56)
        check_bits(c, extremes(graph, 2)[:3])


@pytest.mark.parametrize("wrong", ["CALIBRATED", "_largest_scales", "_lasting"])
def test_the_comparison_sees_what_is_done_wrong(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shifts of fewer channels, a largest scale that goes, weight decay forgotten."""
    graph, methods = mobilenet_with_dead_channels(), METHODS["LoRA, gains and biases"]
    if wrong == "CALIBRATED":
        monkeypatch.setattr(narrowed_training, wrong, ())
    elif wrong == "_largest_scales":
        graph = with_a_large_scale(graph)
        check_bits(compiled(graph, methods), extremes(graph, 2)[:2])
        monkeypatch.setattr(narrowed_training, wrong, lambda *_: iter(()))
    else:
        right, graph, methods = channel_bounds._lasting, without_weights(2**18), (BiasOnly("mix_3"),)
        monkeypatch.setattr(channel_bounds, wrong, lambda graph, node, x, decays, unmasked: right(graph, node, x, False, unmasked))
    with pytest.raises((AssertionError, CompileError)):
        check_bits(compiled(graph, methods, optimizer=SGD(lr=0.9, weight_decay=0.5 if wrong == "_lasting" else 0)), extremes(graph, 4)[:8])


def with_a_large_scale(graph: Graph) -> Graph:
    """A graph in which the last constant channel of a layer has by far the largest scale of its weights."""
    weights, bounds = graph.values["mix_1.weights"], channel_bounds.channel_bounds(graph)["mix_1"]
    quantization = weights.type.quantization
    assert quantization is not None
    scale = list(np.broadcast_to(quantization.scale, len(bounds.low)))
    scale[int(np.flatnonzero(bounds.constant)[-1])] *= 50
    quantization = replace(quantization, scale=tuple(float(np.float32(x)) for x in scale), axis=0)
    return graph.with_values([replace(weights, type=replace(weights.type, quantization=quantization))])


# -- values from elsewhere ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, kt.Build]:
    """The same model with channels removed, with all of them, and for adapters alone."""
    folder, graph = tmp_path_factory.mktemp("builds"), mobilenet_with_dead_channels()
    (folder / "mobile.tflite").write_bytes(tflite.write(graph))
    model, x = kt.load(folder / "mobile.tflite"), extremes(graph, 4)
    methods: list[Method] = [kt.LoRA(rank=2, layers="all"), kt.ScaleShift("spread_*"), kt.BiasOnly()]

    def build(name: str, **options: Any) -> kt.Build:
        return kt.build(model, folder / name, method=methods, calibration=x, measure=False, size=True, **options)

    return {"fewer": build("fewer"), "all": build("all", constant_channels="frozen"), "adapters": build("adapters", train=False)}


def changed(adapter: Adapter, value: str, index: int, to: int) -> Adapter:
    values = {e.name: np.array(adapter.values()[e.name]) for e in adapter.entries}
    values[value].reshape(-1)[index] = to
    payload = b"".join(values[e.name].tobytes() for e in adapter.entries)
    return Adapter.make(bytes.fromhex(adapter.base_hash), adapter.methods, adapter.entries, payload)


def test_adapters_and_states_go_from_build_to_build(builds: Mapping[str, kt.Build]) -> None:
    """What one build learned, another goes on with, to the same bits; the C is what ran."""
    graph = kt.load(builds["fewer"].directory.parent / "mobile.tflite").graph
    x, states, results = extremes(graph, 3), [], []
    for first, second in (("fewer", "all"), ("all", "fewer")):
        with builds[first].open("host") as one, builds[second].open("host") as other:
            for i, sample in enumerate(x[:4]):
                one.train_step(sample, i % 3)
                one.apply()
            other.load_adapter(one.export_adapter())
            for i, sample in enumerate(x[:4]):
                other.train_step(sample, i % 3)
                other.apply()
            one.set_state(other.state())
            states.append(one.state())
            results.append(one.infer(x))
        with builds["adapters"].open("host") as device:
            with builds[first].open("host") as one:
                one.set_state(states[-1])
                device.load_adapter(one.export_adapter())
            results.append(device.infer(x))
    assert states[0] == states[1] and all(np.array_equal(r, results[0]) for r in results)


def test_what_would_move_a_channel_is_refused(builds: Mapping[str, kt.Build]) -> None:
    """Each value at its limit is taken, one step beyond refused: in Python by names, in C by its own check, in a file or in a state."""
    for name in ("fewer", "adapters"):
        with builds[name].open("host") as device, builds["all"].open("host") as whole:
            good = device.export_adapter()
            seen = set[str]()
            for limit in device.manifest.channel_limits:
                entry = next(e for e in good.entries if e.name == limit.value)
                channel, index = limit.channels[-1], limit.channels[-1] * (entry.columns if entry.rows > 1 else 1)
                seen.add(entry.role)
                edge, step = (limit.limits[-1], 1 if limit.at_most[-1] else -1) if limit.limits else (0, 1)
                device.load_adapter(changed(good, limit.value, index, edge))
                bad = changed(good, limit.value, index, edge + step)
                with pytest.raises(kt.DeviceError, match=rf"channel {channel} of layer '{limit.layer}'.*\n?.*frozen"):
                    device.load_adapter(bad)
                with pytest.raises(kt.DeviceError, match="constant channel"):
                    device._load_adapter(bad.data)
                assert device.export_adapter().payload == changed(good, limit.value, index, edge).payload
                whole.load_adapter(bad)
                if name == "fewer" and limit is device.manifest.channel_limits[0]:
                    before = device.state()
                    with pytest.raises(kt.DeviceError, match="constant channel"):
                        device.set_state(whole.state())
                    device.set_state(before)
            assert seen == {"bias", "gain", "lora_b"}


def test_firmware_learns_which_channel_a_file_moves(builds: Mapping[str, kt.Build]) -> None:
    """kt_adapter_moved, in the library of the host device."""
    with builds["fewer"].open("host") as device:
        good, limit = device.export_adapter(), device.manifest.channel_limits[-1]
        bad = changed(good, limit.value, limit.channels[0], 2**30 if limit.at_most[0] else -(2**30))
        library = ctypes.CDLL(str(toolchain.host_library(device.manifest.directory, device.kernels)))
        library.kt_adapter_moved.restype = Moved
        layout = ctypes.c_uint8.in_dll(library, "mobile_adapter_layout")
        moved = library.kt_adapter_moved(bad.data, ctypes.byref(layout))
    assert (moved.layer.decode(), moved.channel) == (limit.layer, limit.channels[0])


class Moved(ctypes.Structure):
    """kt_moved_channel."""

    _fields_ = (("layer", ctypes.c_char_p), ("channel", ctypes.c_uint32))
