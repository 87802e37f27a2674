"""A report as a page: the table, the memory timelines of inference and training side by side, what makes the difference."""

from __future__ import annotations

from html import escape
from typing import Any

from . import picture
from .page import page, table

EXPLAINED = {
    "standard PEFT": "The same methods, optimizer and loss, planned for this model as a framework keeps things: activations that stand on a "
    "gradient's way stay whole until the step ends, also where a clamp needs one bit of them; no result lies over an operand; gradients stand in "
    "float32 accumulators until updates are made at the end.",
    "full fine-tuning": "Every weight and bias trained with the same optimizer, planned in the same way; each parameter takes a float32 value, a "
    "float32 gradient and the optimizer's float32 moments. Activations count one byte an element, as in the integer engine; a framework that "
    "trains in float32 takes four.",
}


def render_html(report: dict[str, Any], plans: dict[str, Any]) -> str:
    """A self-contained page. report: of `figures`; plans: of `timeline`."""
    model = report["model"]
    trained = [" + ".join(model["methods"]), model["optimizer"], model["loss"]] if plans["train"] else ["inference only"]
    head = f"<p>{escape(', '.join([*filter(None, trained), report['target']]))}</p>\n"
    parts = [head, _memory(report), render_timelines(plans), _peak(report), _stack(report.get("stack"))]
    if report["compare"]:
        parts += [_difference(report["memory"]), _front(report["memory"]), _explained(report)]
    return page(f"{model['name']}: memory", "".join(parts), picture.STYLE)


def _bytes(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _memory(report: dict[str, Any]) -> str:
    memory, infer = report["memory"], report["memory"]["infer_arena"]
    columns = {"inference": (infer, memory["state"] if report["compare"] is None else 0)}
    if report["compare"]:
        usual = report["compare"]
        columns["training"] = (memory["train_arena"], memory["state"])
        columns |= {words: (usual[key]["arena"], usual[key]["state"]) for words, key in zip(EXPLAINED, usual, strict=True)}
    totals = [None if arena is None else arena + state for arena, state in columns.values()]
    rows = [
        ["arena", *(_bytes(arena) for arena, _ in columns.values())],
        ["state", *(_bytes(state) for _, state in columns.values())],
        *([["slow memory, not in the total", *("-" if c != "training" else _bytes(memory["slow"]) for c in columns)]] if memory["slow"] else []),
        ["total", *map(_bytes, totals)],
        ["ratio to inference", *("-" if total is None or not infer else f"{total / infer:.2f}" for total in totals)],
    ]
    bound = f"No placement of the arena takes less than {memory['lower_bound']:,} bytes "
    bound += "(proved by the solver)" if memory["lower_bound_kind"] == "proved" else "(alive at one step)"
    return f"<h2>Memory, bytes</h2>\n{table(['', *columns], rows)}<p>{bound}; the plan is {100 * memory['gap']:.2f} % above.</p>\n"


def render_timelines(plans: dict[str, Any]) -> str:
    """The arena of inference and of training over their steps; `TIMELINE_STYLE` belongs to it."""
    shown = [(words, plans[key]) for words, key in (("inference", "infer"), ("training", "train")) if plans[key]]
    scale = max(plan["arena_bytes"] for _, plan in shown)
    figures = []
    for words, plan in shown:
        caption = f"{words}: {len(plan['steps'])} steps, arena {plan['arena_bytes']:,} bytes"
        both = picture.arena(plan, scale, words) + picture.live(plan, scale, words)
        figures.append(f"<figure><figcaption>{caption}</figcaption>\n{both}</figure>\n")
    text = "<p>Above, where each value lies in the arena over the steps; below, the bytes alive at each step, what overlaps counted once.</p>\n"
    return f'<h2>Arena over the steps</h2>\n{text}{picture.legend()}<div class="pair">\n{"".join(figures)}</div>\n'


def _peak(report: dict[str, Any]) -> str:
    memory = report["memory"]
    kinds = table(["kind", "bytes"], [[kind, f"{size:,}"] for kind, size in memory["by_kind"].items() if size])
    alive = [[", ".join(b["values"]), b["kind"], f"{b['bytes']:,}"] for b in memory["at_peak"]]
    what = "training" if report["compare"] else "inference"
    buffers = table(["value", "kind", "bytes"], alive)
    return f"<h2>Peak of {what}: {escape(memory['peak_step'] or 'none')}</h2>\n<p>By kind, with the state:</p>\n{kinds}<p>Alive then:</p>\n{buffers}"


def _stack(stack: dict[str, Any] | None) -> str:
    if stack is None or stack["unknown"]:
        known = "It was not measured." if stack is None else f"It is not known: {escape(stack['unknown'])}."
        return f"<h2>Stack</h2>\n<p>{known}</p>\n"
    rows = []
    for name, call in stack["calls"].items():
        chain = " > ".join(f"{link['function']} {link['bytes']:,}" for link in call["chain"])
        rows.append([name, _bytes(call["bytes"]), call["unbounded"] or chain])
    text = "<p>What each call takes of its caller's stack at most, and the calls that reach it. Exception frames are not counted.</p>\n"
    return f"<h2>Stack, bytes</h2>\n{text}{table(['call', 'at most', 'through'], rows, long=2)}"


def _difference(memory: dict[str, Any]) -> str:
    rows = [[kind, f"{size:+,}"] for kind, size in memory["above_inference"].items()]
    rows.append(["together", f"{memory['train_total'] - memory['infer_arena']:+,}"])
    text = "<p>Both at their peak, and the state; placement is what offsets add to the bytes alive.</p>\n"
    return f"<h2>What training takes more than inference</h2>\n{text}{table(['kind', 'bytes'], rows)}"


def _front(memory: dict[str, Any]) -> str:
    points = memory["recompute_front"]
    if len(points) < 2:
        return ""
    rows = [[f"{p['arena_bytes']:,}", f"{p['extra_macs']:,}", f"{100 * p['extra']:.2f} %"] for p in points]
    how = "No other set of saved values takes less of both." if memory["recompute_front_exact"] else "Found by a greedy search."
    text = f"<p>Values that backward computes again instead of keeping them, where a budget (ram=) asks for it. {how}</p>\n"
    return f"<h2>What recomputation would save</h2>\n{text}{picture.front(points)}{table(['arena', 'extra MACs', 'of a step'], rows)}"


def _explained(report: dict[str, Any]) -> str:
    refused = report["compare"]["full_finetuning"].get("refused")
    items = "".join(f"<dt>{words}<dd>{escape(text)}" for words, text in EXPLAINED.items())
    note = f"<p>This model cannot be fine-tuned whole: {escape(refused)}</p>\n" if refused else ""
    return f"<h2>What it is compared with</h2>\n<dl>{items}</dl>\n{note}"
