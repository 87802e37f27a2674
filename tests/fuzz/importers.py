"""Damaged model files for both front ends, for as long as one likes.

    python tests/fuzz/importers.py --minutes 30 [--seed 7] [model.tflite model.onnx ...]

Every mutant must end in a CompileError or in generated sources of inference, within SECONDS and MEMORY. Without models the
small ones of the tests are damaged, and with --data every model of a folder beside them. Mutant N of a seed is always the same,
so `--first N --count 1` repeats it. What is found is printed and kept in --keep. Exit code 1: something was found.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from zlib import crc32

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(TESTS),
    str(TESTS / "ops"),
    str(TESTS / "e2e"),
    str(TESTS / "unit"),
    str(TESTS.parent / "codegen"),
    str(TESTS.parent / "python"),
    str(Path(__file__).parent),
]

import flatbuffer_mutations  # noqa: E402
import flatbuffer_structures  # noqa: E402
import numpy as np  # noqa: E402
import onnx_forms  # noqa: E402
import protobuf_mutations  # noqa: E402
from cases import GRAPHS  # noqa: E402
from golden.reference import image, tiny  # noqa: E402
from gradients.graphs import residual  # noqa: E402
from streaming_files import window_file  # noqa: E402
from tflite_files import computed_shape, many_ends, uint8_classifier  # noqa: E402
from whole_models import whole_models  # noqa: E402

from kiloc import pipeline  # noqa: E402
from kiloc.errors import CompileError  # noqa: E402
from kiloc.export import onnx as onnx_writer  # noqa: E402
from kiloc.export import tflite as tflite_writer  # noqa: E402
from kiloc.frontend import onnx, tflite  # noqa: E402
from kiloc.ir.verify import verify  # noqa: E402
from kiloc.options import Options  # noqa: E402
from kiloc.passes.simplify import simplify  # noqa: E402

HERE = Path(__file__).resolve().parent
"""Where weights of a mutant may lie."""
SECONDS = 5
"""Of processor time, for loading and compiling one mutant."""
MEMORY = 1 << 30
"""That a mutant may take beyond what the process had before."""
PROGRESS = 500
"""Mutants between two lines that say how far it is."""
STRUCTURED = 0.5
"""Share of the mutants of a .tflite file whose tables are changed, not their bytes."""
LARGEST = 400_000
"""Bytes of a model that is damaged: what larger ones add is time."""

Mutator = Callable[[random.Random], bytes]


class TooSlow(BaseException):
    """Not an Exception: nothing on the way may take it for a fault of the file."""


FORMS = ("qdq_per_channel", "qdq_uint8_weights", "qoperator", "qoperator_uint8")
"""Of the models that onnxruntime quantised."""


def small_models() -> dict[str, bytes]:
    """Models of the tests in both formats, those of `onnx_forms.py` and of `whole_models.py`."""
    found = {}
    for make in (tiny, image, residual):
        graph = make()
        found[f"{graph.name}.tflite"] = tflite_writer.write(graph)
        found[f"{graph.name}.onnx"] = onnx_writer.write(graph)
    for i, name in enumerate(onnx_forms.MODELS):
        form = FORMS[i % len(FORMS)]
        found[f"{name}.{form}.onnx"] = onnx_forms.quantized(name, form, max(13, onnx_forms.MODELS[name].since))
    found |= {f"{make.__name__}.tflite": make() for make in (uint8_classifier, many_ends, computed_shape, window_file)}
    return found | operators() | whole_models()


def operators() -> dict[str, bytes]:
    """Each operator of the formats alone: the first graph of its cases."""
    found: dict[str, bytes] = {}
    for name, make in GRAPHS.items():
        kind = name.partition("-")[0]
        if f"op_{kind}.tflite" in found:
            continue
        graph = make(np.random.default_rng(crc32(name.encode())))
        found[f"op_{kind}.tflite"] = tflite_writer.write(graph)
        with suppress(CompileError):  # of what this format does not hold
            found[f"op_{kind}.onnx"] = onnx_writer.write(graph)
    return found


def models(paths: list[Path], data: Path | None) -> dict[str, bytes]:
    folders = sorted(p for p in data.rglob("*") if p.suffix in (".tflite", ".onnx")) if data else []
    given = {str(p): p.read_bytes() for p in (*paths, *folders) if p.stat().st_size <= LARGEST or p in paths}
    return given if paths else {**small_models(), **given}


def mutator(name: str, data: bytes) -> Mutator:
    if name.endswith(".onnx"):
        return lambda r: protobuf_mutations.mutated(data, r)
    where = flatbuffer_mutations.sites(data)

    def damaged(r: random.Random) -> bytes:
        made = flatbuffer_structures.restructured(data, r) if r.random() < STRUCTURED else None
        return flatbuffer_mutations.mutated(data, where, r) if made is None else made

    return damaged


def attempt(name: str, data: bytes) -> str:
    """What becomes of a file: "refused" or "built"; whatever else is raised is a finding."""
    try:
        graph = onnx.load(data, "model", "model.onnx", HERE) if name.endswith(".onnx") else tflite.load(data, "model", "model.tflite")
        graph = simplify(verify(graph))
        pipeline.compile_graph(graph, Options(), "0")
    except CompileError as error:
        assert error.where and error.what and error.hint
        return "refused"
    return "built"


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS} s of processor time")


def mutants(chosen: dict[str, bytes], seed: int, first: int) -> Iterator[tuple[int, str, bytes]]:
    mutators = {name: mutator(name, data) for name, data in chosen.items()}
    number = first
    while True:
        r = random.Random(f"{seed}:{number}")
        name = r.choice(sorted(mutators))
        yield number, name, mutators[name](r)
        number += 1


def work(chosen: dict[str, bytes], options: argparse.Namespace) -> None:
    """The child: a line of JSON before each mutant, so that the parent knows which one killed it, and one for what became of it."""
    warnings.simplefilter("ignore")
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _too_slow)
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    for number, name, data in mutants(chosen, options.seed, options.first):
        if time.monotonic() > end or (options.count and number >= options.first + options.count):
            break
        print(json.dumps({"number": number, "name": name}), flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            outcome, trace = attempt(name, data), ""
        except (Exception, TooSlow) as error:
            outcome, trace = f"{type(error).__name__}: {str(error)[:300]}", traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"outcome": outcome, "trace": trace}), flush=True)


def supervise(options: argparse.Namespace) -> int:
    """The parent: starts children until the work is done, counts, keeps what was found."""
    seen: Counter[str] = Counter()
    began, first, found = time.monotonic(), options.first, 0
    while True:
        left = options.count - (first - options.first) if options.count else 0
        minutes = options.minutes - (time.monotonic() - began) / 60 if options.minutes else 0
        if (options.count and left <= 0) or (options.minutes and minutes <= 0):
            break
        command = [sys.executable, __file__, "--child", f"--seed={options.seed}", f"--first={first}", f"--count={left}", f"--minutes={minutes}"]
        command += [f"--data={options.data}"] if options.data else []
        started: dict[str, object] = {}
        with subprocess.Popen([*command, *map(str, options.models)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                event = json.loads(line)
                if "number" in event:
                    started = event
                    continue
                found += _counted(seen, started, event, options)
                first, started = int(str(started["number"])) + 1, {}
                if seen.total() % PROGRESS == 0:
                    print(f"{seen.total()} mutants in {time.monotonic() - began:.0f} s, {found} findings", flush=True)
        if not started and child.returncode == 0:
            break
        if not started:
            raise RuntimeError(f"the child ended with {child.returncode} before its first mutant")
        found += _counted(seen, started, {"outcome": f"killed: exit code {child.returncode}", "trace": ""}, options)
        first = int(str(started["number"])) + 1
    seconds = time.monotonic() - began
    print(f"{seen.total()} mutants in {seconds:.0f} s: {seen['refused']} refused, {seen['built']} built, {found} findings")
    return 1 if found else 0


def _counted(seen: Counter[str], started: dict[str, object], event: dict[str, str], options: argparse.Namespace) -> int:
    outcome = event["outcome"]
    seen[outcome] += 1
    if outcome in ("refused", "built"):
        return 0
    print(f"mutant {started['number']} of seed {options.seed}, {started['name']}: {outcome}\n{event['trace']}", flush=True)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        number, name = int(str(started["number"])), str(started["name"])
        _, _, data = next(mutants(models(options.models, options.data), options.seed, number))
        (options.keep / f"{options.seed}_{number}{Path(name).suffix}").write_bytes(data)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="files to damage")
    parser.add_argument("--minutes", type=float, default=0, help="how long")
    parser.add_argument("--count", type=int, default=0, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--data", type=Path, help="a folder of models to damage too")
    parser.add_argument("--keep", type=Path, help="folder for files that were found")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.child and not options.minutes and not options.count:
        parser.error("say for how long (--minutes) or how many (--count)")
    if options.child:
        work(models(options.models, options.data), options)
        return 0
    return supervise(options)


if __name__ == "__main__":
    sys.exit(main())
