"""Secure aggregation: Flower's SecAgg+ over integers. The server sees the sum of what clients send, bit for bit, and no client's own.

Flower's protocol is taken as it is, both halves of it, `SecAggPlusWorkflow` and `secaggplus_mod`: keys are agreed on, shares of them handed out,
vectors masked, and the masks of those who vanished computed from shares of the others. Four things are ours:

    numbers    what is masked are integers v within +-bound. A clipping range of `bound` and a target range of 2 bound make the steps of Flower's
               quantisation 1, so that v becomes v + bound, without rounding; a weight of 1 out of 1 leaves it so. With a modulus above
               2 bound n the sum of n such numbers does not wrap. What comes back is that sum in float64, over n: below 2^52 it is exact.
    masks      Flower 1.42 draws a mask by a Mersenne Twister from 32 bits of a seed, which a server could try out. Here it is the key stream of
               ChaCha20, from all of them.
    losses     clients that vanish before they have masked anything are taken out of the round; Flower's own halts.
    refusals   a client does not help a server that asks for both kinds of shares of one client, or for shares of a minority.

Source: Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead" (2020).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import prod
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as RoundKey
from flwr.server.workflow.secure_aggregation import secaggplus_workflow as of_server
from flwr.serverapp import Grid
from numpy.typing import NDArray

from kiloc import CompileError

from ...errors import DeviceError
from .records import CLIENT
from .updates import vector_of

of_clients = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
"""By name: its package gives the function of this name in its place."""

LEAST = 3
"""Clients: of two, each knows the other's update by the sum."""
SMALLEST_MODULUS, LARGEST_MODULUS = 1 << 32, 1 << 52
LARGEST_BOUND = 1 << 29
"""Flower quantises to int32."""
PRESENT = "pseudo_rand_gen"


# ---- Masks ----


def masks(seed: bytes, modulus: int, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.int64]]:
    """Arrays of 0 to modulus - 1, a power of two, each as likely: the key stream of ChaCha20 of the seed's SHA-256."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    stream = Cipher(algorithms.ChaCha20(hashlib.sha256(seed).digest(), bytes(16)), None).encryptor()
    words = [np.frombuffer(stream.update(bytes(8 * prod(shape))), "<u8") & np.uint64(modulus - 1) for shape in shapes]
    return [w.astype(np.int64).reshape(shape) for w, shape in zip(words, shapes, strict=True)]


@contextmanager
def _whole_seeds(module: Any) -> Iterator[None]:
    """In the block Flower's module takes masks from here."""
    before = getattr(module, PRESENT, None)
    if before is None:
        what = f"this version has no {PRESENT} in {module.__name__}, by which kilotune gives masks all of their seeds"
        raise CompileError("flwr", what, "install the version that kilotune was tested with: pip install 'flwr==1.42'")
    setattr(module, PRESENT, masks)
    try:
        yield
    finally:
        setattr(module, PRESENT, before)


# ---- Clients ----


def secure_mod(message: Message, context: Context, call_next: Any) -> Message:
    """For a ClientApp: `ClientApp(mods=[flower.secure_mod])`. Takes part in secure aggregation where the server asks for it; else it does nothing.

    What the app answers is as `train_reply` gives it.
    """
    if message.metadata.message_type != MessageType.TRAIN or RECORD_KEY_CONFIGS not in message.content.config_records:
        return call_next(message, context)  # type: ignore[no-any-return]
    _check_request(message.content.config_records[RECORD_KEY_CONFIGS])

    def masked(asked: Message, own: Context) -> Message:
        reply: Message = call_next(asked, own)
        vector = vector_of(asked, reply)
        content = compat.fitres_to_recorddict(FitRes(Status(Code.OK, ""), ndarrays_to_parameters([vector]), 1, {}), True)
        if CLIENT in reply.content:
            content[CLIENT] = reply.content[CLIENT]
        return Message(content, reply_to=asked)

    with _whole_seeds(of_clients):
        answer: Message = of_clients.secaggplus_mod(message, context, masked)
    return answer


def _check_request(asked: ConfigRecord) -> None:
    """What Flower's own half does not look at, and a server could misuse."""
    stage, hint = asked.get(Key.STAGE), "the server is none of kilotune's, or is not honest: take part in none of its rounds"
    if stage == Stage.SETUP:
        count, shares, needed = (int(str(asked.get(k, 0))) for k in (Key.SAMPLE_NUMBER, Key.SHARE_NUMBER, Key.THRESHOLD))
        if count < LEAST or not 2 * needed > shares:
            raise DeviceError("secure aggregation", f"{needed} of {shares} shares, of {count} clients, would lift the masks", hint)
    if stage == Stage.UNMASK:
        active, lost = (set(_numbers(asked.get(k))) for k in (Key.ACTIVE_NODE_ID_LIST, Key.DEAD_NODE_ID_LIST))
        if active & lost:
            raise DeviceError("secure aggregation", "the server asks for both kinds of shares of one client", hint)


def _numbers(value: Any) -> list[int]:
    return list(value) if isinstance(value, list) else []


# ---- The server ----


