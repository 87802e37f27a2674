"""Strategies for Flower's server: adapters in, an adapter out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from logging import INFO, WARNING
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result
from flwr.serverapp.strategy.fedopt import FedOpt
from flwr.supercore import log
from numpy.typing import NDArray

from ...adapters import Adapter
from ...adapters.compare import real_values
from ..contributions import Acceptance, Contribution, Refusal
from ..exact import ExactSum
from ..real import adapter_of, largest_ranges
from .records import adapter_bytes, array, packed, sender, unpacked
from .replies import Streaming

Rule = Callable[[Sequence[Contribution]], Adapter]


class WeightedMetrics:
    """Means of what clients measured, weighted by their samples and added up one at a time."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, metrics: MetricRecord, weight: float, key: str) -> None:
        """What is not a finite number is left out."""
        for name, value in metrics.items():
            if name != key and isinstance(value, int | float) and math.isfinite(value):
                self._sums[name] = self._sums.get(name, 0.0) + weight * value
                self._weights[name] = self._weights.get(name, 0.0) + weight

    def means(self) -> MetricRecord:
        return MetricRecord({name: total / self._weights[name] for name, total in self._sums.items()})


class AdapterStrategy(FedAvg):  # type: ignore[misc, unused-ignore]
    """What the strategies below share: which replies are taken, and a log that names the others.

    like: an adapter of the build, as every client starts from it. rounds_before: rounds that an earlier run has finished, for one that goes on.
    window: messages under way at a time, 0 for all. options: as Flower's FedAvg takes them.
    """

    def __init__(self, like: Adapter, *, ranks: bool = False, rounds_before: int = 0, window: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.like, self.ranks, self.rounds_before, self.window = like, ranks, rounds_before, window

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *arguments: Any, **options: Any) -> Result:
        """As Flower's, but that replies are taken as they come."""
        return super().start(cast(Grid, self._transport(grid)), initial_arrays, *arguments, **options)

    def _transport(self, grid: Grid) -> Streaming:
        """What rounds send by."""
        return Streaming(grid, self.window)

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        asked: Iterable[Message] = super().configure_train(server_round + self.rounds_before, arrays, config, grid)
        return asked

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        metrics, key = WeightedMetrics(), self.weighted_by_key
        for message in self._answers(replies, "aggregate_evaluate"):
            record = next(iter(message.content.metric_records.values()), MetricRecord())
            weight = record.get(key)
            if isinstance(weight, int | float) and math.isfinite(weight) and weight > 0:
                metrics.add(record, weight, key)
            else:
                log(WARNING, "aggregate_evaluate: %s is left out: it judged by %r samples", sender(message), weight)
        return metrics.means()

    def _answers(self, replies: Iterable[Message], step: str) -> Iterator[Message]:
        """Replies without an error; the log says what the others said."""
        for message in replies:
            if message.has_error():
                log(WARNING, "%s: %s is left out: %s", step, sender(message), message.error.reason)
            else:
                yield message

    def _contributions(self, replies: Iterable[Message], metrics: WeightedMetrics) -> Iterator[tuple[Contribution, Message]]:
        """What can be taken of the replies of a round, and what it came in; the log says what cannot."""
        acceptance, count, size = Acceptance(self.like, self.ranks), 0, 0
        for message in self._answers(replies, "aggregate_train"):
            answer = self._contribution(message, acceptance)
            if isinstance(answer, Refusal):
                log(WARNING, "aggregate_train: %s is left out: %s", answer.client, answer.why)
                continue
            metrics.add(next(iter(message.content.metric_records.values())), answer.samples, self.weighted_by_key)
            count, size = count + 1, size + len(answer.adapter)
            yield answer, message
        log(INFO, "aggregate_train: %d adapters taken, of %d bytes in all", count, size)

    def _contribution(self, message: Message, acceptance: Acceptance) -> Contribution | Refusal:
        who = sender(message)
        arrays, records = list(message.content.array_records.values()), list(message.content.metric_records.values())
        if len(arrays) != 1 or len(records) != 1:
            return Refusal(who, f"sent {len(arrays)} records of arrays and {len(records)} of metrics, not one of each")
        bad = [f"{name} {value}" for name, value in records[0].items() if isinstance(value, float) and not math.isfinite(value)]
        if bad:
            return Refusal(who, f"sent {', '.join(bad)}")
        try:
            return acceptance.take((who, cast(int, records[0].get(self.weighted_by_key)), adapter_bytes(arrays[0])))
        except ValueError as error:
            return Refusal(who, f"sent no adapter: {error}")

    def _nothing(self) -> tuple[None, None]:
        log(WARNING, "aggregate_train: no adapter of this round can be taken; the last one stays")
        return None, None


