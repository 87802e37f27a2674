"""What `analyze` and `doctor` print: nothing that must be copied is cut off, however narrow the terminal."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

COLUMNS = 80


def analysis_text(summary: dict[str, Any]) -> str:
    """Inputs, outputs and layers of a model, by what `kilotune analyze --json` prints."""
    lines = [f"{summary['name']}: {summary['parameters']:,} parameters, {summary['macs']:,} MACs", ""]
    lines += [_tensor_text(title, i, t) for title in ("input", "output") for i, t in enumerate(summary[f"{title}s"])]
    types = ", ".join(dict.fromkeys(t["dtype"] for t in summary["inputs"]))
    lines += [f"samples to train on: x [N, shape], float (quantised here) or {types} (as it is)"]
    if len(summary["inputs"]) > 1:
        lines.append("in NPZ files an array for each input: x0, x1, ...")
    if len(summary["outputs"]) > 1:
        lines.append("a loss reads output 0")
    lines.append("")
    names = max([len(x["name"]) for x in summary["layers"]] + [len("layer")])
    operators = max([len(x["operator"]) for x in summary["layers"]] + [len("operator")])
    lines.append(f"{'layer':<{names}}  {'operator':<{operators}}  {'result':<12}{'parameters':>11}{'MACs':>12}  trainable")
    for x in summary["layers"]:
        shape = "x".join(map(str, x["shape"][1:]))
        cells = f"{x['name']:<{names}}  {x['operator']:<{operators}}  {shape:<12}{x['parameters']:>11,}{x['macs']:>12,}"
        lines.append(f"{cells}  yes" if x["trainable"] else cells)
    return "\n".join([*lines, *_notes(summary["notes"])])


def _tensor_text(title: str, number: int, t: dict[str, Any]) -> str:
    limits = np.iinfo(t["dtype"])
    low, high = ((q - t["zero_point"]) * t["scale"] for q in (limits.min, limits.max))
    shape = "x".join(map(str, t["shape"][1:]))
    return f"{title} {number}: {shape}, {t['dtype']}, scale {t['scale']:.6g}, zero point {t['zero_point']}: real values {low:.4g} to {high:.4g}"


def _notes(notes: list[str]) -> list[str]:
    return [line for note in notes for line in textwrap.wrap(f"note: {note}", COLUMNS, subsequent_indent="  ", break_long_words=False)]


def tools_text(found: list[dict[str, Any]]) -> str:
    """What was found, and below what is missing the command that installs it, on a line of its own."""
    width = max(len(row["tool"]) for row in found)
    lines = [f"{'tool':<{width}}  {'found':<12}needed for"]
    for row in found:
        lines.append(f"{row['tool']:<{width}}  {row['version'] or 'missing':<12}{row['purpose']}")
        if not row["version"]:
            lines.append(f"    {row['remedy']}")
    return "\n".join(lines)
