"""The command line: what it prints, as text and as JSON, and its exit codes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.operator import NoGradient
from kiloc.ops.model.fully_connected import FullyConnected
from kilotune import cli, doctor
from kilotune.cli import main

OK, FAILED, USAGE, MODEL = 0, 1, 2, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a build of it for inference and one for training, and samples."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model = kt.load(folder / "tiny.tflite")
    kt.build(model, folder / "infer")
    kt.build(model, folder / "train", method=[kt.LoRA(rank=2, layers="all"), kt.BiasOnly()], optimizer=kt.SGD(lr=0.1), front=True)
    x = samples(tiny(), 24)
    np.savez(folder / "data.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
    np.savez(folder / "bare.npz", x=x)
    np.savez(folder / "named.npz", spectra=x)
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def as_json(*arguments: str | Path, code: int = OK) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def fails(code: int, *arguments: str | Path) -> str:
    """The message on the error stream: the subject and the cause, then what to do."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    error = as_json(*arguments, code=code)["error"]
    assert set(error) == {"where", "what", "hint"} and error["where"] and f"error: {error['where']}: {error['what']}" in lines
    assert not error["hint"] or f"  hint: {error['hint']}" in lines
    return result.stderr


# ---- Commands ----


def test_analyze(folder: Path) -> None:
    found = as_json("analyze", folder / "tiny.tflite")
    assert found["name"] == "tiny" and found["macs"] == 184 and found["parameters"] == 205
    assert [x["name"] for x in found["layers"]][:3] == ["first", "second", "logits"]
    assert found["inputs"][0]["shape"] == [1, 8] and found["inputs"][0]["scale"] == 1 / 64 and found["outputs"][0]["zero_point"] == -128
    text = run("analyze", folder / "tiny.tflite").stdout
    for words in ("205 parameters, 184 MACs", "first", "fully_connected", "yes", "softmax"):
        assert words in text


def test_build_and_report(folder: Path, tmp_path: Path) -> None:
    command = ("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "lora", "--method", "bias", "--rank", "2", "--layers", "all")
    options = ("--momentum", "0.9", "--lr", "0.05", "--clip", "0.5", "--accumulate", "2", "--ram", "64K", "--name", "mine", "--seed", "3")
    built = as_json(*command, *options, "--target", "cortex-m0plus", "--calibration", folder / "data.npz")
    assert built["model"]["methods"] == ["lora r=2 all", "bias all"] and built["model"]["optimizer"] == "sgd lr=0.05 momentum=0.9 clip=0.5"
    assert built["target"] == "cortex-m0plus" and built["model"]["calibration"] == "24 samples"
    assert as_json("report", tmp_path / "b") == built
    manifest = json.loads((tmp_path / "b/manifest.json").read_text())
    assert manifest["accumulate"] == 2 and manifest["name"] == "mine" and manifest["options"]["ram"] == 65536
    assert run("report", tmp_path / "b").stdout == run(*command, *options, "--target", "cortex-m0plus", "--calibration", folder / "data.npz").stdout
    x, y = (np.load(folder / "data.npz")[k] for k in "xy")
    methods = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]
    sgd = kt.SGD(lr=0.05, momentum=0.9, clip=0.5)
    same = kt.build(kt.load(folder / "tiny.tflite"), tmp_path / "api", method=methods, optimizer=sgd, accumulate=2, target="cortex-m0plus",
                    calibration=(x, y), name="mine", seed=3, ram="64K")  # fmt: skip
    assert same.report == built


def test_build_without_a_method_infers_only(folder: Path, tmp_path: Path) -> None:
    for method in ((), ("--method", "none")):
        report = as_json("build", folder / "tiny.tflite", "-o", tmp_path / "b", *method, "--profile", "litert")
        assert report["compare"] is None and report["memory"]["train_arena"] == 0


