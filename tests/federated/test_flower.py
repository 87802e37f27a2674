"""Strategies and clients for Flower, message by message: what is taken, what is said of the rest, and what a device has afterwards."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tomllib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from faulty_client import of_rank
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian
from flwr.supercore.task_identity import TaskIdentity
from unit.test_federated import adapter, sent

import kilotune as kt
from kilotune import federated
from kilotune.adapters.compare import real_values
from kilotune.cli import main
from kilotune.federated import Contribution, flower

ROOT = Path(__file__).resolve().parents[2]
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
"""Messages are of a run."""


def asked(node: int, content: RecordDict | None = None) -> Message:
    message = Message(content or RecordDict(), dst_node_id=node, message_type=MessageType.TRAIN)
    message.metadata.__dict__["_message_id"] = str(node)
    return message


def reply(node: int, arrays: ArrayRecord, samples: Any = 5, **metrics: float) -> Message:
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": samples, "loss": 1.0, **metrics})})
    return Message(content, reply_to=asked(node))


def replies(contributions: list[Contribution]) -> list[Message]:
    return [reply(i + 1, flower.packed(c.adapter), c.samples) for i, c in enumerate(contributions)]


def aggregated(strategy: Any, messages: Any) -> kt.Adapter:
    arrays, _ = strategy.aggregate_train(1, messages)
    return flower.unpacked(arrays)


# -- strategies ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["exact", "median", "krum", "product", "fedavg", "fedmedian", "fedadam"])
def test_an_adapter_is_a_function_of_the_files(name: str) -> None:
    """Whoever answers first; with integers it is `exact_mean`, with real values within half a step of the same rule."""
    contributions, like = sent(5), adapter(np.random.default_rng(9))
    found = set()
    for order in (slice(None), slice(None, None, -1)):
        strategy = flower.strategy(name, like)
        if isinstance(strategy, flower.Requantized):
            strategy.begin(like)
        found.add(aggregated(strategy, replies(contributions)[order]).data)
    assert len(found) == 1
    result = kt.Adapter(found.pop())
    if name == "exact":
        assert result == federated.exact_mean(contributions)
    elif name in ("fedavg", "fedmedian"):
        other = {"fedavg": federated.mean, "fedmedian": federated.median}[name](contributions)
        for key, values in real_values(result).items():
            assert np.abs(values - real_values(other)[key]).max() <= np.abs(values).max() / 127, key


def test_real_values_are_kept_between_rounds() -> None:
    """A second round whose clients send back what they got changes nothing but by rounding."""
    like = adapter(np.random.default_rng(1))
    strategy = flower.Requantized(FedAvg(), like)
    strategy.begin(like)
    first = aggregated(strategy, replies(sent(3)))
    second = aggregated(strategy, replies([Contribution(first, 1), Contribution(first, 3)]))
    assert all(np.allclose(v, real_values(first)[name], rtol=1e-9, atol=1e-12) for name, v in real_values(second).items())


def test_a_hostile_client_does_not_move_the_median() -> None:
    like = adapter(np.random.default_rng(1))
    honest = [Contribution(adapter(np.random.default_rng(4)), 1)] * 4
    hostile = Contribution(adapter(np.random.default_rng(3), (20, 20)), 1)
    strategy = flower.Requantized(FedMedian(), like)
    strategy.begin(like)
    found = real_values(aggregated(strategy, replies([*honest, hostile])))
    assert all(np.allclose(found[name], v, atol=2.0**-10 + 0.5 * (name == "layer.bias")) for name, v in real_values(honest[0].adapter).items())


def test_memory_does_not_grow_with_clients() -> None:
    like = adapter(np.random.default_rng(9), rank=3)

    def come(count: int) -> Iterator[Message]:
        rng = np.random.default_rng(0)
        for i in range(count):
            yield reply(i, flower.packed(adapter(rng)), 1)

    peaks = []
    for count, take in ((20, iter), (200, iter), (200, list)):
        tracemalloc.start()
        aggregated(flower.ExactAdapters(like), take(come(count)))  # type: ignore[operator]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < (peaks[2] - peaks[0]) / 4, "numbers of nodes are all that grows"


BASE = adapter(np.random.default_rng(2))
DAMAGED = bytearray(BASE.data)
DAMAGED[-9] ^= 1
RAW = np.frombuffer(BASE.data, np.uint8)
FAULTS = {
    "damaged": (reply(7, ArrayRecord({"adapter": Array(np.frombuffer(bytes(DAMAGED), np.uint8))})), "node 7 is left out: adapter damaged"),
    "foreign": (reply(7, flower.packed(adapter(np.random.default_rng(0), base=b"another!"))), "belongs to the base model"),
    "rank": (reply(7, flower.packed(of_rank(BASE, 2))), "has another table"),
    "not a number": (reply(7, ArrayRecord({"adapter": Array(np.full(9, np.nan))})), "of type float64, not the bytes"),
    "weights": (reply(7, ArrayRecord({"conv": Array(RAW)})), "sent no adapter: the record holds 'conv'"),
    "loss": (reply(7, flower.packed(BASE), loss=float("nan")), "sent loss nan"),
    "no samples": (reply(7, flower.packed(BASE), 0), "learned from 0 samples"),
    "half a sample": (reply(7, flower.packed(BASE), 0.5), "learned from 0.5 samples"),
    "twice": (reply(1, flower.packed(BASE)), "node 1 is left out: answered twice"),
    "error": (Message(Error(3, "DeviceError: the board is gone"), reply_to=asked(7)), "node 7 is left out: DeviceError: the board is gone"),
    "nothing": (Message(RecordDict(), reply_to=asked(7)), "sent 0 records of arrays"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["exact", "fedavg"])
def test_a_round_ends_without_those_who_fail(fault: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    message, said = FAULTS[fault]
    like, good = adapter(np.random.default_rng(9)), sent(2)
    found = []
    for messages in (replies(good), [*replies(good), message]):
        strategy = flower.strategy(name, like)
        if isinstance(strategy, flower.Requantized):
            strategy.begin(like)
        with caplog.at_level(logging.WARNING, "flwr"):
            logging.getLogger("flwr").addHandler(caplog.handler)
            found.append(aggregated(strategy, messages))
            logging.getLogger("flwr").removeHandler(caplog.handler)
    assert found[0] == found[1]
    assert said in caplog.text


def test_a_round_of_which_nothing_can_be_taken() -> None:
    assert flower.ExactAdapters(adapter(np.random.default_rng(9))).aggregate_train(1, [FAULTS["foreign"][0]]) == (None, None)


@pytest.mark.parametrize(
    ("name", "own", "what"),
    [
        ("best", None, "there is none"),
        ("exact", {"eta": 1.0}, "takes no eta"),
        ("fedadam", {"share": 1}, "share"),
        ("median", {"eta": 1}, "eta"),
    ],
)
def test_strategies_that_there_are_not(name: str, own: dict[str, Any] | None, what: str) -> None:
    with pytest.raises(kt.CompileError, match=what):
        flower.strategy(name, adapter(np.random.default_rng(0)), own)


# -- clients ------------------------------------------------------------------------------------------
def samples(app: Path) -> tuple[Any, Any]:
    with np.load(app / "data.npz") as file:
        return file["x"], file["y"]


def order(shared: kt.Adapter, **config: Any) -> Message:
    return asked(3, RecordDict({"arrays": flower.packed(shared), "config": ConfigRecord({"server-round": 1, **config})}))


def test_a_client_trains_from_what_came(app: Path, device: kt.Device) -> None:
    x, y = samples(app)
    like = flower.first_adapter(device)
    device.fit(x, y, epochs=1)  # what it had learned before does not count
    answer = flower.train_reply(order(like), device, x, y, "kitchen", epochs=2)
    assert flower.sender(answer) == "'kitchen', node 3" and answer.content["metrics"]["num-examples"] == len(x)
    device.reset()
    device.load_adapter(like)
    device.fit(x, y, epochs=2, seed=1, hold_out=0)
    assert flower.unpacked(answer.content["arrays"]) == device.export_adapter()
    judged = flower.evaluate_reply(order(like), device, x, y)
    assert 0 <= judged.content["metrics"]["accuracy"] <= 1 and device.export_adapter() == like


def test_the_proximal_term_keeps_clients_together(app: Path, device: kt.Device) -> None:
    x, y = samples(app)
    like = flower.first_adapter(device)
    far = []
    for strength in (0.0, 0.1, 10.0):
        answer = flower.train_reply(order(like, **{"proximal-mu": strength}), device, x, y, epochs=3)
        change, start = real_values(flower.unpacked(answer.content["arrays"])), real_values(like)
        far.append(sum(float(np.linalg.norm(change[name] - start[name])) for name in start if not name.endswith("bias")))
    assert far[0] > far[1] > 2 * far[2] > 0


def test_the_proximal_step_is_its_formula() -> None:
    one, other = (adapter(np.random.default_rng(seed)) for seed in (1, 2))
    half = real_values(federated.drawn_back(one, other, 1.0))
    for name, value in half.items():
        exact = (real_values(one)[name] + real_values(other)[name]) / 2
        assert np.abs(value - exact).max() <= np.abs(exact).max() / 127 + 0.5 * (name == "layer.bias")
    assert federated.drawn_back(one, other, 0.0) == one
    with pytest.raises(kt.DeviceError, match="would not draw"):
        federated.drawn_back(one, other, float("nan"))


@pytest.mark.parametrize("fault", ["damaged", "foreign", "labels"])
def test_no_client_is_left_with_half_an_adapter(fault: str, app: Path, device: kt.Device) -> None:
    """What cannot be loaded, or fails in the middle of training, leaves the device as it was."""
    x, y = samples(app)
    message = order(flower.first_adapter(device))
    device.fit(x, y, epochs=1)
    before = device.export_adapter()
    if fault == "foreign":
        message = order(BASE)
    elif fault == "damaged":
        data = bytearray(before.data)
        data[len(data) // 2] ^= 1
        message.content["arrays"] = ArrayRecord({"adapter": Array(np.frombuffer(bytes(data), np.uint8))})
    with pytest.raises((kt.DeviceError, ValueError)):
        flower.train_reply(message, device, x, y + (100 if fault == "labels" else 0), epochs=1)
    assert device.export_adapter() == before


def test_the_example_starts() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples/federated/fleet.py", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "two emulated boards" in done.stdout.lower(), done.stderr


# -- rounds and apps ----------------------------------------------------------------------------------
def test_rounds_go_on_from_their_file(tmp_path: Path) -> None:
    file, like, shared = tmp_path / "shared.kta", BASE, adapter(np.random.default_rng(6))
    flower.Rounds(file, like, resume=True).keep(3, flower.packed(shared))
    again = flower.Rounds(file, like, resume=True, judge=lambda found: {"bytes": float(len(found))})
    assert again.done == 3 and flower.unpacked(again.arrays).payload == shared.payload
    scores = again.keep(1, again.arrays)
    assert scores is not None and scores["bytes"] == len(shared) and kt.Adapter.load(file).sequence == 4
    assert flower.Rounds(file, like).done == 0
    with pytest.raises(kt.DeviceError, match="another model"):
        flower.Rounds(file, adapter(np.random.default_rng(0), base=b"another!"), resume=True)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(kt.DeviceError, match="truncated"):
        flower.Rounds(file, like, resume=True)


def test_an_app_says_what_it_needs(app: Path, device: kt.Device) -> None:
    config = tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert isinstance(flower.strategy_of(config, flower.first_adapter(device)), flower.ExactAdapters)
    assert config["build"] == str(app / "model") and kt.open_build(config["build"])
    share = [
        flower.samples_of(device, Context(1, 2, {"partition-id": i, "num-partitions": 3}, RecordDict(), {"data": config["data"]}), judged)[0]
        for i in range(3)
        for judged in (False, True)
    ]
    assert sum(map(len, share)) == 30 and len({row.tobytes() for part in share for row in part}) == 30
    with pytest.raises(kt.DeviceError, match="too few"):
        flower.samples_of(device, Context(1, 2, {"partition-id": 0, "num-partitions": 16}, RecordDict(), {"data": config["data"]}))
    with pytest.raises(kt.DeviceError, match="no 'build' is named"):
        flower.open_device(Context(1, 2, {}, RecordDict(), {}))


def test_simulated_clients_take_turns_on_one_device(app: Path, device: kt.Device, tmp_path: Path) -> None:
    """Each takes it as built, whatever the one before did and however it ended; samples are read anew where their file has changed."""
    with np.load(app / "data.npz") as file:
        x, y = file["x"], file["y"]
    np.savez(tmp_path / "data.npz", x=x[:20], y=y[:20])
    context = Context(1, 2, {"partition-id": 0, "num-partitions": 2}, RecordDict(), {"build": str(app / "model"), "data": str(tmp_path / "data.npz")})
    with flower.open_device(context) as first:
        started = first.state()
        assert len(flower.samples_of(first, context)[0]) == 8
        first.set_learning_rate(0.5)
        first.fit(x[:4], y[:4], epochs=1)
    with pytest.raises(ValueError, match="broken"), flower.open_device(context) as again:
        assert again is first and again.state() == started
        raise ValueError("broken")
    np.savez(tmp_path / "data.npz", x=x[:10], y=y[:10])
    os.utime(tmp_path / "data.npz", ns=(1, 1))
    with flower.open_device(context) as again:
        assert again is first and len(flower.samples_of(again, context)[0]) == 4
        again.close()
    shutil.copytree(app / "model", tmp_path / "model")
    context.run_config["build"] = str(tmp_path / "model")
    with flower.open_device(context) as other:
        assert other is not first and other.infer(x[:1]).shape and other.manifest.directory == tmp_path / "model"
    context.node_config.pop("partition-id")
    with flower.open_device(context) as alone:
        assert alone is not other
    with pytest.raises(kt.DeviceError, match="closed"):
        alone.infer(x[:1])


def test_apps_that_cannot_be_made(app: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ([str(app)], "exists and is not empty"),
        ([str(tmp_path / "a"), "--data", "x.npz"], "--data needs --model"),
        ([str(tmp_path / "a"), "--model", "none.tflite"], "none.tflite"),
        ([str(tmp_path / "a"), "--method", "lora", "--layers", "nowhere"], "nowhere"),
    ):
        done = CliRunner().invoke(main, ["federated", "new", *arguments])
        assert done.exit_code != 0 and said in done.output, done.output
    assert not (tmp_path / "a").exists()
    assert kt.open_build(app / "model").manifest["options"]["constant_channels"] == "frozen", "noise moves any channel"
