"""Which functions of a build its firmware calls, and the bound of each."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .. import compilers, toolchain
from ..devices.manifest import Manifest
from ..errors import DeviceError
from .code import Code
from .program import Program

POOL = ("kt_pool_add", "kt_pool_add_region", "kt_pool_store", "kt_pool_remove", "kt_pool_select")
SLOTS = ("kt_slots_boot", "kt_update_begin", "kt_update_resume", "kt_update_write", "kt_update_install")
"""Calls of kt/adapter_pool.h and kt/adapter_slots.h, where a build has them."""

FIRMWARE = ("kt_port_page_in", "kt_port_page_out")
"""What the firmware itself gives a model that offloads (kt/port.h)."""

_FLASH: Sequence[str] = ()
"""The functions of kt_flash are the firmware's too."""
_MODEL = ("adapter_load", "adapter_select", "infer")
"""Functions of a model's table, which the slots call."""

_ROWS = tuple(f"kt_triple_{rows}_rows_{rounding}" for rows in ("two", "three") for rounding in ("half_up", "away"))

POINTERS: Mapping[str, Sequence[str]] = {
    "kt_adapter_open": ("kt_adapter_verify",),
    "kt_pool_select": ("adapter_select",),
    "kt_run_lora": (
        "kt_product_started_half_up",
        "kt_product_started_away",
        "kt_product_exact_started_half_up",
        "kt_product_exact_started_away",
    ),
    "kt_run_lora_block": ("kt_product_row_half_up", "kt_product_row_away", "kt_product_exact_row_half_up", "kt_product_exact_row_away"),
    "kt_triple_walk": (
        "kt_finish_half_up",
        "kt_finish_away",
        "kt_finish_trained",
        "kt_finish_started_half_up",
        "kt_finish_started_away",
        "kt_triple_half_up",
        "kt_triple_away",
        "kt_triple_started_half_up",
        "kt_triple_started_away",
    ),
    **dict.fromkeys(("kt_triple_depthwise_s8", "kt_triple_depthwise_relu_s8", "kt_gained_half_up", "kt_gained_away"), _ROWS),
    "kt_walk_gained": ("kt_gained_half_up", "kt_gained_away"),
    **dict.fromkeys(("kt_slots_boot", "activate", "kt_self_test_errors", "try_out", "kt_update_install"), _MODEL),
    **dict.fromkeys(("kt_update_begin", "kt_update_resume", "kt_update_write", "start", "write_word", "commit"), _FLASH),
}
"""Functions of the runtime that call through pointers, and what these hold."""

Unreached = Mapping[str, Collection[str]]


def unknown(core: str) -> dict[str, Any] | None:
    """What a report says where no bounds can be had for a core on this computer; None where they can."""
    try:
        compilers.cross_compiler(core)
    except DeviceError as error:
        return {"calls": {}, "largest": None, "unknown": f"{error.where} is not installed ({error.hint})"}
    return None


def bounds(build_dir: str | os.PathLike[str], infer: Unreached, train: Unreached, target: str | None = None) -> dict[str, Any]:
    """What a report says of the stack.

    "calls": {"infer": {"bytes", "chain": [{"function", "bytes"}], "unbounded"}, "train_step": ..., "kt_pool_select": ...}, every function that
    firmware calls; "largest" of them, None where one has no bound; "unknown": None.
    infer, train: kernel -> functions that its calls in inference, in training never reach (`kiloc.report.unreached`).
    target: a core of kiloc.cores.TARGETS; None is the manifest's. Raises DeviceError as `toolchain.measure`.
    """
    manifest = Manifest.load(build_dir)
    names = {call: f"{manifest.name}_{call}" for call in _model_calls(manifest)}
    names |= {call: call for call in (*(POOL if manifest.resident else ()), *(SLOTS if manifest.adapter_slots else ()))}
    elf = toolchain.library(build_dir, list(names.values()), target)
    code = Code(elf, toolchain.disassembly(elf))
    inference, training = (Program(code, POINTERS, FIRMWARE, unreached) for unreached in (infer, train))
    found = {call: (training if call in toolchain.training_roots(manifest) else inference).bound(name) for call, name in names.items()}
    known = [b.bytes for b in found.values() if b.bytes is not None]
    return {"calls": {call: b.as_data() for call, b in found.items()}, "largest": max(known) if len(known) == len(found) else None, "unknown": None}


def _model_calls(manifest: Manifest) -> tuple[str, ...]:
    adapters = (*toolchain.adapter_roots(manifest), "adapter_select") if manifest.adapter_bytes else ()
    return (*toolchain.inference_roots(manifest), *toolchain.training_roots(manifest), *adapters)
