"""docs/reference/operators.md: the registry of operators, with the front ends' names, types, gradients and kernels.

Types and kernels are those of the generated cases of tests/ops, of which every kernel has some; which kernel a core runs is read from
compilations of small models.
"""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from markdown_text import escaped, page, prose, table, wrapped

import kilotune as kt
from kiloc import cores
from kiloc.frontend.onnx_ops import FORMAT_OPERATORS
from kiloc.ir.kernel_call import KernelCall
from kiloc.ir.operator import REGISTRY, Names, Op
from kiloc.pipeline import Options, compile_graph, load
from kiloc.report.kernels import kernels as chosen_kernels

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/ops")]

import test_every_kernel_has_cases as cases  # noqa: E402
from gradients.graphs import every_operator  # noqa: E402
from kernel_driver import Case  # noqa: E402
from property.dead_channels import mobilenet  # noqa: E402

KINDS = {"neither": cores.WITHOUT_DSP, "DSP": ("dsp",), "Helium": ("mve",)}
"""Titles of the kernels of `kiloc.cores`, which are also the parts of a path under runtime/src that tell what the files below are for."""

CORES = {
    next(c.name for c in cores.CORES.values() if c.kernels in kinds and c.target): ", ".join(
        c.title for c in cores.CORES.values() if c.kernels in kinds
    )
    for kinds in KINDS.values()
}
"""A target of each kind of kernels, and the cores that take the same."""

Bindings = Mapping[str, tuple[set[str], set[str]]]
"""Operator -> names of TFLite, names of ONNX."""

INTRO = """An operator is a class of `kiloc.ops`: types, exact meaning in NumPy, gradient and kernel. Models are made of those in the
first table, which has the names of TFLite and ONNX for them; the compiler puts in the others. An importer refuses an operator that it cannot
map, and says why and what to do instead."""

MODELS = """Operands and results are int8 with a scale and a zero point, weights int8 with a zero point of 0 and one scale a channel, biases
int32. "Oracle" is the outside program that its integers are compared with in tests; "gradient" says whether training can go through
the operator to layers before it. Optional operands, in brackets, are what methods add to a layer."""

ELSEWHERE = """The importers also take {names}: they become part of a neighbouring operator (its clamp, its quantisation), constants, or
another order of axes."""

CHOICE = """Which function runs is decided for each layer when the model is compiled, and the report names it with the reason. These are the
functions of three small models, with biases, LoRA or everything trained; what is missing runs the same function on all cores there."""

KERNELS = """Every kernel is written in portable C, which defines what it computes and runs on any core. "Own code" says that the kernel,
or the matrix product that it is made of, is written once more, with the same bits, for cores with the DSP extension, with Helium, or with
neither."""


def render() -> str:
    bound = bindings()
    models, added = ([op for op in _of("forward") if (op.mnemonic in bound) is known] for known in (True, False))
    titles = {
        "backward": ("Gradients and losses", "They run in the backward phase of a training step."),
        "update": ("Updates", "They run once an update, for each trained tensor."),
        "kernel": ("Faster forms", "They stand for an operator above where a target has a faster kernel that is proved to give the same bits."),
    }
    return page(
        "Operators and kernels",
        "the registry of operators",
        prose(INTRO),
        f"## Operators of models\n\n{prose(MODELS)}\n\n{_models(models, bound)}\n\n{_elsewhere(bound)}",
        f"## Operators that methods and passes add\n\nThey run in the forward phase.\n\n{_others(added)}",
        *(f"## {title}\n\n{wrapped(text)}\n\n{_others(_of(role))}" for role, (title, text) in titles.items()),
        f"## Which kernel runs\n\n{prose(CHOICE)}\n\n{_choices()}",
        f"## Kernels\n\n{prose(KERNELS)}\n\n{_kernels()}",
    )


def _models(operators: Iterable[type[Op]], bound: Bindings) -> str:
    rows = []
    for op in operators:
        tflite, onnx = (", ".join(f"`{n}`" for n in sorted(found)) for found in bound[op.mnemonic])
        gradient = "yes" if op.gradient is not Op.gradient else "no"
        rows.append((f"`{op.mnemonic}`", tflite or "-", onnx or "-", _operands(op), op.oracle or "-", gradient, meaning(op)))
    return table(("operator", "TFLite", "ONNX", "operands", "oracle", "gradient", "meaning"), rows)


def _elsewhere(bound: Bindings) -> str:
    used = {name for pair in bound.values() for names in pair for name in names}
    return prose(ELSEWHERE.format(names=", ".join(f"`{n}`" for n in sorted(set(FORMAT_OPERATORS) - used))))