@dataclass(frozen=True)
class Plan:
    """How a round is masked. bound: of each integer, exclusive. shares: neighbours of each client and itself; needed: of these, to lift its masks."""

    clients: int
    bound: int
    shares: int
    needed: int

    @classmethod
    def of(cls, clients: int, bound: int, shares: int = 0) -> Plan:
        """shares: 0 for those of all clients, or an odd number from 3 on. More than half of the shares are needed. Raises DeviceError."""
        if clients < LEAST:
            what = f"of {clients} clients each would know the others' updates by the sum"
            raise DeviceError("secure aggregation", what, f"take at least {LEAST}: min-clients = {LEAST}")
        power = 1 << max(int(bound), 1).bit_length()
        if power > LARGEST_BOUND or 4 * power * clients > LARGEST_MODULUS:
            what = f"integers up to {bound:,} of {clients:,} clients do not fit"
            raise DeviceError("secure aggregation", what, "take a smaller clip, less noise or fewer clients a round")
        count = min(shares or clients, clients)
        return cls(clients, power, count, count // 2 + 1)

    @property
    def modulus(self) -> int:
        """Above the sum of all clients' v + bound, each at most 2 bound."""
        return max(SMALLEST_MODULUS, 1 << (2 * self.bound * self.clients).bit_length())


class _Chosen:
    """What Flower's workflow asks of a strategy: the clients of the round, and who takes the sum."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self.nodes, self.answered = nodes, 0
        self.mean: NDArray[np.float64] | None = None

    def configure_fit(self, *_: Any) -> list[tuple[Any, FitIns]]:
        return [(SimpleNamespace(node_id=node), FitIns(Parameters([], ""), {})) for node in self.nodes]

    def num_available(self) -> int:
        return len(self.nodes)

    def aggregate_fit(self, _: int, results: Sequence[tuple[Any, FitRes]], __: Any) -> tuple[None, dict[str, Any]]:
        self.mean, self.answered = parameters_to_ndarrays(results[0][1].parameters)[0], len(results)
        return None, {}


class _Workflow(of_server.SecAggPlusWorkflow):  # type: ignore[misc, unused-ignore]
    """Flower's, with messages of ours, and without those who vanish before they have masked anything."""

    def __init__(self, plan: Plan, contents: dict[int, RecordDict], timeout: float | None) -> None:
        super().__init__(
            plan.shares, plan.needed, max_weight=1.0, clipping_range=float(plan.bound), quantization_range=2 * plan.bound,
            modulus_range=plan.modulus, timeout=timeout,
        )  # fmt: skip
        self.contents = contents

    def setup_stage(self, grid: Any, context: Any, state: Any) -> bool:
        going_on = bool(super().setup_stage(grid, context, state))
        state.nid_to_fitins = self.contents
        return self._without_lost(state, going_on)

    def share_keys_stage(self, grid: Any, context: Any, state: Any) -> bool:
        return self._without_lost(state, bool(super().share_keys_stage(grid, context, state)))

    def _without_lost(self, state: Any, going_on: bool) -> bool:
        """Nobody added a mask for these, nor has a share of theirs."""
        state.sampled_node_ids = set(state.active_node_ids)
        state.nid_to_neighbours = {n: others & state.active_node_ids for n, others in state.nid_to_neighbours.items() if n in state.active_node_ids}
        return going_on


@dataclass(frozen=True)
class MaskedSum:
    """total [values]: exact; None where too few clients were left. clients: how many are in it. lost: why others are not, as they say it."""

    total: NDArray[np.int64] | None
    clients: int
    lost: tuple[str, ...] = ()


def masked_sum(grid: Any, messages: Sequence[Message], bound: int, shares: int = 0, timeout: float | None = None) -> MaskedSum:
    """A round of training whose answers are summed under masks. timeout: seconds for each of its four stages. Raises DeviceError as `Plan.of`."""
    contents = {message.metadata.dst_node_id: RecordDict(dict(message.content.items())) for message in messages}  # each gets shares of its own
    workflow = _Workflow(Plan.of(len(contents), bound, shares), contents, timeout)
    chosen = _Chosen(list(contents))
    state = RecordDict({MAIN_CONFIGS_RECORD: ConfigRecord({RoundKey.CURRENT_ROUND: 1}), MAIN_PARAMS_RECORD: ArrayRecord()})
    context = LegacyContext(Context(0, 0, {}, state, {}), None, chosen, chosen)  # type: ignore[arg-type, unused-ignore]
    told = _Told(grid)
    with _whole_seeds(of_server):
        workflow(cast(Grid, told), context)
    if chosen.mean is None:
        return MaskedSum(None, 0, tuple(told.errors))
    return MaskedSum(np.rint(chosen.mean * chosen.answered).astype(np.int64), chosen.answered, tuple(told.errors))


class _Told:
    """A grid that keeps the errors that clients answer with."""

    def __init__(self, grid: Any) -> None:
        self._grid, self.errors = grid, list[str]()

    def send_and_receive(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[Message]:
        asked = {message.metadata.dst_node_id for message in messages}
        found = list(self._grid.send_and_receive(messages, timeout=timeout))
        for message in found:
            asked.discard(message.metadata.src_node_id)
            if message.has_error():
                self.errors.append(f"node {message.metadata.src_node_id}: {message.error.reason}")
        self.errors += [f"node {node}: no answer" for node in sorted(asked)]
        return found
