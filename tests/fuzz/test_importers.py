"""Two thousand damaged files of `importers.py`, the same ones each time: refused with reasons, or compiled, in bounded time and memory."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import flatbuffers
import importers
import pytest

from kiloc.errors import CompileError

COUNT, PARTS = 500, 4
SEEDS = (1, 2, 4, 7, 17)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, importers.__file__, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_files_are_refused_or_compiled(part: int) -> None:
    done = run(f"--count={COUNT}", f"--first={part * COUNT}", "--seed=2")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.fullmatch(r"(\d+) mutants in \d+ s: (\d+) refused, (\d+) built, 0 findings", done.stdout.splitlines()[-1])
    assert counts and int(counts[1]) == COUNT and min(int(counts[2]), int(counts[3])) > COUNT // 10, done.stdout


def test_a_mutant_is_the_same_each_time() -> None:
    chosen = importers.small_models()
    mutants = importers.mutants(chosen, 5, 0)
    first = [next(mutants) for _ in range(40)]
    assert next(importers.mutants(chosen, 5, 39)) == first[39]
    assert len({data for _, _, data in first}) > 35


def test_the_fields_of_a_flatbuffer_are_found() -> None:
    """Each kind of field that the format has, and a change of one changes these bytes alone."""
    data = importers.small_models()["residual.tflite"]
    where = importers.flatbuffer_mutations.sites(data)
    assert {s.kind for s in where} == set(importers.flatbuffer_mutations.FORMATS)
    assert {"Tensor.0", "Quantization.2", "Quantization.3", "Operator.1", "Options.0", "lengths", "vtables"} <= {s.group for s in where}
    changed = bytearray(data)
    importers.flatbuffer_mutations._overwrite(changed, where, random.Random(1))
    assert len(changed) == len(data) and sum(a != b for a, b in zip(changed, data, strict=True)) <= 8


def test_the_tables_of_a_flatbuffer_are_changed() -> None:
    """Files that a reader follows to the end, different ones, with other operators, constants elsewhere and inputs that come later among them."""
    data = importers.small_models()["residual.tflite"]
    made = [importers.flatbuffer_structures.restructured(data, random.Random(seed)) for seed in range(200)]
    written = [m for m in made if m is not None]
    assert len(written) > 150 and len(set(written)) > 140
    words = set()
    for m in written:
        try:
            importers.tflite.load(m, "model", "model.tflite")
        except CompileError as error:
            words.update(word for word in ("before it is computed", "is not supported", "outside the file", "elements") if word in str(error))
    assert {"before it is computed", "is not supported"} <= words


ENDS = (3.4e38, 1.2e-38)
"""Scales that float32 just holds."""


def with_scales_at_the_ends(data: bytes, r: random.Random) -> bytes:
    schema = importers.flatbuffer_structures.schema
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(data), 0))
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.scale is not None and r.random() < 0.6:
            tensor.quantization.scale = [r.choice(ENDS)] * len(tensor.quantization.scale)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.filterwarnings("error")
def test_scales_at_the_ends_of_float32() -> None:
    """Of every operator: what is computed from them overflows, or is nothing at all. None leaves an error of Python, or a warning."""
    files = {name: data for name, data in importers.operators().items() if name.endswith(".tflite")}
    outcomes = {importers.attempt(name, with_scales_at_the_ends(data, random.Random(seed))) for name, data in files.items() for seed in SEEDS}
    assert outcomes == {"built", "refused"}


FAULTS = {
    "raises": ("raise KeyError('ours')", "KeyError: 'ours'"),
    "takes long": ("while True: pass", "TooSlow"),
    "takes memory": ("bytearray(2 << 30)", "MemoryError"),
    "dies": ("import os; os._exit(7)", "killed: exit code 7"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_found_is_told_and_kept(fault: str, tmp_path: Path) -> None:
    """A front end with a mistake: each mutant is a finding, the rest go on, and the files are kept."""
    body, words = FAULTS[fault]
    script = tmp_path / "importers.py"
    here = Path(importers.__file__).resolve()
    source = here.read_text().replace("Path(__file__).resolve().parents[1]", f"Path({str(here.parents[1])!r})")
    source = source.replace("str(Path(__file__).parent),", f"{str(here.parent)!r},").replace("SECONDS = 5", "SECONDS = 1")
    assert "        graph = onnx.load(" in source
    script.write_text(source.replace("        graph = onnx.load(", f"        {body}\n        graph = onnx.load("))
    done = subprocess.run([sys.executable, script, "--count=2", f"--keep={tmp_path / 'kept'}"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count(words) >= 2 and "2 findings" in done.stdout, done.stdout
    assert len(list((tmp_path / "kept").iterdir())) == 2
