"""Progress on standard error, so that standard output holds results alone: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0
"""Seconds of silence: what takes longer shows a bar where somebody looks, also when it was not asked for."""
LINES = 10.0
"""Seconds between lines where standard error is no terminal, and before the first."""


@contextmanager
def stages(title: str, show: bool | None) -> Iterator[Callable[[str], None]]:
    """What is being done, for work without a number of steps; yields the function to call at each of its stages.

    show: as for `bar`; on standard error that is no terminal True writes a line a stage, once PATIENCE seconds have passed.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda stage: None
        return
    status = Console(stderr=True).status(title)
    appears = time.monotonic() + PATIENCE
    started = False

    def enter(stage: str) -> None:
        nonlocal started
        if time.monotonic() < appears:
            return
        if not sys.stderr.isatty():
            print(f"{title}: {stage}", file=sys.stderr, flush=True)
            return
        status.update(f"{title}: {stage}")
        if not started:
            started = True
            status.start()

    try:
        yield enter
    finally:
        if started:
            status.stop()


@contextmanager
def bar(title: str, total: int, show: bool | None) -> Iterator[Callable[[], None]]:
    """Progress of so many steps; yields the function to call after each.

    show: True for a bar, False for nothing, None for a bar that appears after PATIENCE seconds. Where standard error is no terminal there is
    a line every LINES seconds instead.
    """
    if show is False:
        yield lambda: None
    elif not sys.stderr.isatty():
        yield from _lines(title, total, show is True)
    else:
        yield from _bar(title, total, show is True)


def _bar(title: str, total: int, at_once: bool) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task(title, total=total)
    appears = time.monotonic() + (0 if at_once else PATIENCE)
    started = False

    def advance() -> None:
        nonlocal started
        progress.advance(task)
        if not started and time.monotonic() >= appears:
            started = True
            progress.start()

    try:
        yield advance
    finally:
        if started:
            progress.stop()


def _lines(title: str, total: int, asked: bool) -> Iterator[Callable[[], None]]:
    done, due = 0, time.monotonic() + LINES

    def advance() -> None:
        nonlocal done, due
        done += 1
        if time.monotonic() >= due:
            due = time.monotonic() + LINES
            _say(title, done, total)

    try:
        yield advance
    finally:
        if asked:
            _say(title, done, total)


def _say(title: str, done: int, total: int) -> None:
    print(f"{title}: {done} of {total}", file=sys.stderr, flush=True)
