"""Adapters in Flower's messages: the bytes of a file, whole, with what they belong to and a checksum; nothing else of the model travels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError

from ...adapters import Adapter

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message
except ImportError:
    raise CompileError("flwr", "the package is not installed", "pip install 'kilotune[federated]'") from None

ADAPTER = "adapter"
"""Name of the array that holds a file's bytes."""
ARRAYS, METRICS, CONFIG, CLIENT = "arrays", "metrics", "config", "client"
"""Names of the records of a message. CLIENT: who answers, by its own name."""
SAMPLES, NAME = "num-examples", "name"


def packed(adapter: Adapter) -> ArrayRecord:
    """An adapter as Flower carries it: the bytes of its file."""
    return ArrayRecord({ADAPTER: array(np.frombuffer(adapter.data, np.uint8))})


def unpacked(record: ArrayRecord) -> Adapter:
    """The adapter in a record. ValueError where there is no whole one."""
    return Adapter(adapter_bytes(record))


def adapter_bytes(record: ArrayRecord) -> bytes:
    """What a record says an adapter is. ValueError where it holds something else."""
    if list(record) != [ADAPTER]:
        raise ValueError(f"the record holds {', '.join(map(repr, record)) or 'nothing'}, not {ADAPTER!r}")
    found = record[ADAPTER]
    if found.dtype != "uint8":
        raise ValueError(f"the adapter is of type {found.dtype}, not the bytes of a file")
    return np.asarray(found.numpy()).tobytes()


def array(values: NDArray[Any]) -> Array:
    """Values as an array of Flower's."""
    return Array(np.ascontiguousarray(values))


def sender(message: Message) -> str:
    """Who sent a message: the name that it gives, where it does, and the number of its node."""
    node = sender_number(message.metadata.src_node_id)
    if message.has_error() or CLIENT not in message.content:
        return node
    record = message.content[CLIENT]
    name = record.get(NAME) if isinstance(record, ConfigRecord) else None
    return f"{name!r}, {node}" if isinstance(name, str) and name else node


def sender_number(node: int) -> str:
    """What messages call a node that has not said its name."""
    return f"node {node}"
