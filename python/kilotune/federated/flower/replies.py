"""Replies as they come, a number at a time: a server that adds them up need not hold them all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from logging import WARNING
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore import log

from .records import sender, sender_number

POLL = 0.3
"""Seconds between two looks at what has come."""


class Streaming:
    """A grid whose `send_and_receive` gives replies one after the other; everything else is that of the grid it is made of.

    window: messages under way at a time, 0 for all of them. Who has not answered when the time is over is named in the log.
    """

    def __init__(self, grid: Grid, window: int = 0) -> None:
        self._grid, self.window = grid, window
        self._names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """timeout: seconds until the round ends without those who have not answered."""
        end = None if timeout is None else time.monotonic() + timeout
        waiting, under_way = iter(messages), dict[str, int]()
        while True:
            self._send(waiting, under_way)
            if not under_way:
                return
            found = list(self._grid.pull_messages(list(under_way)))
            for reply in found:
                under_way.pop(reply.metadata.reply_to_message_id, None)
                if (name := sender(reply)) != sender_number(reply.metadata.src_node_id):
                    self._names[reply.metadata.src_node_id] = name
                yield reply
            if end is not None and time.monotonic() > end:
                break
            if not found:
                time.sleep(POLL)
        late = [*under_way.values(), *(message.metadata.dst_node_id for message in waiting)]
        for node in late:
            log(WARNING, "%s has not answered after %g seconds: the round goes on without it", self._name(node), timeout)

    def _name(self, node: int) -> str:
        """As its last answer called it."""
        return self._names.get(node, sender_number(node))

    def _send(self, waiting: Iterator[Message], under_way: dict[str, int]) -> None:
        room = self.window - len(under_way) if self.window else None
        messages = list(islice(waiting, room)) if room is None or room > 0 else []
        if messages:
            numbers = self._grid.push_messages(messages)
            for number, message in zip(numbers, messages, strict=False):
                if number:
                    under_way[number] = message.metadata.dst_node_id
                else:
                    log(WARNING, "%s cannot be reached: the round goes on without it", self._name(message.metadata.dst_node_id))
