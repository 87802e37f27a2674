"""From a planned graph to a folder of C. Decisions are in context.py, layout is in templates/."""

from .adapter_table import (
    CRC_BYTES,
    DIGEST_BYTES,
    HEADER_BYTES,
    METHODS_BYTES,
    SIGNATURE_BYTES,
    Entry,
    entries_of,
    layers_of,
    read_table,
    write_table,
)
from .context import ModelContext, build_context
from .shard_layout import shard_layout
from .sliced_step import SlicedStep, Written
from .state_layout import StateLayout, state_layout
from .write import keep_templates, render

__all__ = [
    "CRC_BYTES",
    "DIGEST_BYTES",
    "HEADER_BYTES",
    "METHODS_BYTES",
    "SIGNATURE_BYTES",
    "Entry",
    "ModelContext",
    "SlicedStep",
    "StateLayout",
    "Written",
    "build_context",
    "entries_of",
    "keep_templates",
    "layers_of",
    "read_table",
    "render",
    "shard_layout",
    "state_layout",
    "write_table",
]
