"""LoRA weights of other trainers: safetensors and adapter_config.json under the names of Hugging Face's PEFT. Needs the extra "peft".

    base_model.model.<layer>.lora_A.weight   [r, in], of a convolution [r, in, kh, kw]
    base_model.model.<layer>.lora_B.weight   [out, r], of a convolution [out, r, 1, 1]
    base_model.model.<layer>.bias            [out], where biases are trained too

Real values; the weights of a layer move by lora_alpha / r * B A. A fully connected layer behind an image reads it channels last. On import A and
B are brought to int8 with one power of two each, biases to units of the accumulator, and the power of two of A x is chosen on samples.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc import CompileError, ir
from kiloc.emit import entries_of, state_layout
from kiloc.ir import Graph, Node, node_types
from kiloc.ops import Gru, Linear, exponent_for, output_scales
from kiloc.passes import without_bounded_biases

from ..building import Build
from ..devices.data import quantize
from ..devices.manifest import Manifest
from ..errors import DeviceError
from ..files import read_json, write_whole
from ..merging import adapter_state, inference_graph
from .file import Adapter

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
Arrays = dict[str, NDArray[Any]]


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise DeviceError("safetensors", "the package is not installed", "pip install 'kilotune[peft]'") from None
    return safetensors


@dataclass(frozen=True)
class _Layer:
    """A layer with LoRA: its node, A's node, and what the file's shapes are."""

    node: Node
    down: Node
    kernel: tuple[int, int]
    """(1, 1) with `flat` for fully connected layers, whose tensors have two axes."""
    flat: bool


def _layers(graph: Graph) -> dict[str, _Layer]:
    producers, found = graph.producers(), {}
    for node in graph.phase("forward"):
        if isinstance(node.op, Linear | Gru) and "lora_u" in node.inputs:
            kernel = node.op.window_of(node_types(graph, node)).kernel
            found[node.name] = _Layer(node, producers[node.inputs["lora_u"]], kernel, node.op.mnemonic in ("fully_connected", "gru"))
    return found


def _biases(graph: Graph) -> dict[str, NDArray[np.float64]]:
    """Real value of one step of each trained bias, by layer."""
    found = {}
    for node in graph.phase("forward"):
        if "bias" in node.inputs and graph.values[node.inputs["bias"]].kind == "trainable":
            x, weights = graph.type(node.inputs["x"]), graph.type(node.inputs["weights"])
            found[node.name] = np.asarray(output_scales(x, weights, graph.type(node.inputs["bias"]).size), np.float64)
    return found


# ---- Export ----


def export_peft(build: Build, adapter: Adapter, folder: str | os.PathLike[str]) -> None:
    """Write the LoRA weights and biases of an adapter as a PEFT folder. CompileError where it has other trained values, which PEFT cannot say."""
    graph = without_bounded_biases(inference_graph(build))
    state, layers, units = adapter_state(build, graph, adapter), _layers(graph), _biases(graph)
    other = sorted({e.role for e in adapter.entries} - {"bias", "lora_a", "lora_b"})
    if other or not layers:
        raise CompileError("adapter", f"holds {', '.join(other) or 'no LoRA'}", "PEFT files carry LoRA and biases: train with LoRA and BiasOnly")
    tensors: Arrays = {}
    for name, layer in layers.items():
        a, b = (_real(state, inputs, operand) for inputs, operand in ((layer.down.inputs, "lora_a"), (layer.node.inputs, "lora_b")))
        if not layer.flat:
            a, b = a.reshape(len(a), *layer.kernel, -1).transpose(0, 3, 1, 2), b[:, :, None, None]
        tensors[f"{PREFIX}{name}.lora_A.weight"] = np.ascontiguousarray(a, np.float32)
        tensors[f"{PREFIX}{name}.lora_B.weight"] = np.ascontiguousarray(b, np.float32)
    for name, unit in units.items():
        tensors[f"{PREFIX}{name}.bias"] = (state[graph.node(name).inputs["bias"]] * unit).astype(np.float32)
    ranks = {n: int(tensors[f"{PREFIX}{n}.lora_A.weight"].shape[0]) for n in layers}
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompileError(str(target), f"cannot be written: {error.strerror}", "choose another folder") from None
    write_whole(target / WEIGHTS, _safetensors().numpy.save(tensors, metadata={"format": "pt"}))
    write_whole(target / CONFIG, json.dumps(_config(build, ranks, layers, bool(units)), indent=1) + "\n")


def _config(build: Build, ranks: Mapping[str, int], layers: Mapping[str, _Layer], biases: bool) -> dict[str, Any]:
    rank = max(ranks.values())
    scales = {n: layer.node.op.lora_scale for n, layer in layers.items() if isinstance(layer.node.op, Linear | Gru)}
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": build.manifest["name"],
        "inference_mode": True,
        "r": rank,
        "lora_alpha": scales[next(iter(scales))] * rank,
        "rank_pattern": {n: r for n, r in ranks.items() if r != rank},
        "alpha_pattern": {n: scales[n] * r for n, r in ranks.items() if r != rank},
        "target_modules": sorted(layers),
        "bias": "all" if biases else "none",
        "kilotune_base_hash": build.manifest["base_hash"],
    }


def _real(state: Arrays, inputs: Mapping[str, str], operand: str) -> NDArray[np.float64]:
    codes, exponent = state[inputs[operand]], float(state[inputs[f"{operand}_exponent"]].ravel()[0])
    return np.asarray(codes.reshape(len(codes), -1) * 2.0**exponent)


# ---- Import ----


def import_peft(build: Build, folder: str | os.PathLike[str], calibration: ArrayLike, name: str = "", sequence: int = 0) -> Adapter:
    """The adapter of a PEFT folder, for a build with LoRA on at least its layers and of at least its rank.

    calibration: inputs [N, ...] like those to come (float, or int8 as it is). CompileError names what does not fit.
    """
    graph, where = without_bounded_biases(inference_graph(build)), os.fspath(folder)
    tensors, config = _read(Path(folder))
    layers, units = _layers(graph), _biases(graph)
    state: Arrays = {v.name: np.array(v.data) for v in graph.state()}
    left = set(tensors)
    for layer_name, layer in layers.items():
        keys = [f"{PREFIX}{layer_name}.lora_{part}.weight" for part in "AB"]
        if left & set(keys):
            _take_lora(state, layer, [tensors.get(k) for k in keys], _scale(config, layer_name), f"{where}: {layer_name}")
            left -= set(keys)
    for layer_name, unit in units.items():
        key = f"{PREFIX}{layer_name}.bias"
        if key in left:
            bias = _shaped(tensors[key], unit.shape, f"{where}: {key}")
            state[graph.node(layer_name).inputs["bias"]] = np.clip(np.rint(bias / unit), -(2**30), 2**30).astype(np.int32)
            left.discard(key)
    if left:
        raise _unknown(where, min(left), [*layers, *units])
    manifest = Manifest.load(build.directory)
    x = np.asarray(calibration)
    q = x if x.dtype == manifest.inputs[0].dtype else quantize(x, manifest.inputs[0])
    if q.shape[1:] != manifest.inputs[0].sample_shape or len(q) == 0:
        raise CompileError("calibration", f"has shape {list(q.shape)}", f"pass samples [N, {', '.join(map(str, manifest.inputs[0].sample_shape))}]")
    _fit_ranges(graph, state, layers, q)
    payload = b"".join(state[v.name].astype(np.dtype(v.type.dtype).newbyteorder("<")).tobytes() for v in state_layout(graph).adapter)
    methods = "; ".join(build.manifest["options"]["methods"])
    return Adapter.make(bytes.fromhex(build.manifest["base_hash"]), methods, entries_of(graph), payload, name, sequence)


def _read(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    hint = f"a PEFT folder holds {WEIGHTS} and {CONFIG}"
    package = _safetensors()
    try:
        config = read_json(folder / CONFIG)
        tensors = {k: np.asarray(v, np.float64) for k, v in package.numpy.load((folder / WEIGHTS).read_bytes()).items()}
        if config.get("peft_type") != "LORA" or not float(config["lora_alpha"]) > 0 or not int(config["r"]) > 0:
            raise ValueError(f"{CONFIG} names no LoRA with r and lora_alpha")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, package.SafetensorError) as error:
        raise CompileError(str(folder), f"is not read: {error}", hint) from None
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CompileError(f"{folder}: {name}", "holds values that are not finite", "train again with a lower rate")
    return tensors, config


def _scale(config: Mapping[str, Any], layer: str) -> float:
    """alpha / r of a layer."""
    rank = config.get("rank_pattern", {}).get(layer, config["r"])
    return float(config.get("alpha_pattern", {}).get(layer, config["lora_alpha"])) / float(rank)


def _unknown(where: str, key: str, names: list[str]) -> CompileError:
    layer = key.removeprefix(PREFIX).split(".lora_")[0].removesuffix(".bias")
    near = difflib.get_close_matches(layer, names, 3, 0.3)
    hint = f"did you mean {', '.join(near)}?" if near else f"the build trains {', '.join(dict.fromkeys(names))}"
    return CompileError(f"{where}: {key}", f"the build trains nothing of this name in a layer {layer!r}", hint)


def _shaped(tensor: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[Any]:
    if tensor.shape != shape:
        raise CompileError(where, f"has shape {list(tensor.shape)}, the layer's is {list(shape)}", "export it from the model that was built")
    return tensor


def _take_lora(state: Arrays, layer: _Layer, given: list[NDArray[Any] | None], scale: float, where: str) -> None:
    """A and B of a layer as int8 codes in the state; rows and columns of a higher rank stay zero."""
    a, b = given
    if a is None or b is None:
        raise CompileError(where, "has one of lora_A and lora_B only", "export both")
    codes_a, codes_b = state[layer.down.inputs["lora_a"]], state[layer.node.inputs["lora_b"]]
    rank, room, channels, depth = len(a), len(codes_a), len(codes_b), codes_a.size // len(codes_a)
    if rank > room:
        raise CompileError(where, f"has rank {rank}, the build's is {room}", f"build with kt.LoRA(rank={rank})")
    inputs = depth // (layer.kernel[0] * layer.kernel[1])
    a = _shaped(a, (rank, depth) if layer.flat else (rank, inputs, *layer.kernel), f"{where}.lora_A")
    b = _shaped(b, (channels, rank) if layer.flat else (channels, rank, 1, 1), f"{where}.lora_B")
    rows = a if layer.flat else a.transpose(0, 2, 3, 1).reshape(rank, depth)
    assert isinstance(layer.node.op, Linear | Gru)
    columns = b.reshape(channels, rank) * (scale / layer.node.op.lora_scale)
    whole_a, whole_b = np.zeros((room, depth)), np.zeros((channels, room))
    whole_a[:rank], whole_b[:, :rank] = rows, columns
    for values, inputs_of, operand in ((whole_a, layer.down.inputs, "lora_a"), (whole_b, layer.node.inputs, "lora_b")):
        exponent = int(exponent_for(np.float32(np.abs(values).max()), 127.0, -24))
        codes = np.clip(np.floor(values / 2.0**exponent + 0.5), -127, 127).astype(np.int8)
        state[inputs_of[operand]] = codes.reshape(state[inputs_of[operand]].shape)
        state[inputs_of[f"{operand}_exponent"]] = np.array([exponent], np.int8)


def _fit_ranges(graph: Graph, state: Arrays, layers: Mapping[str, _Layer], x: NDArray[Any]) -> None:
    """The smallest power of two that holds A x of the samples, layer by layer: each sees what the ones before it give."""
    for layer in layers.values():
        arrays = ir.run(graph, {graph.inputs[0]: x}, state)
        codes, exponent = state[layer.down.inputs["lora_a"]], float(state[layer.down.inputs["lora_a_exponent"]].ravel()[0])
        assert isinstance(layer.node.op, Linear | Gru)
        types = node_types(graph, layer.node)
        image = layer.node.op.images(types)[0]
        real = arrays[layer.node.inputs["x"]].astype(np.int64) - graph.type(layer.node.inputs["x"]).zero_point
        rows = layer.node.op.window_of(types).patches(real.reshape(-1, *image))
        rows = rows.reshape(-1, codes.size // len(codes))
        largest = float(np.abs(rows @ codes.reshape(len(codes), -1).T.astype(np.int64)).max()) * 2.0**exponent
        reach = int(np.clip(np.ceil(np.log2(max(largest, 1e-9) / 127.0)), -24, 30))
        state[layer.down.inputs["lora_range"]] = np.array([reach], np.int8)
