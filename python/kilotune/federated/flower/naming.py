"""Strategies by the names that a configuration gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

from flwr.serverapp import strategy as of_flower

from kiloc import CompileError

from ...adapters import Adapter
from .. import products, real
from ..spending import DELTA, Ledger
from .strategies import AdapterStrategy, ExactAdapters, Requantized, RuledAdapters
from .summed import SummedUpdates

INNER: dict[str, Callable[..., of_flower.FedAvg]] = {
    "fedavg": of_flower.FedAvg,
    "fedprox": of_flower.FedProx,
    "fedadam": of_flower.FedAdam,
    "fedyogi": of_flower.FedYogi,
    "fedmedian": of_flower.FedMedian,
    "fedtrimmedavg": of_flower.FedTrimmedAvg,
    "multikrum": of_flower.MultiKrum,
}
"""Of Flower's strategies, on real values."""
RULES: dict[str, Callable[..., Adapter]] = {"median": real.median, "trimmed_mean": real.trimmed_mean, "krum": real.krum}
NAMES = ("exact", "product", *RULES, *INNER)
"""What `strategy` takes. "product": the mean of LoRA's products B A, of clients that may have other ranks."""

SERVER_RATE = 0.5
"""Of fedadam and fedyogi: a step of a value, in units of the root mean square of what the first round changed of its tensor."""


def strategy(name: str, like: Adapter, own: dict[str, Any] | None = None, **options: Any) -> AdapterStrategy:
    """A strategy by its name. own: what the named one takes beside what FedAvg takes, such as {"proximal_mu": 0.1} or {"eta": 1.0}.

    options: of FedAvg, and rounds_before and window. Raises CompileError for a name that is none of NAMES, or options that it does not take.
    """
    mine = {key: options.pop(key) for key in ("rounds_before", "window") if key in options}
    own = own or {}
    try:
        if name in INNER:
            return Requantized(INNER[name](**options, **own), like, **mine)
        if name == "exact" and not own:
            return ExactAdapters(like, **mine, **options)
        if name == "product" and not own:
            return RuledAdapters(partial(products.product_mean, like=like), like, ranks=True, **mine, **options)
        if name in RULES:
            signature(RULES[name]).bind([], **own)
            return RuledAdapters(partial(RULES[name], **own), like, **mine, **options)
    except TypeError as error:
        raise CompileError(f"strategy={name!r}", str(error), "leave that out of the configuration") from None
    if own and name in NAMES:
        raise CompileError(f"strategy={name!r}", f"takes no {', '.join(own)}", "leave that out of the configuration")
    raise CompileError(f"strategy={name!r}", "there is none of this name", f"strategies: {', '.join(NAMES)}")


def strategy_of(config: Mapping[str, Any], like: Adapter, rounds_before: int = 0) -> AdapterStrategy:
    """The strategy that a run's configuration names, as `kilotune federated new` writes it.

    config: "strategy"; "fraction-train" and "fraction-evaluate" of the clients, and "min-clients"; "proximal-mu" of fedprox;
    "server-learning-rate" of fedadam and fedyogi; "window". "secure-aggregation" with "secure-shares", and "privacy-clip" with "privacy-noise",
    "privacy-epsilon" and "privacy-delta", make it `SummedUpdates`; what noisy rounds give away is kept beside the file that "result" names.
    """
    name = str(config.get("strategy", "exact"))
    own: dict[str, Any] = {}
    if name == "fedprox":
        own = {"proximal_mu": _number(config, "proximal-mu", 0.0)}
    elif name in ("fedadam", "fedyogi"):
        own = {"eta": _number(config, "server-learning-rate", SERVER_RATE)}
    least = _whole(config, "min-clients", 2)
    fraction = _number(config, "fraction-evaluate", 1.0)
    options: dict[str, Any] = {
        "fraction_train": _number(config, "fraction-train", 1.0), "fraction_evaluate": fraction, "min_train_nodes": least,
        "min_evaluate_nodes": least if fraction else 0, "min_available_nodes": least, "rounds_before": rounds_before,
        "window": _whole(config, "window", 0),
    }  # fmt: skip
    summed = _sums(config)
    if not summed:
        return strategy(name, like, own, **options)
    if name != "exact":
        what = f"needs each client's adapter, and {' and '.join(summed)} leave the server a sum"
        raise CompileError(f"strategy={name!r}", what, 'set strategy = "exact", or leave these out')
    secure, noise, delta = config.get("secure-aggregation", False), _number(config, "privacy-noise", 0.0), _number(config, "privacy-delta", DELTA)
    if not isinstance(secure, bool):
        raise CompileError(f"secure-aggregation={secure!r}", "is neither true nor false", "write secure-aggregation = true, without quotes")
    if not 0 < delta < 1:
        raise CompileError(f"privacy-delta={delta}", "is no probability between 0 and 1", "take one below 1 / clients: 1e-5, for example")
    kept = f"{config['result']}.privacy.json" if config.get("result") else None
    return SummedUpdates(
        like, secure=secure, clip=_whole(config, "privacy-clip", 0), noise=noise, budget=_number(config, "privacy-epsilon", 0.0),
        shares=_whole(config, "secure-shares", 0), ledger=Ledger(kept, delta) if noise else None, **options,
    )  # fmt: skip


def _sums(config: Mapping[str, Any]) -> list[str]:
    """Settings with which the server takes sums of updates."""
    return [key for key in ("secure-aggregation", "secure-shares", "privacy-clip", "privacy-noise", "privacy-epsilon") if config.get(key)]


def _number(config: Mapping[str, Any], key: str, usual: float) -> float:
    value = config.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CompileError(f"{key}={value!r}", "is no number", f"write one without quotes: {key} = {usual:g}, for example")
    return float(value)


def _whole(config: Mapping[str, Any], key: str, usual: int) -> int:
    value = _number(config, key, usual)
    if not value.is_integer():
        raise CompileError(f"{key}={value:g}", "is no whole number", f"write one: {key} = {usual}, for example")
    return int(value)
