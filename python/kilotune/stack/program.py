"""Bounds of the stack of functions: each followed along its branches, and the calls between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import arm, riscv
from .code import Code, Instruction
from .flow import Kind


@dataclass(frozen=True)
class Bound:
    """Bytes of stack below a function's entry, and the calls that reach them; bytes is None where there is no bound."""

    bytes: int | None
    chain: tuple[tuple[str, int], ...]
    """Functions from the outermost on, each with the bytes of its own that lie on the stack when it calls the next; of the last, its most."""
    unbounded: str = ""
    """Why there is no bound, with the name of the function at fault, which ends the chain."""

    def as_data(self) -> dict[str, Any]:
        """As the report has it: {"bytes", "chain": [{"function", "bytes"}], "unbounded"}."""
        chain = [{"function": name, "bytes": size} for name, size in self.chain]
        return {"bytes": self.bytes, "chain": chain, "unbounded": self.unbounded or None}


@dataclass
class Body:
    """One function, followed from its entry."""

    name: str
    depth: int = 0
    """The most bytes of its own that lie on the stack."""
    calls: set[tuple[int, int]] = field(default_factory=set)
    """Bytes on the stack at a call, and the address that is called."""
    pointers: set[int] = field(default_factory=set)
    """Bytes on the stack at calls through pointers."""
    outside: str = ""
    """Of the linker's veneers: the function behind it, where the program does not hold it."""
    fault: str = ""
    """Why it cannot be followed."""


# ---- One function ----

_SWITCH = re.compile(r"^__gnu_thumb1_case_\w+$")
"""libgcc's: reads a table behind the call, and jumps."""
_VENEER = re.compile(r"^__(\w+)_veneer$")
"""The linker's: a branch to a function out of reach."""

Steps = list[tuple[int, int]]
"""Addresses where a function goes on, each with the bytes on the stack."""


def _fills(i: Instruction) -> bool:
    """Whether an instruction may be the space before data or the next function, to which nothing jumps: a nop, or zeros, which Thumb reads so."""
    return i.operation.startswith("nop") or (i.operation, i.operands) == ("movs", "r0, r0")


class _Walk:
    """Follows one function along all its branches."""

    def __init__(self, code: Code, entry: int) -> None:
        self._code, self._entry = code, entry
        self._set = riscv if code.family == "riscv" else arm
        self._depths: dict[int, int] = {}
        self._jumps: Steps = []
        self.body = Body(code.names.get(entry, f"{entry:#x}"))

    def run(self) -> Body:
        waiting: Steps = [(self._entry, 0)]
        longest = 64 * max(self._code.extent(self._entry)[1] - self._entry, 1 << 12)
        while (waiting or self._jumps) and not self.body.fault:
            at, depth = waiting.pop() if waiting else (-1, 0)
            if at < 0:
                waiting = self._unreached(*self._jumps.pop())
            elif at in self._code.instructions and depth > self._depths.get(at, -1):
                self._depths[at] = depth
                waiting += self._step(at, depth)
            if self.body.depth > longest:
                self.body.fault = f"{self.body.name} moves its stack pointer in a loop"
        return self.body

    def _unreached(self, at: int, depth: int) -> Steps:
        """A computed jump may go wherever nothing else of its function leads; lowest address last, which is taken first."""
        start, end = self._code.extent(at)
        inside = [a for a in range(start, end, 2) if a in self._code.instructions and a not in self._depths]
        return [(a, depth) for a in reversed(inside) if not _fills(self._code.instructions[a])]

    def _step(self, at: int, depth: int) -> Steps:
        i = self._code.instructions[at]
        flow = self._set.flow(self._code, at, i)
        if i.next not in self._code.instructions and not (flow.kind in (Kind.BRANCH, Kind.CALL) or self._set.leaves(i)):
            self.body.fault = f"{self.body.name} goes on where the listing has no instruction ({at:#x})"
        by = self._set.moved(self._code, at, i)
        if by is None:
            self.body.fault = f"{self.body.name} moves its stack pointer by a variable ({i.operation} {i.operands})"
            return []
        after = max(depth + by, 0)  # below the entry: a path that only a computed jump was thought to take
        self.body.depth = max(self.body.depth, after)
        following = [(i.next, after)] if flow.goes_on else []
        if flow.kind is Kind.BRANCH:
            return self._branch(at, flow.target, depth) + following
        if flow.kind is Kind.CALL:
            return self._call(at, flow.target, depth, following)
        if flow.kind is Kind.CALL_POINTER:
            self.body.pointers.add(depth)
        elif flow.kind in (Kind.TAIL_POINTER, Kind.COMPUTED):
            self._leave(at, flow.kind, after)
        return following

    def _branch(self, at: int, target: int, depth: int) -> Steps:
        """Inside the function, or to another one: a tail call."""
        if self._code.extent(self._entry)[0] <= target < self._code.extent(at)[1]:
            return [(target, depth)]
        self.body.calls.add((depth, target))
        return []

    def _call(self, at: int, target: int, depth: int, following: Steps) -> Steps:
        if self._code.extent(self._entry)[0] < target < self._code.extent(at)[1]:
            return [(target, depth)]  # on ARMv6-M `bl` is also the branch that reaches far within a function
        self.body.calls.add((depth, target))
        if _SWITCH.match(self._code.names.get(target, "")):
            self._jumps.append((at, depth))
            return []
        return following

    def _leave(self, at: int, kind: Kind, depth: int) -> None:
        """A tail call through a register, or a computed jump."""
        veneer = _VENEER.match(self.body.name)
        if veneer:
            self.body.outside = veneer[1] if not self._code.entries(veneer[1]) else ""
            self.body.calls |= {(depth, target) for target in self._code.entries(veneer[1])}
        elif kind is Kind.TAIL_POINTER:
            self.body.pointers.add(depth)
        else:
            self._jumps.append((at, depth))


