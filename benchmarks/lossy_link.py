"""A serial line that loses, flips, invents, cuts off and repeats: what the agent's link must survive.

make parity     prints the counts of 10,000 frames through it
"""

from __future__ import annotations

import random
from collections import Counter

from kilotune.devices.agent import Transport


class LossyTransport:
    """Damages what passes in both directions: single bytes with probability `rate`, a whole piece with ten times that."""

    def __init__(self, inner: Transport, seed: int, rate: float) -> None:
        self.inner = inner
        self.random = random.Random(seed)
        self.rate = rate
        self.damage: Counter[str] = Counter()

    def _bytes(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if self.random.random() >= self.rate:
                out.append(byte)
                continue
            kind = self.random.choice(("byte lost", "bit flipped", "byte invented"))
            self.damage[kind] += 1
            if kind == "bit flipped":
                out.append(byte ^ (1 << self.random.randrange(8)))
            elif kind == "byte invented":
                out += bytes([byte, self.random.randrange(256)])
        return bytes(out)

    def _mangled(self, data: bytes) -> bytes:
        if data and self.random.random() < self.rate * 10:
            kind = self.random.choice(("piece lost", "piece cut off", "piece repeated"))
            self.damage[kind] += 1
            data = {"piece lost": b"", "piece cut off": data[: self.random.randrange(len(data))], "piece repeated": data * 2}[kind]
        return self._bytes(data)

    def read(self, timeout: float) -> bytes:
        return self._mangled(self.inner.read(timeout))

    def write(self, data: bytes, timeout: float) -> bool:
        return self.inner.write(self._mangled(data), timeout)

    def close(self) -> None:
        self.inner.close()
