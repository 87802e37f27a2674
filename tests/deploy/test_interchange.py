"""LoRA weights as PEFT folders: out, in, in the layout of other trainers, and what does not fit is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples, tiny
from jax import lax
from safetensors.numpy import load_file, save_file

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kilotune.adapters.compare import real_values
from kilotune.adapters.interchange import CONFIG, WEIGHTS, export_peft, import_peft
from kilotune.adapters.scaling import adapter_of
from kilotune.merging import adapter_state, inference_graph

METHODS = [kt.LoRA(rank=2, layers="all", alpha=3.0), kt.BiasOnly()]


class Setting:
    def __init__(self, graph: Graph, folder: Path, loss: str, y: Any) -> None:
        (folder / "m.tflite").write_bytes(tflite.write(graph))
        self.x, self.model = samples(graph, 40), kt.load(folder / "m.tflite")
        self.build = kt.build(self.model, folder / "b", method=METHODS, optimizer=kt.SGD(lr=0.1), loss=loss, measure=False)
        with self.build.open() as device:
            device.fit(self.x, y, epochs=3, decay="constant")
            self.adapter, self.outputs = device.export_adapter(), np.asarray(device.infer(self.x))
        self.folder = folder / "peft"
        export_peft(self.build, self.adapter, self.folder)


@pytest.fixture(scope="module", params=["dense", "images"])
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp(request.param)
    if request.param == "dense":
        return Setting(tiny(), folder, "cross_entropy", rng.integers(0, 3, 40))
    return Setting(image(), folder, "mse", rng.normal(0, 1, (40, 4)).astype(np.float32))


def test_names_and_config(setting: Setting) -> None:
    tensors, config = load_file(setting.folder / WEIGHTS), json.loads((setting.folder / CONFIG).read_text())
    layers = {e.layer for e in setting.adapter.entries if e.role == "lora_a"}
    expected = {f"base_model.model.{layer}.lora_{part}.weight" for layer in layers for part in "AB"}
    assert expected <= set(tensors) and set(config["target_modules"]) == layers
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 3.0)
    assert all(t.dtype == np.float32 for t in tensors.values())


def test_out_and_in_again(setting: Setting) -> None:
    """Real values come back exactly: codes times a power of two are float32 numbers. Ranges are chosen anew, without the bit to spare that training
    leaves; with those of the trained adapter the results are its own.
    """
    again = import_peft(setting.build, setting.folder, setting.x, name="back", sequence=4)
    assert (again.name, again.sequence, again.base_hash, again.methods) == ("back", 4, setting.adapter.base_hash, setting.adapter.methods)
    before, after = real_values(setting.adapter), real_values(again)
    assert before.keys() == after.keys()
    for name in before:
        assert np.array_equal(before[name], after[name]), name
    ranges = [e.name for e in setting.adapter.entries if e.part == "range"]
    assert ranges and all(again.values()[name] <= setting.adapter.values()[name] for name in ranges)
    with setting.build.open() as device:
        base = np.asarray(device.infer(setting.x)).astype(int)
        device.load_adapter(adapter_of(after, setting.adapter))
        assert np.array_equal(device.infer(setting.x), setting.outputs)
        device.load_adapter(again)
        assert np.abs(device.infer(setting.x) - base).max() > 20


def test_the_layout_is_that_of_convolutions_channels_first(setting: Setting) -> None:
    """A of the file, convolved by jax with the layer's real input, is the layer's u."""
    graph, tensors = inference_graph(setting.build), load_file(setting.folder / WEIGHTS)
    state = adapter_state(setting.build, graph, setting.adapter)
    arrays = interp.run(graph, {"input": setting.x}, state)
    for node in graph.nodes:
        if node.op.mnemonic != "lora_down":
            continue
        layer, window = node.name.removesuffix(".lora_down"), node.op.window  # type: ignore[attr-defined]
        a, t = tensors[f"base_model.model.{layer}.lora_A.weight"], graph.type(node.inputs["x"])
        x = (arrays[node.inputs["x"]].astype(np.float32) - t.zero_point) * t.scale
        if a.ndim == 4:
            (top, left, bottom, right), dims = window.pad, ("NHWC", "OIHW", "NHWC")
            u = lax.conv_general_dilated(x, a, window.stride, ((top, bottom), (left, right)), dimension_numbers=dims, precision="highest")
        else:
            u = x.reshape(len(x), -1) @ a.T
        step = t.scale * 2.0 ** float(state[node.inputs["lora_range"]][0])
        found = arrays[node.outputs[0]].reshape(len(x), -1) * step
        inside = np.abs(found) < 126.5 * step
        assert np.abs(np.asarray(u).reshape(len(x), -1) - found)[inside].max() <= 0.501 * step, layer


def test_alpha_scales_what_is_added(setting: Setting, tmp_path: Path) -> None:
    shutil.copytree(setting.folder, tmp_path / "p")
    config = json.loads((tmp_path / "p" / CONFIG).read_text())
    (tmp_path / "p" / CONFIG).write_text(json.dumps(config | {"lora_alpha": 2 * config["lora_alpha"]}))
    once, twice = (real_values(import_peft(setting.build, folder, setting.x)) for folder in (setting.folder, tmp_path / "p"))
    for name in once:
        assert np.array_equal(twice[name], once[name] * (2 if name.endswith("lora_b") else 1)), name


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return edit


def renamed(tensors: dict[str, Any]) -> None:
    for part in "AB":
        tensors[f"base_model.model.secnd.lora_{part}.weight"] = tensors.pop(f"base_model.model.second.lora_{part}.weight")


def higher(tensors: dict[str, Any]) -> None:
    a, b = (tensors[f"base_model.model.first.lora_{part}.weight"] for part in "AB")
    tensors["base_model.model.first.lora_A.weight"] = np.concatenate([a, a])
    tensors["base_model.model.first.lora_B.weight"] = np.concatenate([b, b], 1)


def not_a_number(tensors: dict[str, Any]) -> None:
    tensors["base_model.model.first.lora_A.weight"][0, 0] = np.nan


def turned(tensors: dict[str, Any]) -> None:
    tensors["base_model.model.first.lora_A.weight"] = tensors["base_model.model.first.lora_A.weight"][:, :-1].copy()


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "another layer": (edited(renamed), "did you mean second"),
    "a higher rank": (edited(higher), r"has rank 4, the build's is 2"),
    "another shape": (edited(turned), r"has shape \[2, 7\], the layer's is \[2, 8\]"),
    "one half": (edited(lambda t: t.pop("base_model.model.first.lora_B.weight")), "one of lora_A and lora_B only"),
    "not finite": (edited(not_a_number), "not finite"),
    "cut": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:100]) and None, "is not read"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "is not read"),
    "another method": (lambda f: (f / CONFIG).write_text('{"peft_type": "IA3"}') and None, "is not read"),
    "no rank": (lambda f: (f / CONFIG).write_text('{"peft_type": "LORA", "r": 0, "lora_alpha": 1}') and None, "names no LoRA"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case: str, tmp_path: Path) -> None:
    setting = Setting(tiny(), tmp_path, "cross_entropy", np.random.default_rng(1).integers(0, 3, 40))
    spoil, words = WRONG[case]
    spoil(setting.folder)
    with pytest.raises(kt.CompileError, match=words):
        import_peft(setting.build, setting.folder, setting.x)


def test_other_trained_values_cannot_be_said(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(tflite.write(tiny()))
    build = kt.build(kt.load(tmp_path / "m.tflite"), tmp_path / "b", method=kt.ScaleShift(), measure=False)
    with build.open() as device, pytest.raises(kt.CompileError, match="holds gain"):
        export_peft(build, device.export_adapter(), tmp_path / "p")
    assert not (tmp_path / "p").exists()