def test_build_for_inference_with_adapters(folder: Path, tmp_path: Path) -> None:
    command = ("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "lora", "--method", "bias", "--rank", "2", "--layers", "all")
    report = as_json(*command, "--inference-only")
    assert report["compare"] is None and report["memory"]["state"] > 0 and report["memory"]["train_arena"] == 0
    manifests = [json.loads((d / "manifest.json").read_text()) for d in (tmp_path / "b", folder / "train")]
    assert manifests[0]["base_hash"] == manifests[1]["base_hash"] and not manifests[0]["training"]
    assert "what an adapter holds" in fails(MODEL, "build", folder / "tiny.tflite", "-o", tmp_path / "c", "--inference-only")


def test_options_of_a_replay_buffer_and_of_constant_channels(folder: Path, tmp_path: Path) -> None:
    command = ("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias")
    result = run(*command, "--replay-memory", "slow", "--replay-keep=input")
    assert result.exit_code == USAGE and "--replay-keep, --replay-memory: there is no replay buffer" in result.stderr
    assert not (tmp_path / "b").exists()
    as_json(*command, "--replay", "4", "--replay-memory", "slow", "--constant-channels", "frozen")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["replay"]["memory"] == "slow" and manifest["options"]["constant_channels"] == "frozen"


@pytest.mark.parametrize("options", [("--layers", "all", "--layers", "x"), ("--layers=all", "--layers", "x"), ("--rank", "2", "--rank", "4")])
def test_an_option_of_one_value_is_given_once(options: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    result = run("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "lora", *options)
    assert result.exit_code == USAGE and f"{options[-2]} is given 2 times" in result.stderr and not (tmp_path / "b").exists()


def test_nothing_to_be_copied_is_cut_off_in_a_narrow_terminal(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names for --layers and commands that install something."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi\n" in run("doctor").stdout
    graph = tiny()
    long = "functional_1.block_3.depthwise_convolution_of_the_second_stage"
    nodes = tuple(replace(n, name=long) if n.name == "first" else n for n in graph.nodes)
    monkeypatch.setattr(cli.kt, "load", lambda path: kt.Model(Path(path), replace(graph, nodes=nodes)))
    assert f"{long} " in run("analyze", folder / "tiny.tflite").stdout


def test_report_as_a_person_reads_it(folder: Path) -> None:
    lines = run("report", folder / "train").stdout.splitlines()
    memory, report = as_json("report", folder / "train")["memory"], as_json("report", folder / "train")
    assert lines[0] == "tiny   lora r=2 all + bias all   cortex-m4   sgd lr=0.1 momentum=0 clip=1"
    assert lines.pop(1) == f"{'':<13}cross_entropy", "what is longer than a line goes on below"
    table = {line[:20].strip(): line[20:].split() for line in lines[1:6]}
    assert len({len(line) for line in lines[1:6]}) == 1 and not any(line.endswith(" ") for line in lines), "columns end together"
    usual = [report["compare"][k] for k in ("standard_peft", "full_finetuning")]
    assert table["arena"] == [f"{n:,}" for n in (memory["infer_arena"], memory["train_arena"], usual[0]["arena"], usual[1]["arena"])]
    assert table["state"] == ["-", *(f"{n:,}" for n in (memory["state"], usual[0]["state"], usual[1]["state"]))]
    assert table["total"] == [f"{n:,}" for n in (memory["infer_arena"], memory["train_total"], usual[0]["total"], usual[1]["total"])]
    assert table["ratio to inference"][:2] == ["1.00", f"{memory['train_to_infer']:.2f}"]
    rest = {line[:13].strip(): line[13:] for line in lines[7:]}
    titles = ["trainable", "adapters", "flash", "stack", "MACs", "backward", "peak", "bound", "state", "above infer.", "recompute", "calibration"]
    assert [title for title in rest if title] == titles and len(memory["recompute_front"]) > 1
    assert rest["flash"].startswith(f"weights and tables {report['flash']['weights']:,}, code ") and rest["peak"].startswith(memory["peak_step"])
    assert rest["bound"] == f"no placement below {memory['lower_bound']:,} (alive at one step), this one {100 * memory['gap']:.1f} % above"
    alone = run("report", folder / "infer").stdout
    assert "inference only" in alone and "trainable" not in alone and "PEFT" not in alone
    assert max(map(len, lines + alone.splitlines())) <= 80


def test_simulate_trains_and_saves(folder: Path, tmp_path: Path) -> None:
    command = ("simulate", folder / "train", "--data", folder / "data.npz", "--epochs", "4", "--decay", "linear", "--save", tmp_path / "me.kta")
    found = as_json(*command)
    assert found["device"] == "host" and found["samples"] == 24 and found["loss_after"] < found["loss_before"]
    with kt.open_build(folder / "train").open() as device:
        device.load_adapter(kt.Adapter.load(tmp_path / "me.kta"))
        x, y = (np.load(folder / "data.npz")[k] for k in "xy")
        assert device.evaluate(x, y)["accuracy"] == found["accuracy_after"]
    text = run(*command)
    assert text.exit_code == OK and found["state_sha256"] in text.stdout and "4 epochs, 96 updates: all epochs were trained" in text.stdout
    row = next(line for line in text.stdout.splitlines() if line.startswith("accuracy, samples trained on (24)"))
    assert row.split()[-2:] == [f"{found['accuracy_before']:.4f}", f"{found['accuracy_after']:.4f}"]
    assert "training" not in text.stdout and "training" in text.stderr, "progress is no result"


def test_simulate_infers(folder: Path) -> None:
    assert sum(as_json("simulate", folder / "train", "--data", folder / "bare.npz")["classes"]) == 24
    only = as_json("simulate", folder / "infer", "--data", folder / "data.npz", "--test", folder / "data.npz")
    assert "accuracy_before" in only and "accuracy_after" not in only


def test_ops() -> None:
    rows = as_json("ops")
    names = [row["operator"] for row in rows]
    assert names == sorted(names) and {"conv_2d", "softmax", "mean", "transpose"} <= set(names)
    assert not {n for n in names if "lora" in n or "gradient" in n}, "only what models are made of"
    assert all(row["meaning"].split()[0].strip(":,").isupper() for row in rows)
    without = [row["operator"] for row in rows if row["gradient"] is not True]
    assert without and all(n.startswith("wide_") for n in without), "int16 activations are not trained through"
    assert "average_pool_2d" in run("ops").stdout


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = as_json("doctor")
    assert {"gcc", "arm-none-eabi-gcc", "qemu-system-arm", "python: numpy"} <= {row["tool"] for row in rows}
    assert next(row for row in rows if row["tool"] == "gcc")["version"][0].isdigit()
    assert "needed for" in run("doctor").stdout
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    gcc = next(row for row in as_json("doctor", code=FAILED) if row["tool"] == "gcc")
    assert gcc["version"] == "" and "apt" in gcc["remedy"]
    assert "missing" in run("doctor").stdout


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("\nRenode v1.16.1.20567\n  build: 1a2b3c4d-202602110807\n", "1.16.1"),
        ("Renode, version 1.16.1.20567 (1a2b3c4d-202602110807)\n", "1.16.1"),
        ("arm-none-eabi-gcc (15:14.2.rel1-1) 14.2.1 20241119\n", "14.2.1"),
        ("gcc (Debian 12.4.0-5) 12.4.0\n", "12.4.0"),
        ("\n\n  a development build\n", "a development build"),
        ("", "yes"),
    ],
)
def test_doctor_reads_every_version(printed: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is there is never called missing, whatever it prints."""
    (tmp_path / "renode").write_text(f"#!/bin/sh\ncat <<'END'\n{printed}END\n" if printed else "#!/bin/sh\n")
    (tmp_path / "renode").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert next(row for row in doctor.tools() if row["tool"] == "renode")["version"] == version


def test_version_and_help() -> None:
    assert kt.__version__ in run("--version").stdout
    for command in ("analyze", "build", "report", "simulate", "ops", "doctor"):
        assert command in run("-h").stdout
        assert "--json" in run(command, "--help").stdout


# ---- Errors ----


def test_a_budget_that_cannot_be_met(folder: Path, tmp_path: Path) -> None:
    message = fails(FAILED, "build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias", "--ram", "16")
    assert "training needs at least" in message and "the peak is at step" in message and 'hint: BiasOnly(layers="last:1"): ' in message
    assert not (tmp_path / "b").exists()


def test_a_model_at_fault(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"TFL3 not really")
    (tmp_path / "model.txt").write_text("text")
    for name in ("broken.tflite", "model.txt", "missing.tflite"):
        assert name in fails(MODEL, "analyze", tmp_path / name)
        assert name in fails(MODEL, "build", tmp_path / name, "-o", tmp_path / "b")


def test_a_layer_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    message = fails(MODEL, "build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias", "--layers", "logit")
    assert "hint: did you mean logits?" in message or "hint: did you mean logits," in message


def test_no_way_for_the_gradient(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(self: FullyConnected, b: Any, node: Any, dy: str) -> dict[str, str]:
        if node.name == "logits":
            return correct(self, b, node, dy)
        raise NoGradient("its derivative is unknown")

    correct = FullyConnected.gradient
    monkeypatch.setattr(FullyConnected, "gradient", gradient)
    message = fails(MODEL, "build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "lora", "--method", "bias", "--layers", "all")
    lines = message.splitlines()
    where = "operator 4 of 7)"  # counting LoRA's own
    assert lines[0].startswith("error: 'second' (")
    assert lines[0].endswith(f"{where}: no gradient for FULLY_CONNECTED: its derivative is unknown; it stands between the loss and first")
    assert lines[1] == '  hint: layers="second,logits" trains what comes after it'
    assert run("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias", "--layers", "logits").exit_code == OK


@pytest.mark.parametrize(
    "options",
    [
        ("--target", "cortex-a53"),
        ("--loss", "hinge"),
        ("--label-smoothing", "0.1", "--loss", "mse"),
        ("--class-weights", "1,2,3", "--loss", "bce"),
        ("--class-weights", "1,two,3"),
        ("--positive-weights", "2"),
        ("--huber-delta", "2", "--loss", "mse"),
        ("--huber-delta", "0", "--loss", "huber"),
        ("--method", "magic"),
        ("--rank", "0"),
        ("--accumulate", "0"),
        ("--momentum", "1"),
        ("--lr", "0"),
        ("--lr", "fast"),
        ("--lr", "nan"),
        ("--clip", "-1"),
        ("--clip", "nan"),
        ("--ram", "0"),
        ("--ram", "lots"),
        ("--flash", "-4K"),
        ("--seed", "-1"),
        ("--profile", "exact"),
        ("--unknown",),
    ],
    ids=" ".join,
)
def test_wrong_usage(options: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    result = run("build", folder / "tiny.tflite", "-o", tmp_path / "b", *options)
    assert result.exit_code == USAGE, result.output
    assert options[0] in result.stderr and not (tmp_path / "b").exists()


LOSSES: dict[str, tuple[tuple[str, ...], str]] = {
    "weights": (("--class-weights", "1,2,3"), "cross_entropy weighted"),
    "distributions": (("--loss", "soft_cross_entropy", "--label-smoothing", "0.1"), "soft_cross_entropy label_smoothing=0.1"),
    "huber": (("--loss", "huber", "--huber-delta", "0.25"), "huber delta=0.25"),
    "huber as it is": (("--loss", "huber"), "huber delta=1"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_their_options(name: str, folder: Path, tmp_path: Path) -> None:
    options, expected = LOSSES[name]
    found = as_json("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias", *options)
    assert found["model"]["loss"] == expected


def test_options_of_losses_that_do_not_fit_the_model(folder: Path, tmp_path: Path) -> None:
    given = ("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias")
    assert "has 2 weights, tiny has 3 classes" in fails(MODEL, *given, "--class-weights", "1,2")
    assert "the model ends in a softmax" in fails(MODEL, *given, "--loss", "bce", "--positive-weights", "2")
    assert "not a list of positive numbers" in " ".join(fails(MODEL, *given, "--class-weights", "1,-2,3").split())


def test_near_enough_is_shown(folder: Path) -> None:
    found = as_json("simulate", folder / "infer", "--data", folder / "data.npz", "--within", "1", "--period", "3")
    assert found["within_before"] == 1.0, "no class of three around a circle is further away"
    assert run("simulate", folder / "infer", "--data", folder / "data.npz", "--period", "3").exit_code == USAGE


def test_usage_without_what_is_needed(folder: Path) -> None:
    for arguments in (("build", folder / "tiny.tflite"), ("analyze",), ("simulate", folder / "train"), ("nonsense",)):
        assert run(*arguments).exit_code == USAGE


def test_what_is_no_build_directory(folder: Path, tmp_path: Path) -> None:
    for directory in (tmp_path / "missing", tmp_path):
        assert "is not a build directory" in fails(MODEL, "report", directory)
        assert "hint: make one with `kilotune build MODEL -o DIR`" in fails(MODEL, "simulate", directory, "--data", folder / "data.npz")
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "report.json").write_text("[]")
    assert "is not a build directory" in fails(MODEL, "report", tmp_path)


def test_samples_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([object()]))
    (tmp_path / "text.npz").write_text("x")
    (tmp_path / "zip.npz").write_bytes(b"PK\x03\x04 but cut")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "objects.npz", x=np.array([object()]))
    np.savez(tmp_path / "wide.npz", x=np.zeros((3, 9)), y=np.zeros(3, np.int64))
    np.savez(tmp_path / "labels.npz", x=np.zeros((3, 8)), y=np.array([0, 1, 7]))
    for name in ("objects.npy", "text.npz", "zip.npz", "empty.npz", "objects.npz", "missing.npz"):
        assert name in fails(FAILED, "simulate", folder / "train", "--data", tmp_path / name)
        assert name in fails(FAILED, "build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias", "--calibration", tmp_path / name)
    assert "named x: it has spectra [24, 8]" in fails(FAILED, "simulate", folder / "train", "--data", folder / "named.npz")
    assert "no array named y" in fails(FAILED, "simulate", folder / "train", "--data", folder / "data.npz", "--test", folder / "bare.npz")
    assert "expected [N, 8]" in fails(FAILED, "simulate", folder / "train", "--data", tmp_path / "wide.npz")
    assert "holds label 7 at [2]" in fails(FAILED, "simulate", folder / "train", "--data", tmp_path / "labels.npz")


def test_an_unknown_device(folder: Path) -> None:
    message = fails(FAILED, "simulate", folder / "train", "--data", folder / "data.npz", "--device", "qemu:mps2-an38")
    assert "did you mean qemu:mps2-an38" in message
