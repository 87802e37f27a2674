"""What rounds of a federation give away of one client, and a file that keeps count of it: epsilon by dp-accounting (extra "privacy").

What changes between the two worlds that differential privacy compares is one client's update: it is there, or zero is in its place. Its norm is at
most the clip, so that a sum of n updates with a discrete Gaussian of sigma each is a Gaussian mechanism of the noise sqrt(n) sigma / clip. That a sum
of discrete Gaussians is not one itself costs, by theorem 1 of Kairouz, Liu and Steinke, "The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation" (2021), an amount of the order of exp(-pi^2 sigma^2): nothing from LEAST_SIGMA on.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DeviceError
from ..files import read_json, write_whole

LEAST_SIGMA = 4
"""Of each client's noise: 10 n exp(-pi^2 16) is below 10^-60 for up to a million clients."""
DELTA = 1e-5


@dataclass(frozen=True)
class Spent:
    """A round. noise: standard deviation over the clip, of what is seen; taken: clients that were asked, of so many at random without repetition."""

    noise: float
    taken: int = 1
    of: int = 1


def epsilon(noise: float, rounds: int, delta: float = DELTA, share: float = 1.0) -> float:
    """What all rounds together give away of one client that takes part or does not: (epsilon, delta) of differential privacy.

    noise: standard deviation over the clip, of what is seen: sigma / clip of one client's update, sqrt(clients) times that of their sum. share: of
    the clients that each round takes by chance, each for itself (Poisson); 1: all. Needs dp-accounting: pip install 'kilotune[privacy]'.
    """
    events, accountant = _accounting()
    if not noise > 0 or rounds < 1 or not 0 < delta < 1 or not 0 < share <= 1:
        raise ValueError(f"noise is {noise}, rounds {rounds}, delta {delta}, share {share}: noise and rounds are above 0, delta and share to 1")
    event = events.GaussianDpEvent(noise) if share == 1 else events.PoissonSampledDpEvent(share, events.GaussianDpEvent(noise))
    return float(accountant().compose(events.SelfComposedDpEvent(event, rounds)).get_epsilon(delta))


def epsilon_of(rounds: Sequence[Spent], delta: float = DELTA, sampled: bool = True) -> float:
    """The same of rounds that differ. sampled: for those who do not know which clients a round asked, such as who sees the adapters alone.

    Asking a part of the clients hides each of them. The bound for that (Wang, Balle and Kasiviswanathan, 2019) is above the plain one where there
    is little noise: the lower one counts.
    """
    if not rounds:
        return 0.0
    events, accountant = _accounting()
    relation = events.NeighboringRelation.REPLACE_ONE
    plain, hidden = accountant(neighboring_relation=relation), accountant(neighboring_relation=relation)
    for r, count in Counter(rounds).items():
        if not r.noise > 0:
            return math.inf
        event = events.GaussianDpEvent(r.noise)
        plain.compose(event, count)
        if sampled:
            hidden.compose(events.SampledWithoutReplacementDpEvent(r.of, r.taken, event) if r.taken < r.of else event, count)
    every = float(plain.get_epsilon(delta))
    return min(every, float(hidden.get_epsilon(delta))) if sampled else every


class Ledger:
    """All rounds that clients have given noisy updates to, in a file: also those of runs before, for what was given away stays so.

    path: None keeps them in memory alone. Raises DeviceError where the file is damaged, or dp-accounting is not installed.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, delta: float = DELTA) -> None:
        _accounting()
        self.path, self.delta, self.rounds = None if path is None else Path(path), delta, list[Spent]()
        if self.path is not None and self.path.exists():
            try:
                self.rounds = [_round(entry) for entry in read_json(self.path)["rounds"]]
            except (OSError, ValueError, TypeError, KeyError) as error:
                hint = "bring its copy back, or remove it where all clients have samples that no round has seen"
                raise DeviceError(str(self.path), f"is no account of rounds: {error}", hint) from None

    def with_another(self, spent: Spent, sampled: bool = True) -> float:
        """Epsilon after one more round."""
        return epsilon_of([*self.rounds, spent], self.delta, sampled)

    def epsilon(self, sampled: bool = True) -> float:
        return epsilon_of(self.rounds, self.delta, sampled)

    def add(self, spent: Spent) -> None:
        """To be called before anything of the round is shown."""
        self.rounds.append(spent)
        if self.path is not None:
            write_whole(self.path, json.dumps({"rounds": [asdict(r) for r in self.rounds]}, indent=1) + "\n")


def _round(entry: Any) -> Spent:
    found = Spent(float(entry["noise"]), int(entry["taken"]), int(entry["of"]))
    if not (found.noise >= 0 and math.isfinite(found.noise)) or not 0 < found.taken <= found.of:
        raise ValueError(f"{entry} is no round")
    return found


def _accounting() -> tuple[Any, Any]:
    try:
        import dp_accounting
        from dp_accounting.rdp import RdpAccountant
    except ImportError:
        raise DeviceError("epsilon", "dp-accounting is not installed", "pip install 'kilotune[privacy]'") from None
    return dp_accounting, RdpAccountant