# ---- Chains of calls ----


class Program:
    """The functions of a linked program and their bounds.

    pointers: function that calls through pointers -> names of the functions that these may hold. Those that are not linked are none; a function
    that calls through a pointer and has no entry has no bound. outside: functions that the program calls and does not hold: they count nothing.
    unreached: function -> functions that neither it nor what it calls ever reaches. Names are those of the source, without what the compiler
    puts behind a dot.
    """

    def __init__(
        self, code: Code, pointers: Mapping[str, Sequence[str]], outside: Collection[str] = (), unreached: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self._code, self._pointers, self._outside = code, pointers, outside
        self._unreached = {name: frozenset(functions) for name, functions in (unreached or {}).items()}
        self._bodies: dict[int, Body] = {}
        self._bounds: dict[tuple[int, frozenset[str]], Bound] = {}

    def bodies(self, name: str) -> list[Body]:
        """The functions of this name by themselves."""
        return [self.body(at) for at in self._code.entries(name)]

    def bound(self, name: str) -> Bound:
        """Of the function of this name. Raises KeyError where the program has none."""
        found = [self._bound(at, (), frozenset()) for at in self._code.entries(name)]
        if not found:
            raise KeyError(name)
        return max(found, key=lambda b: (b.bytes is None, b.bytes or 0))

    def body(self, entry: int) -> Body:
        """The function that begins at an address."""
        if entry not in self._bodies:
            self._bodies[entry] = _Walk(self._code, entry).run()
        return self._bodies[entry]

    def _bound(self, entry: int, path: tuple[int, ...], avoided: frozenset[str]) -> Bound:
        """path: the functions that are being followed, outermost first; avoided: what they never reach."""
        key = entry, avoided | self._unreached.get(_plain(self.body(entry).name), frozenset())
        if key not in self._bounds:
            self._bounds[key] = self._followed(entry, (*path, entry), key[1])
        return self._bounds[key]

    def _followed(self, entry: int, path: tuple[int, ...], avoided: frozenset[str]) -> Bound:
        body = self.body(entry)
        fault = self._fault(body)
        if fault:
            return Bound(None, ((body.name, body.depth),), fault)
        best = Bound(body.depth, ((body.name, body.depth),))
        for depth, target in sorted(self._callees(body, avoided)):
            if target in path:
                cycle = " > ".join(self.body(at).name for at in (*path[path.index(target) :], target))
                return Bound(None, ((body.name, depth), (self.body(target).name, 0)), f"{body.name} is recursive: {cycle}")
            found = self._bound(target, path, avoided)
            chain = ((body.name, depth), *found.chain)
            if found.bytes is None:
                return Bound(None, chain, found.unbounded)
            if depth + found.bytes > (best.bytes or 0):
                best = Bound(depth + found.bytes, chain)
        return best

    def _fault(self, body: Body) -> str:
        """Why a function has no bound, whatever it calls; "" where it has."""
        missing = [f"{at:#x}" for _, at in body.calls if at not in self._code.instructions]
        missing += [body.outside] if body.outside and body.outside not in self._outside else []
        if body.pointers and _plain(body.name) not in self._pointers:
            return f"{body.name} calls through a pointer"
        return body.fault or (f"{body.name} calls {missing[0]}, which the program does not hold" if missing else "")

    def _callees(self, body: Body, avoided: frozenset[str]) -> Iterator[tuple[int, int]]:
        yield from (call for call in body.calls if _plain(self.body(call[1]).name) not in avoided)
        known = [at for name in self._pointers.get(_plain(body.name), ()) for at in self._code.entries(name)]
        yield from ((depth, at) for depth in body.pointers for at in known)


def _plain(name: str) -> str:
    """Of a function that the compiler made from one, such as walk.constprop.0."""
    return name.partition(".")[0]
