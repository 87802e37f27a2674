"""Secure aggregation and noisy updates: sums under masks are plain sums, bit for bit, whoever vanishes and when; what is refused; what is counted."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation import Federation, until
from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.common import bytes_to_ndarray
from flwr.common.secure_aggregation import secaggplus_utils
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.supercore.task_identity import TaskIdentity
from unit.test_federated import adapter

import kilotune as kt
from kilotune import federated
from kilotune.federated import Spent, flower
from kilotune.federated.flower import secure, updates

TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
LIKE = adapter(np.random.default_rng(9))
SIZE = updates.size_of(LIKE)


class Nodes:
    """A transport in this process: every message goes to the app of its node, with the state that SuperNodes keep. lost: (node, stage) to fail."""

    def __init__(self, train: Callable[[Message], Message], count: int, lost: Sequence[tuple[int, str]] = ()) -> None:
        self.train, self.lost = train, set(lost)
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in range(1, count + 1)}
        self.seen: list[Message] = []
        self.answers: dict[str, Message] = {}

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def send_and_receive(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._answer(m) for m in messages]

    def push_messages(self, messages: Sequence[Message]) -> list[str]:
        self.answers |= {str(m.metadata.dst_node_id): self._answer(m) for m in messages}
        return [str(m.metadata.dst_node_id) for m in messages]

    def pull_messages(self, numbers: Sequence[str]) -> list[Message]:
        return [self.answers.pop(n) for n in numbers if n in self.answers]

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        message = Message(  # as one that travelled
            RecordDict({k: updates.ConfigRecord(dict(v)) if isinstance(v, updates.ConfigRecord) else v for k, v in message.content.items()}),
            dst_node_id=node, message_type=message.metadata.message_type,
        )  # fmt: skip
        message.metadata.__dict__["_message_id"] = str(node)
        stage = str(message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]) if RECORD_KEY_CONFIGS in message.content.config_records else ""
        if (node, stage) in self.lost:
            return Message(Error(3, f"vanished in {stage}"), reply_to=message)
        try:
            reply = flower.secure_mod(message, self.contexts[node], lambda m, c: self.train(m))
        except (kt.DeviceError, ValueError) as error:
            return Message(Error(3, str(error)), reply_to=message)
        self.seen.append(reply)
        return reply


def answers(values: dict[int, Any], samples: dict[int, int]) -> Callable[[Message], Message]:
    """An app whose clients send these updates."""

    def train(message: Message) -> Message:
        node = message.metadata.dst_node_id
        assert updates.Wanted.by(message) is not None
        content = RecordDict({
            "arrays": updates.ArrayRecord({"update": updates.array(values[node])}),
            "metrics": updates.MetricRecord({"num-examples": samples[node], "loss": 0.5 * node}),
        })  # fmt: skip
        return Message(content, reply_to=message)

    return train


def drawn(count: int, largest: int = updates.LIMIT) -> tuple[dict[int, Any], dict[int, int]]:
    rng = np.random.default_rng(count)
    return {n: rng.integers(-largest, largest + 1, SIZE) for n in range(1, count + 1)}, {n: int(rng.integers(1, 2**20)) for n in range(1, count + 1)}


@pytest.mark.parametrize(
    ("lost", "shares"),
    [((), 0), ([(2, Stage.SETUP)], 0), ([(2, Stage.COLLECT_MASKED_VECTORS)], 5),
     ([(1, Stage.SHARE_KEYS), (2, Stage.COLLECT_MASKED_VECTORS), (3, Stage.UNMASK)], 0)],
)  # fmt: skip
def test_sums_under_masks_are_plain_sums(lost: Any, shares: int) -> None:
    """Of the largest updates and weights, whoever vanishes in which stage; who has sent its vector is in the sum even if it vanishes after."""
    values, samples = drawn(7)
    strategy = flower.SummedUpdates(
        LIKE, secure=True, shares=shares, least=0.4, fraction_evaluate=0.0, min_train_nodes=3, min_evaluate_nodes=0, min_available_nodes=3
    )
    nodes = Nodes(answers(values, samples), 7, lost)
    result = strategy.start(nodes, flower.packed(LIKE), num_rounds=1)  # type: ignore[arg-type]
    left = [n for n in values if not {(n, s) for s in (Stage.SETUP, Stage.SHARE_KEYS, Stage.COLLECT_MASKED_VECTORS)} & set(lost)]
    total, weight = sum(samples[n] * values[n] for n in left), sum(samples[n] for n in left)
    plain = flower.SummedUpdates(LIKE, fraction_evaluate=0.0, min_train_nodes=3, min_evaluate_nodes=0, min_available_nodes=3, least=0.4)
    same = Nodes(answers(values, samples), 7, [(n, "") for n in values if n not in left])
    assert flower.unpacked(result.arrays).data == federated.with_sum(LIKE, total, weight, LIKE).data
    assert flower.unpacked(plain.start(same, flower.packed(LIKE), num_rounds=1).arrays).data == flower.unpacked(result.arrays).data  # type: ignore[arg-type]
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(sum(0.5 * n * samples[n] for n in left) / weight, abs=1e-6)
    assert [RECORD_KEY_CONFIGS in m.content for m in nodes.seen] == [True] * len(nodes.seen) and not any("arrays" in m.content for m in nodes.seen)


@pytest.mark.parametrize("clip", [0, 2**20])
def test_totals_are_exact_and_vectors_are_hidden(clip: int) -> None:
    """The total itself, not only the adapter that it is rounded to; what travels is spread over the whole modulus."""
    wanted = updates.Wanted(clip, 2**19 if clip else 0)
    values, samples = drawn(4, wanted.bound if clip else updates.LIMIT)
    samples = dict.fromkeys(samples, 1) if clip else samples
    messages = []
    for node in values:
        content = RecordDict({"arrays": flower.packed(LIKE), "config": updates.ConfigRecord(wanted.record())})
        messages.append(Message(content, dst_node_id=node, message_type=MessageType.TRAIN))
    nodes = Nodes(answers(values, samples), 4, [(4, Stage.COLLECT_MASKED_VECTORS)])
    found = secure.masked_sum(nodes, messages, wanted.bound)
    total = updates.Total(wanted, SIZE)
    assert found.total is not None and "vanished" in found.lost[0]
    total.take(found.total, found.clients)
    assert total.clients == 3 and total.weight == sum(samples[n] for n in (1, 2, 3))
    assert np.array_equal(total.values, sum(samples[n] * values[n] for n in (1, 2, 3)))
    sent = [m.content.config_records[RECORD_KEY_CONFIGS].get(Key.MASKED_PARAMETERS) for m in nodes.seen]
    for vector in filter(None, sent):
        masked = bytes_to_ndarray(vector[1]) / secure.Plan.of(4, wanted.bound).modulus
        assert 0.35 < masked.mean() < 0.65 and masked.std() > 0.2
    assert all("arrays" not in m.content for m in nodes.seen)


def test_masks_take_all_of_a_seed() -> None:
    """Two seeds whose 32-bit words have the same exclusive or, which is all that Flower's masks depend on."""
    one, other = bytes(32), b"\1\0\0\0" * 2 + bytes(24)
    first, second = (secure.masks(seed, 2**32, [(1000,), (2, 3)]) for seed in (one, other))
    assert not np.array_equal(first[0], second[0]) and first[1].shape == (2, 3)
    assert np.array_equal(first[0], secure.masks(one, 2**32, [(1000,)])[0]) and first[0].min() >= 0 and first[0].max() < 2**32
    theirs = [secaggplus_utils.pseudo_rand_gen(seed, 2**32, [(5,)])[0] for seed in (one, other)]
    assert np.array_equal(*theirs), "Flower's masks take the whole seed now: take its own"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({Key.STAGE: Stage.SETUP, Key.SAMPLE_NUMBER: 2, Key.SHARE_NUMBER: 3, Key.THRESHOLD: 2}, "of 2 clients, would lift"),
        ({Key.STAGE: Stage.SETUP, Key.SAMPLE_NUMBER: 9, Key.SHARE_NUMBER: 8, Key.THRESHOLD: 4}, "4 of 8 shares"),
        ({Key.STAGE: Stage.UNMASK, Key.ACTIVE_NODE_ID_LIST: [1, 2], Key.DEAD_NODE_ID_LIST: [2]}, "both kinds of shares"),
    ],
)
def test_clients_refuse_what_would_lift_their_masks(config: Any, said: str) -> None:
    message = Message(RecordDict({RECORD_KEY_CONFIGS: updates.ConfigRecord(config)}), dst_node_id=1, message_type=MessageType.TRAIN)
    with pytest.raises(kt.DeviceError, match=said):
        flower.secure_mod(message, Context(1, 1, {}, RecordDict(), {}), lambda m, c: m)


