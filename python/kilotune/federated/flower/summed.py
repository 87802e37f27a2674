"""A strategy whose clients send updates instead of adapters: under masks, bounded and noised, or both."""

from __future__ import annotations

import math
from collections.abc import Iterable
from logging import INFO, WARNING
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.supercore import log

from kiloc import CompileError

from ...adapters import Adapter
from ..private import CLIP, SIGMA, with_sum
from ..spending import LEAST_SIGMA, Ledger, Spent
from .records import CONFIG, packed, sender, unpacked
from .replies import Streaming
from .secure import LEAST, MaskedSum, masked_sum
from .strategies import AdapterStrategy
from .updates import Total, Wanted, size_of


class SummedUpdates(AdapterStrategy):
    """Sums of integers, of which one is a function of the clients' updates alone, bit for bit, with masks as without.

    like: an adapter of the build before any training. secure: the server sees the sum alone (`flower.secure_mod` on the clients). clip: the largest
    norm of an update, in units of 2^-16; each client counts alike then, and tells neither samples nor loss. noise: standard deviation of all noise
    in a sum over the clip, which each client adds its share of. ledger: what earlier rounds gave away, and this one's will; budget: of epsilon, 0
    for none. least: share of the asked clients below which a round is dropped; so many bring the whole noise. shares: of each client's keys, 0 for
    one for every client. options: as Flower's FedAvg takes them. Raises CompileError for what cannot be.
    """

    def __init__(
        self, like: Adapter, *, secure: bool = False, clip: int = 0, noise: float = 0.0, ledger: Ledger | None = None, budget: float = 0.0,
        least: float = 0.7, shares: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(like, **options)
        self.secure, self.clip, self.noise, self.budget, self.least, self.shares = secure, clip, noise, budget, least, shares
        self._check()
        self.ledger = (ledger or Ledger()) if noise else None
        self._base, self._wanted, self._asked, self._of = like, Wanted(clip), 0, 0

    def _check(self) -> None:
        if isinstance(self.clip, bool) or not isinstance(self.clip, int) or not 0 <= self.clip <= CLIP:
            hint = "65536 is a norm of 1, and 0 bounds nothing"
            raise CompileError(f"privacy-clip={self.clip!r}", f"is no integer from 0 to {CLIP:,}, in units of 2^-16", hint)
        for name, value in (("privacy-noise", self.noise), ("privacy-epsilon", self.budget)):
            if not (math.isfinite(value) and value >= 0):
                raise CompileError(f"{name}={value}", "is no number from 0 on", "1 is usual for noise, 1 to 10 for epsilon; 0 is none")
        if self.noise and not self.clip:
            raise CompileError("privacy-noise", "hides nothing of updates of any length", "bound them: privacy-clip = 65536, for example")
        if self.budget and not self.noise:
            raise CompileError("privacy-epsilon", "is spent without noise by the first update", "set privacy-noise, 1 for example, or no budget")
        if not 0 < self.least <= 1:
            raise CompileError(f"least={self.least}", "is no share of the clients", "pass a number above 0 and up to 1")
        if self.shares and not self.secure:
            raise CompileError(
                "secure-shares", "says how keys are shared, and nothing is masked", "set secure-aggregation = true, or secure-shares = 0"
            )
        if self.shares and (self.shares < LEAST or self.shares % 2 == 0):
            what = f"is no odd number from {LEAST} on"
            raise CompileError(f"secure-shares={self.shares}", what, "take 0 for all clients, or 33, for example")
        if self.secure and self.min_train_nodes < LEAST:
            what = f"permits rounds of {self.min_train_nodes} clients, of which each knows the others' updates by the sum"
            raise CompileError("secure-aggregation", what, f"set min-clients = {LEAST} or more")
        if (self.secure or self.noise) and self.fraction_evaluate > 0:
            what = "clients that judge the adapter tell each their scores, which neither masks nor noise hide"
            raise CompileError("fraction-evaluate", what, 'set fraction-evaluate = 0.0, and judge by samples of the server: judge = "FILE"')

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *arguments: Any, **options: Any) -> Any:
        """As Flower's. Raises CompileError where the budget does not suffice for one round of all clients; of a part, each round says so itself."""
        if self.ledger is not None and self.budget and self.fraction_train >= 1:
            after = self.ledger.with_another(Spent(self.noise))
            if after > self.budget:
                what = f"with what rounds before have spent, {self.ledger.epsilon():.2f}, one more would give away {after:.2f}"
                raise CompileError(f"privacy-epsilon={self.budget:g}", what, "more noise in a round spends less: raise privacy-noise, or the budget")
        return super().start(grid, initial_arrays, *arguments, **options)

    def _transport(self, grid: Grid) -> Streaming:
        return _Masking(grid, self) if self.secure else super()._transport(grid)

    # ---- A round ----

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self._base, self._asked, self._of = unpacked(arrays), len(messages), max(len(list(grid.get_node_ids())), len(messages))
        if not messages:
            return []
        self._wanted = Wanted(self.clip, self._sigma())
        if self.ledger is not None and self.budget:
            after = self.ledger.with_another(Spent(self.noise, self._asked, self._of))
            if after > self.budget:
                log(WARNING, "epsilon would be %.2f after this round, the budget is %g: no client is asked", after, self.budget)
                self._asked = 0
                return []
        for message in messages:
            record = message.content.config_records[CONFIG]
            for key, value in self._wanted.record().items():
                record[key] = value
        return messages

    @property
    def _fewest(self) -> int:
        return max(1, LEAST if self.secure else 1, math.ceil(self.least * self._asked))

    def _sigma(self) -> int:
        """Of each client: that of the fewest who make a round is `noise` in all."""
        if not self.noise:
            return 0
        sigma = math.ceil(self.noise * self.clip / math.sqrt(self._fewest))
        if not LEAST_SIGMA <= sigma <= SIGMA:
            what = f"each of {self._asked} clients would add noise of {sigma:,} units, where {LEAST_SIGMA} to {SIGMA:,} are exact"
            raise CompileError("privacy-noise", what, "a larger clip makes it larger, a smaller one smaller")
        return sigma

    def aggregate_train(self, server_round: int, replies: Any) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """replies: messages, or the sum of what was under masks."""
        if not self._asked:
            return None, None
        total = Total(self._wanted, size_of(self._base))
        if self.secure:
            assert isinstance(replies, MaskedSum), "no update may come without its mask"
            for why in replies.lost:
                log(WARNING, "aggregate_train: left out: %s", why)
            if replies.total is not None:
                total.take(replies.total, replies.clients)
        else:
            self._add(total, replies)
        if total.clients < self._fewest:
            log(WARNING, "aggregate_train: %d updates of %d, fewer than %d: the round is dropped", total.clients, self._asked, self._fewest)
            return None, None
        log(INFO, "aggregate_train: %d updates summed%s", total.clients, " under masks" if self.secure else "")
        self._account(total.clients)
        return packed(with_sum(self._base, total.values, total.weight, self.like)), total.metrics()

    def _add(self, total: Total, replies: Iterable[Message]) -> None:
        seen = set[int]()
        for message in self._answers(replies, "aggregate_train"):
            node = message.metadata.src_node_id
            why = "answered twice" if node in seen else total.add(message)
            seen.add(node)
            if why:
                log(WARNING, "aggregate_train: %s is left out: %s", sender(message), why)

    def _account(self, clients: int) -> None:
        if self.ledger is None:
            return
        noise = math.sqrt(clients) * self._wanted.sigma / self.clip
        self.ledger.add(Spent(noise, self._asked, self._of))
        log(
            INFO, "epsilon %.3f at delta %g of %d rounds, to who sees adapters; %.3f to who knows which clients were asked%s",
            self.ledger.epsilon(), self.ledger.delta, len(self.ledger.rounds), self.ledger.epsilon(sampled=False),
            "" if self.secure else "; this server sees each update, under less noise than that",
        )  # fmt: skip


class _Masking(Streaming):
    """A grid whose rounds of training give the sum of what clients answer."""

    def __init__(self, grid: Grid, strategy: SummedUpdates) -> None:
        super().__init__(grid)
        self._strategy = strategy

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Any:
        asked = list(messages)
        if not asked or asked[0].metadata.message_type != MessageType.TRAIN:
            return super().send_and_receive(asked, timeout=timeout)
        return masked_sum(self._grid, asked, self._strategy._wanted.bound, self._strategy.shares, timeout)
