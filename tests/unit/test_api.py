"""The Python API: what a build holds and reports, and what a device does with it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import Reference, image, samples, tiny
from gradients.graphs import Maker, residual

import kilotune as kt
from kiloc.cores import CORES
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation
from kiloc.ir.verify import verify
from kiloc.ops.model.add import Add
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.pipeline import compile_graph
from kilotune import compilers
from kilotune.devices.data import quantize
from kilotune.devices.manifest import Tensor
from kilotune.sizes import parse_size

SCHEMA: dict[str, set[str] | None] = {
    "model": None,
    "features": None,
    "target": None,
    "memory": {"infer_arena", "train_arena", "state", "train_total", "train_to_infer", "lower_bound", "by_kind", "peak_step", "recompute_front"},
    "kernels": {"infer", "train"},
    "flash": {"weights", "code", "total"},
    "stack": {"calls", "largest", "unknown"},
    "trainable": {"parameters", "fraction", "update_bytes"},
    "adapters": {"base", "active", "resident", "slot", "resident_total", "file", "checked_for", "rollback_protection"},
    "replay": None,
    "sliced_step": None,
    "macs": {"forward", "backward"},
    "constant_channels": {"constant", "removed", "of", "macs_before", "macs_after", "weights_before", "weights_after", "layers"},
    "cut_windows": None,
    "bounded_biases": None,
    "compare": {"standard_peft", "full_finetuning"},
}
LORA: list[Method] = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]


def written(graph: Graph, folder: Path) -> kt.Model:
    path = folder / f"{graph.name}.tflite"
    path.write_bytes(tflite.write(graph))
    return kt.load(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, kt.Model]:
    folder = tmp_path_factory.mktemp("models")
    return {graph.name: written(graph, folder) for graph in (tiny(), image())}


@pytest.fixture(scope="module")
def builds(models: dict[str, kt.Model], tmp_path_factory: pytest.TempPathFactory) -> dict[str, kt.Build]:
    """One build a way of training, shared by the tests that change none of them."""
    folder, sgd = tmp_path_factory.mktemp("builds"), kt.SGD(lr=0.1, momentum=0.9)
    return {
        "infer": kt.build(models["tiny"], folder / "infer"),
        "bias": kt.build(models["tiny"], folder / "bias", method=kt.BiasOnly()),
        "lora": kt.build(models["tiny"], folder / "lora", method=LORA, optimizer=sgd),
        "mse": kt.build(models["image"], folder / "mse", method=kt.Head(), loss="mse"),
    }


def labels(count: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 3, count)


# ---- Models ----


def test_layers_of_a_model(models: dict[str, kt.Model]) -> None:
    layers = models["tiny"].layers()
    assert [(x["name"], x["operator"]) for x in layers[:2]] == [("first", "fully_connected"), ("second", "fully_connected")]
    assert [x["trainable"] for x in layers] == [True, True, True, False]
    assert layers[0]["parameters"] == 8 * 10 + 10 and layers[0]["macs"] == 80 and layers[0]["shape"] == [1, 10]
    assert models["tiny"].name == "tiny"


# ---- The report ----


@pytest.mark.parametrize("case", ["infer", "bias", "lora", "mse"])
def test_report_has_the_schema(case: str, builds: dict[str, kt.Build]) -> None:
    report = builds[case].report
    assert set(report) == set(SCHEMA)
    for key, inner in SCHEMA.items():
        assert inner is None or (key in ("compare", "adapters") and case == "infer") or set(report[key]) >= inner, key
    assert (report["compare"] is None) == (case == "infer")
    for usual in (report["compare"] or {}).values():
        assert set(usual) == {"arena", "state", "total"} and usual["total"] == usual["arena"] + usual["state"]
    assert report["target"] == "cortex-m4"
    assert kt.open_build(builds[case].directory) == builds[case]


def macros(build: kt.Build) -> dict[str, int]:
    text = (build.directory / f"{build.manifest['name']}.h").read_text()
    prefix = build.manifest["prefix"]
    return {k: int(v) for k, v in re.findall(rf"^#define {prefix}_(\w+) (\d+)", text, re.MULTILINE)}


@pytest.mark.parametrize("case", ["infer", "bias", "lora", "mse"])
def test_memory_of_the_report_is_that_of_the_header(case: str, builds: dict[str, kt.Build]) -> None:
    memory, header, kinds = builds[case].report["memory"], macros(builds[case]), builds[case].report["memory"]["by_kind"]
    assert header["ARENA_BYTES_INFER"] == memory["infer_arena"] > 0
    assert header["STATE_BYTES"] == memory["state"]
    assert header.get("ARENA_BYTES_TRAIN", 0) == memory["train_arena"]
    arena = memory["train_arena"] or memory["infer_arena"]
    assert sum(kinds[k] for k in ("activations", "saved", "gradients", "scratch", "scalars")) == memory["lower_bound"] <= arena
    assert sum(kinds[k] for k in ("trainable", "accumulators", "optimizer", "control")) == memory["state"]
    if case == "infer":
        assert (memory["train_total"], memory["train_to_infer"]) == (0, None)
        return
    assert memory["train_total"] == memory["train_arena"] + memory["state"]
    assert memory["train_to_infer"] == pytest.approx(memory["train_total"] / memory["infer_arena"], abs=1e-3)
    compare, trainable = builds[case].report["compare"], builds[case].report["trainable"]
    # Together: where each sample updates at once, gradients stand in our arena, and in the usual way's state.
    assert memory["train_total"] <= compare["standard_peft"]["total"] < compare["full_finetuning"]["total"]
    assert header["ADAPTER_BYTES"] == trainable["update_bytes"] + 100 == builds[case].manifest["adapter_bytes"], "a signature has 100 bytes"


def test_what_is_trained(builds: dict[str, kt.Build]) -> None:
    total = 8 * 10 + 10 + 10 * 8 + 8 + 8 * 3 + 3
    trained = builds["bias"].report["trainable"]
    file_bytes = 128 + (3 * 12 + 24) + 4 + 4 * 21 + 4 + 36  # header, table with names, biases, their checksums, digest
    assert (trained["parameters"], trained["fraction"], trained["update_bytes"]) == (21, round(21 / total, 6), file_bytes)
    assert builds["lora"].report["trainable"]["parameters"] == 21 + 2 * (8 + 10 + 10 + 8 + 8 + 3)
    assert set(builds["infer"].report["trainable"].values()) == {0}
    assert builds["bias"].report["macs"]["forward"] == 80 + 80 + 24
    assert builds["infer"].report["macs"]["backward"] == 0 < builds["bias"].report["macs"]["backward"]


def test_code_is_what_a_linker_of_its_own_finds(builds: dict[str, kt.Build], tmp_path: Path, arm_gcc: str) -> None:
    build = builds["lora"]
    flash, folder, name = build.report["flash"], build.directory, build.manifest["name"]
    assert flash["total"] == flash["code"] + flash["weights"]
    roots = ("init", "infer", "resume", "train_step", "apply", "set_learning_rate", "adapter_export", "adapter_load")
    command = [arm_gcc, *CORES["cortex-m4"].flags(), "-std=c99", "-O2", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"]
    command += ["-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-nostartfiles", "-Wl,--gc-sections", f"-Wl,--entry={name}_init"]
    command += [f"-Wl,-u,{name}_{root}" for root in roots] + [f"-I{folder}", f"-I{folder}/runtime/include"]
    sources = [str(folder / s) for s in build.manifest["sources"] if not s.endswith("_interface.c")]
    subprocess.run([*command, *sources, "-o", str(tmp_path / "elf")], check=True)
    listing = subprocess.run(["arm-none-eabi-size", "-A", str(tmp_path / "elf")], capture_output=True, text=True, check=True).stdout
    sizes = {key: int(value) for key, value in re.findall(r"^(\.\w+)\s+(\d+)", listing, re.MULTILINE)}
    assert abs(sizes[".text"] - flash["code"]) <= 16
    assert abs(sizes[".rodata"] - flash["weights"]) <= 16


def test_without_a_cross_compiler_the_code_is_not_guessed(models: dict[str, kt.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(core: str) -> None:
        raise kt.DeviceError("arm-none-eabi-gcc", "the program is not installed")

    monkeypatch.setattr(compilers, "cross_compiler", missing)
    build = kt.build(models["tiny"], tmp_path / "b")
    assert build.report["flash"]["code"] is None and build.report["flash"]["total"] is None
    assert build.report["flash"]["weights"] >= 8 * 10 + 10 * 8 + 8 * 3 + 4 * 21
    assert "not measured" in build.report_text()


# ---- Budgets ----


@pytest.mark.parametrize("method", [None, kt.BiasOnly()], ids=["infer", "bias"])
def test_a_memory_budget_is_met_or_names_the_least(models: dict[str, kt.Model], tmp_path: Path, method: Method | None) -> None:
    with pytest.raises(kt.BudgetError) as caught:
        kt.build(models["tiny"], tmp_path / "b", method=method, ram=8)
    assert list(tmp_path.iterdir()) == []
    needed = int(re.findall(r"at least ([\d,]+) bytes", str(caught.value))[0].replace(",", ""))
    with pytest.raises(kt.BudgetError):
        kt.build(models["tiny"], tmp_path / "b", method=method, ram=needed - 1)
    memory = kt.build(models["tiny"], tmp_path / "b", method=method, ram=needed).report["memory"]
    assert needed == (memory["train_total"] if method else memory["infer_arena"])
    assert isinstance(caught.value, kt.CompileError) and "8" in caught.value.where


def test_a_flash_budget_counts_code_and_constants(models: dict[str, kt.Model], tmp_path: Path, arm_gcc: str) -> None:
    with pytest.raises(kt.BudgetError) as caught:
        kt.build(models["tiny"], tmp_path / "b", flash="1K")
    assert list(tmp_path.iterdir()) == []
    needed = int(re.findall(r"needs ([\d,]+) bytes", str(caught.value))[0].replace(",", ""))
    with pytest.raises(kt.BudgetError):
        kt.build(models["tiny"], tmp_path / "b", flash=needed - 1)
    assert kt.build(models["tiny"], tmp_path / "b", flash=needed, ram="64K").report["flash"]["total"] == needed


SIZES = [("64K", 65536), ("64k", 65536), (" 0.5 KB", 512), ("1MiB", 2**20), ("77", 77), (77, 77), (np.int64(9), 9)]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes_as_people_write_them(text: Any, size: int) -> None:
    assert parse_size(text, "ram") == size


@pytest.mark.parametrize("wrong", ["", "K", "-1", "64Q", "1e3", "nan", 0, -5, "0.0001K", 1.5, float("nan"), True, [64]])
def test_what_is_no_size(wrong: Any, models: dict[str, kt.Model], tmp_path: Path) -> None:
    for option in ("ram", "flash", "stack"):
        with pytest.raises(kt.CompileError) as caught:
            kt.build(models["tiny"], tmp_path / "b", **{option: wrong})
        assert caught.value.where == option and type(caught.value) is kt.CompileError


# ---- Directories ----


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_builds_are_the_same_files(models: dict[str, kt.Model], builds: dict[str, kt.Build], tmp_path: Path) -> None:
    again = kt.build(models["tiny"], tmp_path / "elsewhere", method=LORA, optimizer=kt.SGD(lr=0.1, momentum=0.9))
    assert contents(again.directory) == contents(builds["lora"].directory)
    assert contents(builds["lora"].directory) != contents(builds["bias"].directory)


def test_a_failed_build_leaves_the_earlier_one(models: dict[str, kt.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kt.build(models["tiny"], tmp_path / "b", method=kt.BiasOnly())
    before = contents(tmp_path / "b")
    with pytest.raises(kt.BudgetError):
        kt.build(models["tiny"], tmp_path / "b", flash=100)
    monkeypatch.setattr("kilotune.building.figures", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kt.build(models["tiny"], tmp_path / "b")
    assert contents(tmp_path / "b") == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_an_earlier_build_survives_when_the_new_one_cannot_take_its_place(
    models: dict[str, kt.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kt.build(models["tiny"], tmp_path / "b")
    before, rename = contents(tmp_path / "b"), Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name == "build":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(kt.CompileError, match="cannot be written: No space left"):
        kt.build(models["tiny"], tmp_path / "b", method=kt.BiasOnly())
    assert contents(tmp_path / "b") == before and [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_build_replaces_an_earlier_one_whole(models: dict[str, kt.Model], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()  # an empty directory may be there
    kt.build(models["tiny"], tmp_path / "b", method=kt.BiasOnly())
    kt.build(models["image"], tmp_path / "b")
    assert not (tmp_path / "b/tiny.c").exists() and (tmp_path / "b/image.c").exists()
    assert not (tmp_path / "b/runtime/src/core/adapter.c").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("file", ["notes.txt", "manifest.json"])
def test_a_foreign_directory_is_refused(file: str, models: dict[str, kt.Model], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / file).write_text('{"name": "of another program"}')
    with pytest.raises(kt.CompileError, match="is not a build directory"):
        kt.build(models["tiny"], tmp_path / "mine")
    with pytest.raises(kt.CompileError, match="is not a build directory"):
        kt.build(models["tiny"], tmp_path / "mine" / file)
    assert (tmp_path / "mine" / file).read_text() == '{"name": "of another program"}'


def test_what_others_put_into_a_build_is_not_deleted(models: dict[str, kt.Model], tmp_path: Path) -> None:
    kt.build(models["tiny"], tmp_path / "b", measure=False)
    kt.build(models["tiny"], tmp_path / "b", measure=False)
    (tmp_path / "b/mine").mkdir()
    for name in ("main.c", "mine/notes.txt"):
        (tmp_path / "b" / name).write_text("precious")
    with pytest.raises(kt.CompileError, match=r"would delete what the build did not make: main\.c, mine/notes\.txt"):
        kt.build(models["image"], tmp_path / "b", measure=False)
    assert (tmp_path / "b/main.c").read_text() == (tmp_path / "b/mine/notes.txt").read_text() == "precious" and (tmp_path / "b/tiny.c").exists()


def test_stages_are_dumped(models: dict[str, kt.Model], tmp_path: Path) -> None:
    kt.build(models["tiny"], tmp_path / "b", method=kt.Head(), dump=tmp_path / "dump")
    names = sorted(p.name for p in (tmp_path / "dump").iterdir())
    stages = ["simplify", "attach", "diff", "calibrate", "schedule", "reduce", "order.infer", "order.train"]
    stages += [f"{stage}.{part}" for part in ("infer", "train") for stage in ("fit", "kernels", "place")]
    assert names == [f"{number:02}_{stage}.txt" for number, stage in enumerate(stages, 1)]


# ---- Methods and calibration ----


def test_inference_alone_holds_nothing_of_training(builds: dict[str, kt.Build]) -> None:
    build = builds["infer"]
    text = "".join((build.directory / f"tiny{suffix}").read_text() for suffix in (".h", ".c", "_interface.c"))
    text = text.replace(".adapter_bytes = 0,", "").replace(".target_values = 0,", "")  # of the table that all models share
    for word in ("train", "adapter", "resume", "learning_rate", "accumul", "target", "gradient"):
        assert word not in text.replace("_train = 0", ""), word
    assert not any("gradient" in s or "optim" in s or "loss" in s or "adapter" in s for s in build.manifest["sources"])
    assert macros(build)["STATE_BYTES"] == 0 and not build.manifest["training"] and build.manifest["loss"] is None
    with build.open() as device, pytest.raises(kt.DeviceError, match="without training"):
        device.train_step(np.zeros(8, np.int8), 0)
    with build.open() as device:
        assert device.state() == b""
        assert device.infer(samples(tiny(), 2)).shape == (2, 3)


@pytest.mark.parametrize(
    "method",
    [
        kt.BiasOnly("first,logits"),
        [kt.LoRA(rank=1, layers=["first"]), kt.Head()],
        (kt.BiasOnly("last:1"), kt.LoRA(rank=3, layers="sec*", alpha=6)),
        [kt.Head(), kt.BiasOnly(), kt.LoRA(rank=2, layers="first,second")],
    ],
    ids=["bias", "lora+head", "tuple", "all"],
)
def test_methods_combine_and_train_as_the_reference_does(method: Any, models: dict[str, kt.Model], tmp_path: Path) -> None:
    build = kt.build(models["tiny"], tmp_path / "b", method=method)
    methods = (method,) if isinstance(method, Method) else tuple(method)
    reference = Reference(compile_graph(models["tiny"].graph, Options(methods), "0"))
    x, y = samples(tiny(), 4), labels(4)
    with build.open() as device:
        for xi, yi in zip(x, y, strict=True):
            assert device.train_step(xi, yi) == reference.train_step(xi, yi)
            device.apply(), reference.apply()
        assert device.state() == reference.state()
        assert np.array_equal(device.infer(x), reference.infer(x)[0])


def test_the_base_model_is_what_training_starts_from(builds: dict[str, kt.Build]) -> None:
    x, outputs = samples(tiny(), 50), []
    for case in ("infer", "bias", "lora"):
        with builds[case].open() as device:
            outputs.append(device.infer(x))
    assert np.array_equal(outputs[0], outputs[1]) and np.array_equal(outputs[0], outputs[2])
    assert np.array_equal(outputs[0], interp.infer(tiny(), x)[0])


def test_calibration_changes_shifts_alone(tmp_path: Path) -> None:
    model, rng = written(residual(), tmp_path), np.random.default_rng(0)
    noise = rng.integers(-128, 128, (40, 8, 8, 3)).astype(np.int8)
    given: list[Any] = [None, noise, (noise, np.zeros(40, np.int64)), np.full((5, 8, 8, 3), 127, np.int8)]
    texts, skeletons = set(), set()
    for i, calibration in enumerate(given):
        build = kt.build(model, tmp_path / f"{i}", method=kt.BiasOnly(), calibration=calibration, dump=tmp_path / f"dump{i}")
        text = (tmp_path / f"dump{i}/05_schedule.txt").read_text()
        texts.add(text)
        # A shift scales its gradient, and so all that is computed from it.
        text = re.sub(r"^(value \S+ gradient int8\[.*?\] scale) \S+", r"\1", text, flags=re.MULTILINE)
        skeletons.add((re.sub(r'"shift": -?\d+', "", text), build.manifest["base_hash"], *macros(build).items()))
        assert build.report["model"]["calibration"] == ("random inputs", "32 samples", "32 samples", "5 samples")[i]
    assert len(texts) > 1, "calibration has no influence"
    assert len(skeletons) == 1


def test_calibration_as_real_numbers_is_quantised(models: dict[str, kt.Model], tmp_path: Path) -> None:
    x = np.random.default_rng(2).normal(0, 0.7, (20, 8)).astype(np.float32)
    t = models["tiny"].graph.type("input")
    given = [x, x.astype(np.float64), quantize(x, Tensor(t.shape, t.scale, t.zero_point)), x.tolist()]
    made = [kt.build(models["tiny"], tmp_path / f"{i}", method=LORA, calibration=c) for i, c in enumerate(given)]
    assert all(contents(b.directory) == contents(made[0].directory) for b in made[1:])


ZEROS = np.zeros((4, 8), np.float32)


@pytest.mark.parametrize(
    "calibration",
    [
        np.zeros((4, 9), np.float32),
        np.zeros((8, 4), np.float32),
        np.zeros((2, 2, 8), np.int8),
        np.zeros(8, np.float32),
        np.zeros((0, 8), np.float32),
        np.zeros((4, 8), np.int32),
        np.full((4, 8), np.nan),
        np.full((4, 8), np.inf, np.float32),
        np.array("text"),
        [[1.0, 2.0], [3.0]],
        (ZEROS, np.zeros(3, np.int64)),
        (ZEROS, np.array([0, 1, 2, 3])),
        (ZEROS, np.array([0, 1, 2, -1])),
        (ZEROS, np.zeros(4, np.float32)),
        (ZEROS, np.int64(1)),
        (ZEROS, np.zeros(4, np.int64), 1),
    ],
    ids=lambda c: f"{np.asarray(c).dtype}{np.asarray(c).shape}" if isinstance(c, np.ndarray) else "other",
)
def test_wrong_calibration_is_refused(calibration: Any, models: dict[str, kt.Model], tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError) as caught:
        kt.build(models["tiny"], tmp_path / "b", method=kt.BiasOnly(), calibration=calibration)
    assert "calibration" in caught.value.where and caught.value.hint
    assert list(tmp_path.iterdir()) == []


# ---- Several inputs, several outputs ----


def two_by_two() -> Graph:
    """Two inputs of different scale, their sum, and two results."""
    m = Maker("two", (1, 6), 9)
    second = m.b.input(activation((1, 6), 1 / 32, -5), "second")
    y = m.op("input", "sum", Add(), (1, 6), 1 / 24, 1, other=second)
    first = m.dense(y, "classes", 4)
    return verify(m.b.finish([first, m.dense(y, "values", 2)]))


@pytest.mark.parametrize("method", [None, [kt.BiasOnly("classes"), kt.LoRA(rank=1, layers="classes")]], ids=["infer", "train"])
def test_several_inputs_and_outputs_are_lists(method: Any, tmp_path: Path) -> None:
    model = written(two_by_two(), tmp_path)
    build = kt.build(model, tmp_path / "b", method=method)
    rng = np.random.default_rng(4)
    x = [rng.integers(-128, 128, (7, 6)).astype(np.int8) for _ in range(2)]
    with build.open() as device:
        first, second = device.infer(x)
        expected = interp.infer(model.graph, *x)
        assert np.array_equal(first, expected[0]) and np.array_equal(second, expected[1])
        assert (first.shape, second.shape) == ((7, 4), (7, 2))
        assert np.array_equal(device.predict(x), expected[0].argmax(1))
        with pytest.raises(ValueError, match="list of 2 arrays"):
            device.infer(x[0])
        with pytest.raises(ValueError, match="different numbers of samples"):
            device.infer([x[0], x[1][:3]])
        if method:
            assert device.train_step([x[0][0], x[1][0]], 1) > 0
            device.apply()
    text = (build.directory / "two.h").read_text()
    assert "const int8_t input[TWO_INPUT_BYTES], const int8_t input_2[TWO_INPUT_2_BYTES]" in " ".join(text.split())
    assert "int8_t output[TWO_OUTPUT_BYTES], int8_t output_2[TWO_OUTPUT_2_BYTES]" in " ".join(text.split())


def test_calibration_of_several_inputs_says_so(tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError, match="has 2 inputs"):
        kt.build(written(two_by_two(), tmp_path), tmp_path / "b", method=kt.BiasOnly("classes"), calibration=np.zeros((4, 6), np.int8))


def test_what_trains_nothing_of_the_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError, match="does not depend on 'values'"):
        kt.build(written(two_by_two(), tmp_path), tmp_path / "b", method=kt.BiasOnly("values"))


def test_a_model_is_shown_in_a_line(models: dict[str, kt.Model]) -> None:
    shown = repr(models["tiny"])
    assert len(shown) < 200 + len(str(models["tiny"].path)) and "tiny" in shown and "8 to 3" in shown
