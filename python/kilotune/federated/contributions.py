"""What clients send, and what of it a server takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..adapters import Adapter
from ..errors import DeviceError

MOST_SAMPLES = 2**31 - 1
"""Of all clients together: sums of int64 hold no more."""


@dataclass(frozen=True)
class Contribution:
    """An adapter, and the number of samples that it learned from, by which it counts. client: what messages call its sender."""

    adapter: Adapter
    samples: int
    client: str = "a client"


@dataclass(frozen=True)
class Refusal:
    """A contribution that was left out, and why."""

    client: str
    why: str


class Acceptance:
    """What of a round is taken, one contribution after the other: those that go together with an adapter, and of each client one.

    ranks: others than those of `like` are taken.
    """

    def __init__(self, like: Adapter, ranks: bool = False) -> None:
        self.like, self.ranks = like, ranks
        self._taken: set[str] = set()

    def take(self, item: Contribution | tuple[str, int, bytes]) -> Contribution | Refusal:
        """item: also (client, samples, bytes), whose bytes may be anything."""
        client = item.client if isinstance(item, Contribution) else item[0]
        if client in self._taken:
            return Refusal(client, "answered twice")
        try:
            contribution = item if isinstance(item, Contribution) else Contribution(Adapter(item[2]), item[1], client)
        except ValueError as error:
            return Refusal(client, str(error))
        if why := unfit(contribution, self.like, self.ranks):
            return Refusal(client, why)
        self._taken.add(client)
        return contribution


def accepted(sent: Iterable[Contribution | tuple[str, int, bytes]], like: Adapter, ranks: bool = False) -> tuple[list[Contribution], list[Refusal]]:
    """The contributions that go together with an adapter, and what was wrong with the others. Of a client that answers twice the first one counts.

    sent: also (client, samples, bytes), whose bytes may be anything. ranks: others than those of `like` are taken.
    """
    acceptance = Acceptance(like, ranks)
    found: list[Contribution] = []
    refused: list[Refusal] = []
    for item in sent:
        answer = acceptance.take(item)
        if isinstance(answer, Refusal):
            refused.append(answer)
        else:
            found.append(answer)
    return found, refused


def unfit(c: Contribution, like: Adapter, ranks: bool = False) -> str:
    """Why a contribution does not go together with an adapter; empty where it does."""
    if not isinstance(c.samples, int) or isinstance(c.samples, bool) or not 0 < c.samples <= MOST_SAMPLES:
        return f"learned from {c.samples!r} samples, which is no positive number"
    if c.adapter.base_hash != like.base_hash:
        return f"belongs to the base model {c.adapter.base_hash}, not to {like.base_hash}"
    own, wanted = ([(e.name, e.dtype, *((e.rows, e.columns) if not ranks else ())) for e in a.entries] for a in (c.adapter, like))
    if own != wanted:
        odd = next((f"{a} for {b}" for a, b in zip(own, wanted, strict=False) if a != b), f"{len(own)} tensors for {len(wanted)}")
        return f"has another table: {odd}"
    return ""


def check(contributions: Sequence[Contribution]) -> None:
    """Raises DeviceError where they do not go together."""
    if not contributions:
        raise DeviceError("the round", "no client sent an adapter that can be taken", "wait for more clients, or look at what was refused")
    for c in contributions:
        if why := unfit(c, contributions[0].adapter):
            raise DeviceError(c.client, why, "leave it out: `accepted` does that and says why")
    total = sum(c.samples for c in contributions)
    if total > MOST_SAMPLES:
        raise DeviceError(
            "the round", f"the clients learned from {total:,} samples, more than {MOST_SAMPLES:,}", "divide all numbers of samples alike"
        )
