"""A budget of stack: read, and held against what a report says."""

from __future__ import annotations

from typing import Any

from kiloc import BudgetError, CompileError

from ..sizes import parse_size
from .calls import unknown


def budget(given: int | str | None, measure: bool, core: str) -> int | None:
    """Bytes. CompileError where nothing could be held against them: measure says whether the program is linked for the core."""
    found = parse_size(given, "stack")
    if found is None:
        return None
    missing = unknown(core)
    why = missing["unknown"] if missing else "" if measure else "measure=False leaves the program unlinked"
    if why:
        raise CompileError(f"stack={given}", f"what the program takes of the stack is not known: {why}", "mend that, or leave stack out")
    return found


def check(stack: dict[str, Any] | None, budget: int | None) -> None:
    """BudgetError for the call that may take most, or for one that has no bound. stack: as a report has it."""
    if budget is None or stack is None:
        return
    for name, call in stack["calls"].items():
        if call["bytes"] is None:
            raise BudgetError(f"stack={budget}: {_path(call)}", f"the stack of {name} has no bound: {call['unbounded']}", "leave stack out")
    name, call = max(stack["calls"].items(), key=lambda each: int(each[1]["bytes"]))
    if call["bytes"] > budget:
        most = max(call["chain"], key=lambda link: int(link["bytes"]))["function"]
        what = f"{name} may take {call['bytes']:,} bytes of stack, exception frames not counted"
        hint = f"give the thread that calls it {call['bytes']:,} bytes, or train less: most of them are for {most}"
        raise BudgetError(f"stack={budget}: {_path(call)}", what, hint)


def _path(call: dict[str, Any]) -> str:
    return " > ".join(f"{link['function']} ({link['bytes']:,})" for link in call["chain"])