PRIVATE = {"privacy-clip": 4096, "privacy-noise": 2.0, "fraction-evaluate": 0.0, "min-clients": 3}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"secure-aggregation": True, "strategy": "median"}, "leave the server a sum"),
        ({"privacy-clip": 4096, "strategy": "fedadam"}, "leave the server a sum"),
        ({"secure-aggregation": True, "min-clients": 2, "fraction-evaluate": 0.0}, "min-clients = 3"),
        ({"secure-aggregation": True, "min-clients": 3}, "fraction-evaluate = 0.0"),
        ({"privacy-noise": 1.0}, "privacy-clip = 65536"),
        ({"privacy-clip": -1}, "no integer from 0"),
        ({"privacy-clip": 0.5}, "no whole number"),
        ({"privacy-clip": "4096"}, "no number"),
        ({"secure-aggregation": "false"}, "neither true nor false"),
        ({"secure-shares": 33}, "nothing is masked"),
        ({"secure-aggregation": True, "secure-shares": 4}, "no odd number"),
        ({"privacy-clip": 2**21}, "no integer from 0"),
        ({**PRIVATE, "privacy-noise": float("nan")}, "no number from 0"),
        ({**PRIVATE, "privacy-epsilon": -1.0}, "no number from 0"),
        ({"privacy-clip": 4096, "privacy-epsilon": 8.0}, "spent without noise"),
        ({**PRIVATE, "privacy-delta": 0.0}, "no probability"),
        ({**PRIVATE, "fraction-evaluate": 1.0}, "fraction-evaluate = 0.0"),
    ],
)
def test_settings_that_do_not_go_together(config: Any, said: str) -> None:
    if "privacy-noise" in config:
        pytest.importorskip("dp_accounting")
    with pytest.raises(kt.CompileError, match=said):
        flower.strategy_of({"fraction-evaluate": 1.0, **config}, LIKE)


