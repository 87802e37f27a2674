"""Mutation testing: plants small bugs in adapters, agent, planner and emitter, one at a time, and counts those that a test sees.

    python -m mutation --sample 150                  150 mutants of each area, by seed 0
    python -m mutation --areas plan --files 'codegen/kiloc/plan/check.py'
    python -m mutation --write docs/reliability.md   as above, and the section of the page

Results are kept in build/mutants.jsonl: what was run is not run again, unless its file changes, or for a survivor its tests.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import multiprocessing
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import c_mutants, python_mutants
from .areas import AREAS, Area
from .mutant import Mutant, mutants_of, sample
from .page import Outcome, section, with_section
from .workshop import Workshop, preload

ROOT = Path(__file__).resolve().parents[2]
COMPILER = ("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-")
SLACK = 10.0
"""Seconds beyond twice what the tests take by themselves, after which a mutant hangs."""


@dataclass(frozen=True)
class Job:
    mutant: Mutant
    tests: tuple[str, ...]
    limit: float


def mutants(root: Path, path: str) -> list[Mutant]:
    source = (root / path).read_bytes()
    edits = python_mutants.edits if path.endswith(".py") else c_mutants.edits
    return list(mutants_of(path, source, edits(source)))


def compiles(root: Path, mutant: Mutant, arguments: Sequence[str]) -> bool:
    """Whether the compiler takes a mutant of C without a warning: one that it refuses never reaches a test."""
    if mutant.path.endswith(".py"):
        return True
    source = mutant.apply((root / mutant.path).read_bytes())
    command = [*COMPILER, *arguments, f"-I{Path(mutant.path).parent}"]
    return subprocess.run(command, input=source, cwd=root, capture_output=True, check=False).returncode == 0


def chosen(root: Path, area: Area, files: str, count: int, seed: int) -> Iterator[Mutant]:
    """The sample of an area: the first mutants, in the order of the seed, that compile."""
    every = [m for path in area.tests(root) if fnmatch.fnmatch(path, files) for m in mutants(root, path)]
    for m in sample(every, seed):
        if count <= 0:
            return
        if compiles(root, m, area.compiler):
            count -= 1
            yield m


# ---- What is known from earlier runs ----


class Results:
    """Outcomes by mutant, in a file that grows by a line a mutant."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        self.known: dict[tuple[str, str], dict[str, Any]] = {}
        self._digests: dict[tuple[str, ...], str] = {}
        if path.is_file():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.known[entry["mutant"], entry["source"]] = entry

    def find(self, m: Mutant, tests: Sequence[str]) -> Outcome | None:
        entry = self.known.get((m.name, self.digest([m.path])))
        if entry is None or (not entry["killed"] and entry["tests"] != self.digest(tests)):
            return None
        return Outcome(m, entry["killed"], entry["by"])

    def add(self, outcome: Outcome, tests: Sequence[str]) -> None:
        m = outcome.mutant
        entry = {"mutant": m.name, "shown": m.shown(), "source": self.digest([m.path]), "tests": self.digest(tests)}
        entry |= {"killed": outcome.killed, "by": outcome.by}
        self.known[m.name, entry["source"]] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def digest(self, names: Sequence[str]) -> str:
        """Of the contents of files as they were first read, and which tests of them."""
        if (known := self._digests.get(tuple(names))) is not None:
            return known
        found = hashlib.sha256(" ".join(names).encode())
        for name in names:
            found.update((self.root / name.partition("::")[0]).read_bytes())
        return self._digests.setdefault(tuple(names), found.hexdigest()[:16])


# ---- Running ----


def work(root: Path, jobs: Any, outcomes: Any) -> None:
    """A process with a copy of its own, which tests one mutant after the other."""
    preload()
    parent = multiprocessing.parent_process()
    assert parent is not None
    with tempfile.TemporaryDirectory(prefix="kilotune-mutants-") as folder:
        workshop = Workshop(root, Path(folder))
        while (job := jobs.get()) is not None and parent.is_alive():
            m = job.mutant
            workshop.put(m.path, m.apply(workshop.source(m.path)))
            run = workshop.test(job.tests, job.limit)
            outcomes.put((Outcome(m, not run.passed, run.last), job.tests, run.seconds))
            workshop.restore(m.path)


