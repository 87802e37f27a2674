"""Codes under another scale, which has no kernel and no gradient."""

from __future__ import annotations

from collections.abc import Iterator

from cases._parts import Make, one, typed
from kiloc.ops.model.relabel import Relabel


def graphs() -> Iterator[tuple[str, Make]]:
    yield "relabel", lambda rng: one(Relabel(), typed((1, 4, 3, 2)), typed((1, 4, 3, 2), 0.7, 9))
