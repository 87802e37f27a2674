"""`kilotune adapter`: the commands a person types, as text and as JSON, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.cli import main

X = samples(tiny(), 20)
Y = np.random.default_rng(1).integers(0, 3, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build, and adapters of one and of two epochs."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    methods = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]
    build = kt.build(kt.load(folder / "tiny.tflite"), folder / "b", method=methods, optimizer=kt.SGD(lr=0.1), measure=False)
    with build.open() as device:
        for name in ("one", "two"):
            device.fit(X, Y, epochs=1)
            device.export_adapter().save(folder / f"{name}.kta")
    return folder


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["adapter", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def as_json(*arguments: str | Path, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


def test_inspect(folder: Path) -> None:
    found, adapter = as_json("inspect", folder / "one.kta"), kt.Adapter.load(folder / "one.kta")
    assert found["base_hash"] == adapter.base_hash and found["bytes"] == len(adapter) and found["signed_by"] is None
    assert {"name": "first.lora_a", "dtype": "int8", "rows": 2, "columns": 8} in found["values"]
    text = run("inspect", folder / "one.kta").stdout
    assert "lora r=2 all; bias all" in text and "logits.lora_b" in text and adapter.base_hash in text


def test_inspect_names_damage(folder: Path, tmp_path: Path) -> None:
    data = (folder / "one.kta").read_bytes()
    (tmp_path / "cut.kta").write_bytes(data[:200])
    assert "cut.kta: adapter truncated: 200 of" in run("inspect", tmp_path / "cut.kta", code=1).stderr
    assert "No such file" in run("inspect", tmp_path / "none.kta", code=1).stderr


def test_diff(folder: Path) -> None:
    found = as_json("diff", folder / "one.kta", folder / "two.kta", code=1)
    assert found["header"] == {} and all(row["between"] > 0 for row in found["values"])
    assert {"first.bias", "first.lora_b"} <= {row["name"] for row in found["values"]}
    assert "values differ" in run("diff", folder / "one.kta", folder / "two.kta", code=1).stdout
    assert run("diff", folder / "one.kta", folder / "one.kta").stdout.startswith("0 of")


def test_keys_sign_verify(folder: Path, tmp_path: Path, monocypher: Path) -> None:
    run("keys", tmp_path / "mine"), run("keys", tmp_path / "other")
    signed = tmp_path / "signed.kta"
    found = as_json("sign", folder / "one.kta", "--key", tmp_path / "mine.key", "--name", "alice", "--sequence", "3", "-o", signed)
    assert (found["name"], found["sequence"]) == ("alice", 3) and found["signed_by"] is not None
    assert "signed by" in run("verify", signed, "--key", tmp_path / "mine.pub").stdout
    assert "not by" in run("verify", signed, "--key", tmp_path / "other.pub", code=1).stderr
    assert "is not signed" in run("verify", folder / "one.kta", "--key", tmp_path / "mine.pub", code=1).stderr
    assert "not a public key" in run("verify", signed, "--key", tmp_path / "mine.key", code=3).stderr
    assert as_json("diff", folder / "one.kta", signed, code=1)["header"].keys() == {"name", "sequence", "signed_by"}


def test_pull_push_merge(folder: Path, tmp_path: Path) -> None:
    assert as_json("pull", folder / "b", tmp_path / "base.kta", "--device", "host", "--name", "base", "--sequence", "1")["name"] == "base"
    assert "not signed" in run("push", folder / "b", folder / "two.kta", "--device", "host").stdout
    options = kt.AdapterOptions(slots=True, rollback_protection=True)
    methods = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]
    kt.build(kt.load(folder / "tiny.tflite"), tmp_path / "slots", method=methods, train=False, adapters=options, measure=False)
    assert "not signed" in run("push", tmp_path / "slots", folder / "two.kta", "--device", "agent:host").stdout
    assert "keeps no adapters" in run("push", tmp_path / "slots", folder / "two.kta", "--device", "host", code=1).stderr
    assert "no device of this name" in run("push", folder / "b", folder / "two.kta", "--device", "hots", code=1).stderr
    assert as_json("merge", folder / "b", folder / "two.kta", "-o", tmp_path / "m.tflite")["parameters"] == 205
    assert kt.load(tmp_path / "m.tflite").name == "m"
