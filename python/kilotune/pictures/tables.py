"""Models, builds and adapters as tables for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kiloc.report import table

from .picture import fragment

if TYPE_CHECKING:
    from ..adapters.file import Adapter
    from ..building import Build
    from ..model import Model

MOST_ROWS = 40
"""Of a table; a line says how many there are beyond it."""


def of_model(model: Model) -> str:
    """Inputs, results and layers."""
    ends = [["input", *_end(model.graph.type(n))] for n in model.graph.inputs] + [["output", *_end(model.graph.type(n))] for n in model.graph.outputs]
    rows = [
        [str(x["name"]), str(x["operator"]), _shape(x["shape"]), f"{x['parameters']:,}", f"{x['macs']:,}", "yes" if x["trainable"] else ""]
        for x in model.layers()
    ]
    heads = ["layer", "operator", "result", "parameters", "MACs", "trainable"]
    return fragment(f"Model {model.name}", table(["", "shape", "type", "scale", "zero point"], ends) + _cut(heads, rows))


def of_build(build: Build) -> str:
    """What it takes, and of what."""
    report, memory = build.report, build.report["memory"]
    trains = bool(build.manifest["training"])
    rows = [["arena", f"{memory['infer_arena']:,}", f"{memory['train_arena']:,}" if trains else "-"]]
    rows.append(["state", "-" if trains else f"{memory['state']:,}", f"{memory['state']:,}" if trains else "-"])
    flash = report["flash"]
    known = f"{flash['total']:,} bytes of flash" if flash.get("total") is not None else f"{flash['weights']:,} bytes of weights and tables in flash"
    model = report["model"]
    said = ", ".join(filter(None, [" + ".join(model["methods"]), model["optimizer"], report["target"], known]))
    return fragment(f"Build of {model['name']}: {said}", table(["bytes of RAM", "inference", "training"], rows))


def of_adapter(adapter: Adapter) -> str:
    """What it holds, and for which model."""
    rows = [[e.name, e.dtype, _shape((e.rows, e.columns))] for e in adapter.entries]
    signed = "signed" if adapter.public_key else "not signed"
    title = f"Adapter {adapter.name}".rstrip() + f": {adapter.methods}, {len(adapter):,} bytes, {signed}, for the base model {adapter.base_hash}"
    return fragment(title, _cut(["value", "type", "shape"], rows))


def _end(t: Any) -> list[str]:
    return [_shape(t.shape), t.dtype, f"{t.scale:.9g}", str(t.zero_point)]


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape))


def _cut(heads: list[str], rows: list[list[str]]) -> str:
    rest = len(rows) - MOST_ROWS
    return table(heads, rows[:MOST_ROWS]) + (f"<p>and {rest} more</p>\n" if rest > 0 else "")