class ExactAdapters(AdapterStrategy):
    """Weighted means in integers: what comes out is a function of the clients' files, bit for bit, in whatever order they came.

    Memory does not grow with the number of clients: `kilotune.federated.ExactSum` takes one at a time.
    """

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        total, metrics = ExactSum(), WeightedMetrics()
        for contribution, _ in self._contributions(replies, metrics):
            total.add(contribution)
        return (packed(total.mean()), metrics.means()) if total.samples else self._nothing()


class RuledAdapters(AdapterStrategy):
    """Another rule of `kilotune.federated`: "median", "trimmed_mean", "krum", or one of your own that makes an adapter of contributions.

    They come sorted by their files, so that sums of real numbers do not depend on who was first. ranks: clients may have other ranks of LoRA
    than `like`, for `product_mean`.
    """

    def __init__(self, rule: Rule, like: Adapter, **options: Any) -> None:
        super().__init__(like, **options)
        self.rule = rule

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        metrics = WeightedMetrics()
        found = sorted((c for c, _ in self._contributions(replies, metrics)), key=_by_file)
        return (packed(self.rule(found)), metrics.means()) if found else self._nothing()


class Requantized(AdapterStrategy):
    """Any strategy of Flower's on the real values of adapters: `Requantized(FedAdam(eta=1), like)`.

    What Flower's strategy sees of a tensor is its change since the start of the run, in units of the root mean square of what the first round
    changed of it, so that one rate of a server suits biases and factors alike. The server keeps real numbers between rounds; what it sends is
    rounded to an adapter each time, and is where clients start from. inner: a FedAvg or a strategy derived from it.
    """

    def __init__(self, inner: FedAvg, like: Adapter, *, rounds_before: int = 0, window: int = 0) -> None:
        taken = ("fraction_train", "fraction_evaluate", "min_train_nodes", "min_evaluate_nodes", "min_available_nodes", "weighted_by_key")
        super().__init__(like, rounds_before=rounds_before, window=window, **{name: getattr(inner, name) for name in taken})
        self.inner = inner
        self._start: dict[str, NDArray[np.float64]] = {}
        self._units: dict[str, float] = {}
        self._ranges: dict[str, int] = {}
        self._now = ArrayRecord()

    def begin(self, adapter: Adapter) -> None:
        """What clients start the first round from."""
        self._start = real_values(adapter)
        self._now = ArrayRecord({name: array(np.zeros_like(values)) for name, values in self._start.items()})

    def summary(self) -> None:
        self.inner.summary()

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        if not self._start:
            self.begin(unpacked(arrays))
        messages = list(self.inner.configure_train(server_round + self.rounds_before, self._now, config, grid))
        for message in messages:
            message.content[self.inner.arrayrecord_key] = arrays
        return messages

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        metrics = WeightedMetrics()
        taken = sorted(self._contributions(replies, metrics), key=lambda pair: _by_file(pair[0]))
        if not taken:
            return self._nothing()
        found, messages = [c for c, _ in taken], [m for _, m in taken]
        changes = [self._change(c.adapter) for c in found]
        if not self._units:
            self._units = {name: _unit(np.mean([change[name] for change in changes], axis=0)) for name in self._start}
        for message, change in zip(messages, changes, strict=True):
            for name in list(message.content.array_records):
                message.content[name] = ArrayRecord({key: array(values / self._units[key]) for key, values in change.items()})
        if isinstance(self.inner, FedOpt):
            self.inner.current_arrays = {name: value.numpy() for name, value in self._now.items()}
        now, _ = self.inner.aggregate_train(server_round, messages)
        if now is None:
            return self._nothing()
        self._now = now
        for name, exponent in largest_ranges(found).items():
            self._ranges[name] = max(self._ranges.get(name, exponent), exponent)
        values = {name: start + self._units[name] * np.asarray(now[name].numpy(), np.float64) for name, start in self._start.items()}
        return packed(adapter_of(values, self.like, self._ranges)), metrics.means()

    def _change(self, adapter: Adapter) -> dict[str, NDArray[np.float64]]:
        return {name: values - self._start[name] for name, values in real_values(adapter).items()}


def _unit(change: NDArray[np.float64]) -> float:
    size = float(np.sqrt(np.mean(np.square(change)))) if change.size else 0.0
    return size if size > 0 else 1.0


def _by_file(contribution: Contribution) -> tuple[bytes, int]:
    return contribution.adapter.data, contribution.samples