def test_a_budget_is_kept_over_rounds_and_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rounds are refused before they would go beyond it; what was spent stays spent for a run that begins anew, and a round of too few is none."""
    pytest.importorskip("dp_accounting")
    logging.getLogger("flwr").addHandler(caplog.handler)
    values, _ = drawn(10, 4096)
    one = federated.epsilon(2.0, 1)
    config = {**PRIVATE, "result": str(tmp_path / "shared.kta"), "privacy-epsilon": federated.epsilon(2.0, 2) + 0.01}

    def ran(lost: Sequence[int], rounds: int) -> Any:
        nodes = Nodes(answers(values, dict.fromkeys(values, 1)), 10, [(n, "") for n in lost])
        return flower.strategy_of(config, LIKE).start(nodes, flower.packed(LIKE), num_rounds=rounds)  # type: ignore[arg-type]

    ran([1, 2, 3, 4], 1)
    assert "6 updates of 10, fewer than 7" in caplog.text and not (tmp_path / "shared.kta.privacy.json").exists()
    ran([1, 2, 3], 1)
    kept = json.loads((tmp_path / "shared.kta.privacy.json").read_text())["rounds"]
    assert len(kept) == 1 and 2.0 <= kept[0]["noise"] < 2.01 and kept[0]["taken"] == kept[0]["of"] == 10
    assert f"epsilon {federated.epsilon_of([Spent(kept[0]['noise'])]):.3f} at delta 1e-05 of 1 rounds" in caplog.text and one > 0
    ran([], 4)
    assert "no client is asked" in caplog.text
    ledger = federated.Ledger(tmp_path / "shared.kta.privacy.json")
    assert len(ledger.rounds) == 2 and ledger.epsilon() <= config["privacy-epsilon"] < ledger.with_another(Spent(2.0))
    with pytest.raises(kt.CompileError, match="one more would give away"):
        ran([], 1)
    (tmp_path / "shared.kta.privacy.json").write_text('{"rounds": [{"noise": -1, "taken": 1, "of": 1}]}')
    with pytest.raises(kt.DeviceError, match="no account of rounds"):
        ran([], 1)
    logging.getLogger("flwr").removeHandler(caplog.handler)


def test_sampling_hides_clients() -> None:
    pytest.importorskip("dp_accounting")
    rounds = [Spent(4.0, 10, 1000)] * 20
    assert federated.epsilon_of(rounds) < 0.3 * federated.epsilon_of(rounds, sampled=False)
    assert federated.epsilon_of([Spent(4.0)] * 20) == pytest.approx(federated.epsilon(4.0, 20), rel=1e-6)
    assert federated.epsilon_of([]) == 0 and federated.epsilon_of([Spent(0.0)]) == np.inf


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_sum_under_masks(app: Path, tmp_path: Path) -> None:
    """A SuperLink and four SuperNodes; one is ended after it has handed out its keys and trained. The sum is that of what the others sent."""
    pytest.importorskip("dp_accounting")
    here, names = Path(__file__).parent, ("one", "two", "three", "four")
    shutil.copy(here / "vanishing_client.py", app / "fleet" / "client_app.py")
    shutil.copy(here / "keeping_server.py", app / "fleet" / "server_app.py")
    with Federation(tmp_path, app) as found:
        for number, name in enumerate(names):
            found.start_node(name, **{"partition-id": number, "num-partitions": len(names), "vanishes": int(name == "four")})
        private = {"privacy_clip": 65536, "privacy_noise": 1.0}
        found.run("run", secure_aggregation=True, min_clients=4, fraction_evaluate=0.0, round_timeout=240, **private)
        until((app / "vanishing").exists, "the client that vanishes", 300.0)
        found.processes["four"].terminate()
        said = found.finished("run", 400.0)
    assert "3 updates summed under masks" in said, said
    sent = [np.load(app / f"{name}.npy") for name in names[:3]]
    assert np.array_equal(np.load(app / "total.npy"), np.sum(sent, axis=0)) and not (app / "four.npy").exists()
    with kt.open_build(app / "model").open() as device:
        like = flower.first_adapter(device)
    assert kt.Adapter.load(app / "shared.kta").payload == federated.with_sum(like, np.sum(sent, axis=0), 3, like).payload
    spent = federated.Ledger(app / "shared.kta.privacy.json")
    assert len(spent.rounds) == 1 and 1.0 <= spent.rounds[0].noise < 1.001 and f"epsilon {spent.epsilon():.3f} at delta" in said
