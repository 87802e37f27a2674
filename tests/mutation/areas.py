"""What is mutated, and which tests must notice: those that name the behaviour of a file, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Area:
    """files: patterns from the top of the tree, each with the tests of what it matches; a file belongs to the first that fits.

    compiler: arguments with which gcc must take a mutant of C; one that it refuses is none.
    """

    name: str
    files: Mapping[str, tuple[str, ...]]
    compiler: tuple[str, ...] = ()

    def tests(self, root: Path) -> dict[str, tuple[str, ...]]:
        """File -> its tests."""
        found: dict[str, tuple[str, ...]] = {}
        for pattern, tests in self.files.items():
            for path in sorted(root.glob(pattern)):
                found.setdefault(path.relative_to(root).as_posix(), tests)
        return found


_MEMORY = ("tests/unit/test_plan_lifetimes.py", "tests/unit/test_plan_memory.py")
_SEARCHES = ("tests/unit/test_plan_searches.py",)
_ORDER = ("tests/unit/test_plan_order.py",)
_ORDERS = tuple(
    f"tests/property/test_order.py::{name}"
    for name in (
        "test_bytes_of_a_step_are_those_of_the_planner",
        "test_the_best_of_every_order",
        "test_a_build_runs_the_better_order_with_the_same_bits",
    )
)
_PLACED = tuple(
    f"tests/unit/test_placement.py::{name}"
    for name in (
        "test_inputs_stand_at_the_beginning_of_the_arena",
        "test_greedy_and_solver_against_every_placement",
        "test_the_solver_improves_a_bad_start",
    )
)

_PAGES = ("tests/unit/test_paging.py",)
_CONTEXT = ("tests/unit/test_steps.py", "tests/unit/test_context.py")

PLAN = Area(
    "plan",
    {
        "codegen/kiloc/plan/check.py": ("tests/unit/test_plan_check.py",),
        "codegen/kiloc/plan/ascending.py": _MEMORY,
        "codegen/kiloc/plan/order.py": (*_MEMORY, *_ORDER, *_SEARCHES, *_ORDERS),
        "codegen/kiloc/plan/recompute.py": _SEARCHES,
        "codegen/kiloc/plan/offload.py": _SEARCHES,
        "codegen/kiloc/plan/stripes.py": _SEARCHES,
        "codegen/kiloc/plan/lifetimes.py": _MEMORY,
        "codegen/kiloc/plan/problem.py": _MEMORY,
        "codegen/kiloc/plan/paging.py": _PAGES,
        "codegen/kiloc/plan/slice.py": _CONTEXT,
        "codegen/kiloc/plan/*.py": (*_MEMORY, *_PLACED),
    },
)
EMIT = Area(
    "emit",
    {
        "codegen/kiloc/emit/c_names.py": ("tests/unit/test_c_names.py",),
        "codegen/kiloc/emit/steps.py": (*_PAGES, *_CONTEXT),
        "codegen/kiloc/emit/adapter_table.py": ("tests/unit/test_adapter_table.py",),
        "codegen/kiloc/emit/identity.py": ("tests/unit/test_identity.py",),
        "codegen/kiloc/emit/*.py": _CONTEXT,
    },
)
_COMMANDS = ("tests/deploy/test_agent_commands.py", "tests/deploy/test_agent_adapters.py")
_LINK = "tests/deploy/test_device_side.py::test_stuffing_of_frames"
_FILES = ("tests/deploy/hostile_programs.py::test_hostile[hostile_files]", "tests/deploy/test_device_side.py")
_SLOTS = ("tests/deploy/hostile_programs.py::test_hostile[hostile_slots]", "tests/deploy/test_device_side.py")

ADAPTER = Area(
    "adapter",
    {
        "runtime/src/core/adapter.c": _FILES,
        "runtime/src/core/adapter_pool.c": _FILES,
        "runtime/src/core/adapter_slots.c": _SLOTS,
        "runtime/src/core/adapter_verify.c": ("tests/deploy/test_signatures.py",),
        "python/kilotune/adapters/file.py": ("tests/unit/test_adapter_format.py",),
    },
    ("-Iruntime/include",),
)
AGENT = Area(
    "agent",
    {"examples/agent/agent.c": _COMMANDS, "examples/agent/kt_adapters.c": _COMMANDS, "examples/agent/kt_link.c": (_LINK, *_COMMANDS)},
    (
        "-Iruntime/include",
        "-Iexamples/agent",
        "-Iboards",
        "-DAGENT_BUILD=1u",
        '-DAGENT_BOARD="board"',
        "-DAGENT_INPUT_BYTES=8",
        "-DAGENT_OUTPUT_BYTES=8",
        "-DAGENT_TARGET_VALUES=2",
        "-DAGENT_ARENA_BYTES=40",
        "-DAGENT_STATE_BYTES=32",
        "-DAGENT_ADAPTER_BYTES=304",
        "-DAGENT_RESIDENT=3",
        "-DAGENT_SLOT_BYTES=16",
        "-DAGENT_FLASH_PAGE=64",
    ),
)

AREAS = {area.name: area for area in (ADAPTER, AGENT, PLAN, EMIT)}