def _others(operators: Iterable[type[Op]]) -> str:
    rows = [(f"`{op.mnemonic}`", _operands(op), ", ".join(f"`{k}`" for k in sorted(_cases()[op.mnemonic])) or "-", meaning(op)) for op in operators]
    return table(("operator", "operands", "kernels", "meaning"), rows)


def _of(role: str) -> list[type[Op]]:
    return sorted((op for op in REGISTRY.values() if op.role == role), key=lambda op: op.mnemonic)


def _operands(op: type[Op]) -> str:
    types: dict[str, set[str]] = defaultdict(set)
    for found in _cases()[op.mnemonic].values():
        for name, dtypes in found.items():
            types[name] |= dtypes
    shown = {name: f"{name} {'/'.join(sorted(types[name]))}" if types[name] else name for name in (*op.operands, *op.optional)}
    return ", ".join(shown[o] for o in op.operands) + (f" [{', '.join(shown[o] for o in op.optional)}]" if op.optional else "")


def meaning(op: type[Op]) -> str:
    """The first paragraph of the class's docstring; of the file's for operators of models, which have files of their own, and faster forms."""
    module = inspect.getmodule(op)
    own = inspect.cleandoc(op.__dict__.get("__doc__") or "")
    if not own or own.startswith(f"{op.__name__}(") or op.role == "kernel" or op.mnemonic in bindings():
        own = inspect.getdoc(module) or ""
    return escaped(" ".join(own.split("\n\n")[0].split()))


# ---- Names of the front ends ----


@cache
def bindings() -> Bindings:
    """Operator -> names of TFLite, names of ONNX: whose readers make nodes of it."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for op in REGISTRY.values():
        pair = tuple({*b.operators, *b.also} if b else set() for b in (op.tflite, op.onnx))
        if any(pair):
            found[op.mnemonic] = (pair[0], pair[1])
    return found


# ---- Kernels ----


@cache
def _calls() -> list[tuple[Case, KernelCall]]:
    """The generated cases of every kernel."""
    found = []
    for generators in (g for tables in cases.TABLES.values() for g in tables):
        for seed in cases.seeds(generators):
            case = cases.generated(generators, *seed)
            results = tuple(f"result {i}" for i in range(len(case.result_types())))
            call = case.op.kernel_call(case.node_types(), Names({o: o for o in case.types}, results))
            if call is not None:
                found.append((case, call))
    return found


@cache
def _cases() -> Mapping[str, Mapping[str, Mapping[str, set[str]]]]:
    """Operator -> kernel -> operand -> types."""
    found: dict[str, dict[str, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for case, call in _calls():
        for operand, type_ in case.types.items():
            found[case.op.mnemonic][call.symbol][operand].add(type_.dtype)
    return found


def _choices() -> str:
    used: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    digits, every = load(ROOT / "examples/digits/digits.tflite"), every_operator()
    lora, full, last = (kt.BiasOnly(), kt.LoRA(rank=2, layers="all")), (kt.Full(), kt.BiasOnly()), (kt.BiasOnly(layers="last:1"),)
    for target in CORES:
        for graph, methods in ((every, lora), (every, full), (digits, lora), (digits, last), (mobilenet(), last)):
            found = chosen_kernels(compile_graph(graph, Options(methods=methods, target=target), ""))
            for step in found["infer"] + found["train"]:
                used[step["operator"]][target].add(step["kernel"])
    rows = [(f"`{op}`", *(", ".join(f"`{k}`" for k in sorted(of[target])) for target in CORES)) for op, of in sorted(used.items()) if _differs(of)]
    return table(("operator", *CORES.values()), rows)


def _differs(kernels: Mapping[str, set[str]]) -> bool:
    """Only where cores run different functions: the others stand in the last table."""
    return len({frozenset(found) for found in kernels.values()}) > 1


def _kernels() -> str:
    operators, files = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for case, call in _calls():
        operators[call.symbol].add(case.op.mnemonic)
        files[call.symbol].update(Path(f).name for f in call.files)
    every = list((ROOT / "runtime/src").rglob("*.c"))
    written = {title: {path.name for path in every if not {*folders}.isdisjoint(path.parts)} for title, folders in KINDS.items()}
    rows = [
        (f"`{kernel}`", ", ".join(f"`{o}`" for o in sorted(operators[kernel])), *("yes" if files[kernel] & written[title] else "" for title in KINDS))
        for kernel in sorted(operators)
    ]
    return table(("kernel", "operators", *(f"own code for {title}" for title in KINDS)), rows)