def baseline(root: Path, tests: set[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    """Seconds of each group of tests on the tree as it is. They must pass: else a mutant's failure says nothing."""
    found: dict[tuple[str, ...], float] = {}
    preload()
    with tempfile.TemporaryDirectory(prefix="kilotune-mutants-") as folder:
        workshop = Workshop(root, Path(folder))
        for group in sorted(tests):
            run = workshop.test(group, 600.0)
            if not run.passed:
                sys.exit(f"{' '.join(group)}: fails without a mutant: {run.last}\n{workshop.log.read_text(errors='replace')[-2000:]}")
            found[group] = run.seconds
            print(f"{run.seconds:6.1f} s  {' '.join(group)}", flush=True)
    return found


def run_all(root: Path, pending: list[tuple[Mutant, tuple[str, ...]]], processes: int, results: Results) -> None:
    seconds = baseline(root, {tests for _, tests in pending})
    context = multiprocessing.get_context("spawn")
    jobs, outcomes = context.Queue(), context.Queue()
    for m, tests in pending:
        jobs.put(Job(m, tests, 2 * seconds[tests] + SLACK))
    workers = [context.Process(target=work, args=(root, jobs, outcomes)) for _ in range(min(processes, len(pending)))]
    for worker in workers:
        jobs.put(None)
        worker.start()
    for number in range(1, len(pending) + 1):
        outcome, tests, took = _next(outcomes, workers)
        results.add(outcome, tests)
        print(f"{number:4}/{len(pending)} {took:5.1f} s {'killed  ' if outcome.killed else 'SURVIVED'} {outcome.mutant.shown()}", flush=True)
    for worker in workers:
        worker.join()


def _next(outcomes: Any, workers: Sequence[Any]) -> Any:
    while True:
        try:
            return outcomes.get(timeout=5)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                raise RuntimeError("the processes that test mutants have ended without a result") from None


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, areas: dict[str, Area] = AREAS) -> dict[str, list[Outcome]]:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--areas", nargs="+", choices=list(areas), default=list(areas))
    parser.add_argument("--files", default="*", help="a pattern of the files to mutate, from the top of the tree")
    parser.add_argument("--sample", type=int, default=150, help="mutants of each area (0: all)")
    parser.add_argument("--seed", type=int, default=0, help="which mutants are in the sample")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--results", type=Path, default=root / "build" / "mutants.jsonl", help="what is known, and added to")
    parser.add_argument("--again", action="store_true", help="run what is known once more")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run none")
    parser.add_argument("--write", type=Path, help="write the section of this page, after a run of all areas and files")
    options = parser.parse_args(arguments)

    results = Results(root, options.results)
    os.environ.setdefault("KILOTUNE_CACHE", str(options.results.parent / "mutants-cache"))
    samples: dict[str, list[tuple[Mutant, tuple[str, ...]]]] = {}
    for name in options.areas:
        tests = areas[name].tests(root)
        samples[name] = [(m, tests[m.path]) for m in chosen(root, areas[name], options.files, options.sample or sys.maxsize, options.seed)]
    if options.list:
        print("\n".join(m.shown() for found in samples.values() for m, _ in found))
        return {}
    pending = [(m, t) for found in samples.values() for m, t in found if options.again or results.find(m, t) is None]
    if pending:
        run_all(root, pending, options.jobs, results)
    outcomes = {name: [o for m, t in found if (o := results.find(m, t))] for name, found in samples.items()}
    every = {name: sum(len(mutants(root, path)) for path in areas[name].tests(root)) for name in outcomes}
    text = section(outcomes, every, options.seed, reasons(root))
    print(text)
    whole = options.files == "*" and options.areas == list(areas)
    if options.write and whole:  # a page never tells of a part
        options.write.write_text(with_section(options.write.read_text() if options.write.is_file() else "", text))
    return outcomes


def reasons(root: Path) -> dict[str, tuple[str, str]]:
    """Why a mutant is not killed: name -> kind of reason and the reason, as survivors.toml says."""
    import tomllib

    path = root / "tests" / "mutation" / "survivors.toml"
    if not path.is_file():
        return {}
    table = tomllib.loads(path.read_text())
    return {name: (kind, reason) for kind, found in table.items() for name, reason in found.items()}
