"""A report as plain text."""

from __future__ import annotations

import textwrap
from typing import Any

from ..plain_text import printable

ARENA_KINDS = ("activations", "saved", "gradients", "scratch", "scalars")
NEAR = 1.1
"""Ratio of training to inference from which the report says what makes the difference."""
SHOWN = 4
"""Points of the front of recomputation on its line."""
RUNS = ("infer", "train_step", "apply")
"""Calls whose stack has a figure of its own."""
WIDTH = 13
"""Columns of a line's title."""
COLUMNS = 80
"""Of a terminal: longer lines are wrapped, and go on below their text."""
CELLS = (12, 14, 16, 18)
"""Columns of the table's cells: inference, training, and the usual ways; with the titles 80."""


def render_text(report: dict[str, Any]) -> str:
    """The table that a terminal shows: memory of inference and training beside the usual ways, flash, trainable part, peak."""
    model, flash, macs = report["model"], report["flash"], report["macs"]
    trains = report["compare"] is not None
    heads = [model["name"], " + ".join(model["methods"]) or "inference only", report["target"]]
    lines = ["   ".join(heads + ([model["optimizer"], model["loss"]] if trains else [])), *_memory(report), ""]
    if report["trainable"]["parameters"]:
        trained = report["trainable"]
        share = f"{100 * trained['fraction']:.1f} % of the model's"
        lines.append(f"{'trainable':<{WIDTH}}{trained['parameters']:,} parameters ({share}), update {trained['update_bytes']:,} bytes")
        lines.append(f"{'':<{WIDTH}}{trained['state_bytes_per_parameter']:.2f} bytes of state each")
    if report["trainable"]["parameters"] and not trains:
        lines.append(f"{'':<{WIDTH}}inference only: trained values come from adapters of the same model and methods")
    if report["adapters"]:
        lines += _adapters(report["adapters"])
    if report.get("replay"):
        lines += _replay(report["replay"])
    code = f"code {flash['code']:,}, together {flash['total']:,}" if flash["code"] is not None else "code not measured (no cross compiler)"
    lines.append(f"{'flash':<{WIDTH}}weights and tables {flash['weights']:,}, {code}")
    lines += _stack(report.get("stack"))
    lines.append(f"{'MACs':<{WIDTH}}forward {macs['forward']:,}" + (f", backward {macs['backward']:,}" if trains else ""))
    lines += _sliced(report.get("sliced_step"))
    lines += _channels(report["constant_channels"]) + _windows(report.get("cut_windows", []))
    lines += _bounds(report.get("bounded_biases", [])) + _kernels(report["kernels"])
    lines += _kinds(report["memory"], trains)
    if trains:
        lines.append(f"{'calibration':<{WIDTH}}{model['calibration']}")
        refused = report["compare"]["full_finetuning"].get("refused")
        lines += [f"{'note':<{WIDTH}}cannot be fine-tuned whole: {refused}"] if refused else []
    if (made := report.get("features")) is not None:
        lines.append(f"{'features':<{WIDTH}}{made['front_end']}: {made['frames']} x {made['width']}")
        lines.append(f"{'':<{WIDTH}}in the arena {made['scratch']:,} bytes beside the input, tables {made['constants']:,}")
    lines += [f"{'classes':<{WIDTH}}{', '.join(map(printable, names))}"] if (names := model.get("class_names")) else []
    lines += [f"{'note':<{WIDTH}}{note}" for note in model["notes"]]
    return "\n".join(part for line in lines for part in _wrapped(line))


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, COLUMNS, subsequent_indent=" " * WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def _adapters(adapters: dict[str, Any]) -> list[str]:
    """What base, active and resident adapters take, and what a file is checked for before it is used."""
    resident = f"{adapters['resident']} resident of {adapters['slot']:,} each" if adapters["resident"] else "none resident"
    origin = "damage and origin" if adapters["checked_for"] == "damage and origin" else "damage, not for origin"
    slots = "; two slots in flash" if adapters["slots"] else ""
    slots += f", self test of {adapters['self_test']} samples" if adapters["self_test"] else ""
    versions = "; only a newer one replaces another" if adapters["rollback_protection"] else ""
    return [
        f"{'adapters':<{WIDTH}}base {adapters['base']:,} (flash), active {adapters['active']:,}, {resident}: {adapters['resident_total']:,} bytes",
        f"{'':<{WIDTH}}a file of {adapters['file']:,} bytes, checked for {origin}{versions}{slots}",
    ]


def _replay(replay: dict[str, Any]) -> list[str]:
    """What the replay buffer takes, and what its steps leave out."""
    smaller = f'; an input has {replay["input"]:,} (keep="input")' if replay["input"] * replay["bits"] // 8 < replay["entry"] else ""
    bits = f" in {replay['bits']} bits a value," if replay["bits"] != 8 else ""
    in_slow = f", {replay['slow']:,} of slow memory" if replay["slow"] else ""
    return [
        f"{'replay':<{WIDTH}}{replay['samples']} {replay['keep']}s{bits} of {replay['entry']:,} + {replay['target']} bytes, {replay['policy']}:"
        f" {replay['total']:,} bytes of state{in_slow}{smaller}",
        f"{'':<{WIDTH}}a replayed step leaves out {replay['skipped_macs']:,} MACs of the forward pass",
    ]


def _stack(stack: dict[str, Any] | None) -> list[str]:
    """What calls take of their caller's stack at most, and which functions make the largest so."""
    if stack is None or stack["unknown"]:
        return [f"{'stack':<{WIDTH}}" + ("not measured" if stack is None else f"not known: {stack['unknown']}")]
    known = {name: call["bytes"] for name, call in stack["calls"].items() if call["bytes"] is not None}
    others = {name: size for name, size in known.items() if name not in RUNS}
    shown = [f"{name} {known[name]:,}" for name in RUNS if name in known]
    if others:
        most = max(others, key=lambda name: others[name])
        shown.append(f"other calls {others[most]:,} ({most})")
    lines = [f"at most {', '.join(shown)}; exception frames come on top"] if shown else []
    lines += [f"{name} without bound: {call['unbounded']}" for name, call in stack["calls"].items() if call["bytes"] is None]
    if stack["largest"]:
        call = next(call for call in stack["calls"].values() if call["bytes"] == stack["largest"])
        lines.append(" > ".join(f"{link['function']} {link['bytes']:,}" for link in call["chain"]))
    return [f"{'' if i else 'stack':<{WIDTH}}{line}" for i, line in enumerate(lines)]


def _channels(channels: dict[str, Any]) -> list[str]:
    """What the removal of constant channels saves; nothing where there are none."""
    if not channels["constant"] and not channels["removed"]:
        return []
    saved = ", ".join(f"{what} {channels[f'{what}_before']:,} -> {channels[f'{what}_after']:,}" for what in ("macs", "weights"))
    removed = f"{channels['removed']:,} removed of {channels['of']:,} ({channels['constant']:,} hold one value)"
    return [f"{'channels':<{WIDTH}}{removed}, {saved.replace('macs', 'MACs')}"]


def _windows(layers: list[dict[str, Any]]) -> list[str]:
    """Windows that are cut; nothing where there are none."""
    parts = [f"{w['layer']} {w['kernel'][0]}x{w['kernel'][1]} as {w['left'][0]}x{w['left'][1]}" for w in layers]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return [f"{'windows':<{WIDTH}}without what meets the border alone: {', '.join(parts[:3])}{more}"] if parts else []


def _bounds(layers: list[dict[str, Any]]) -> list[str]:
    """Trained biases and rows of LoRA's B that keep within bounds; nothing where there are none."""
    biases, held, rows = (sum(layer[part] for layer in layers) for part in ("biases", "held", "rows"))
    small = "of channels of small multipliers"
    lines = [f"{'biases':<{WIDTH}}{biases:,} {small} keep within bounds, {held:,} of them are held"] if biases else []
    return [*lines, f"{'LoRA':<{WIDTH}}{rows:,} rows of B {small} are held at 0"] if rows else lines


def _sliced(sliced: dict[str, Any] | None) -> list[str]:
    if sliced is None:
        return []
    most = f"the longest of {sliced['steps']} steps is {sliced['longest']['step']}, about {sliced['longest']['instructions']:,}"
    lines = [f"{'slices':<{WIDTH}}about {sliced['slices']} of {sliced['instructions']:,} instructions a training step; {most}"]
    if sliced["over"]:
        names = ", ".join(f"{s['step']} ({s['instructions']:,})" for s in sliced["over"][:3])
        more = f" and {len(sliced['over']) - 3} more" if len(sliced["over"]) > 3 else ""
        lines.append(f"{'':<{WIDTH}}longer than a slice, and done in one of their own: {names}{more}")
    return lines


def _memory(report: dict[str, Any]) -> list[str]:
    memory = report["memory"]
    if report["compare"] is None:
        rows = [_row("bytes", "inference"), _row("arena", memory["infer_arena"])]
        if memory["state"]:
            resident = report["adapters"]["resident_total"] if report["adapters"] else 0
            both = "adapter and kept" if memory["by_kind"].get("kept") else "active adapter"
            rows += [
                _row(both if report["adapters"] else "kept between calls", memory["state"]),
                *([_row("resident adapters", resident)] if resident else []),
            ]
            rows.append(_row("total", memory["infer_arena"] + memory["state"] + resident))
        return rows
    usual = [report["compare"][k] for k in ("standard_peft", "full_finetuning")]
    totals = [memory["infer_arena"], memory["train_total"], *(u["total"] for u in usual)]
    ratios = [f"{total / memory['infer_arena']:,.2f}" if memory["infer_arena"] and total is not None else "-" for total in totals]
    return [
        _row("bytes", "inference", "training", "standard PEFT", "full fine-tuning"),
        _row("arena", memory["infer_arena"], memory["train_arena"], *(u["arena"] for u in usual)),
        _row("state", "-", memory["state"], *(u["state"] for u in usual)),
        *([_row("slow memory", "-", memory["slow"], "-", "-")] if memory["slow"] else []),
        *([_row("moved a step", "-", memory["moved"], "-", "-")] if memory["moved"] else []),
        _row("total", *totals),
        _row("ratio to inference", *ratios),
    ]


def _kernels(kernels: dict[str, Any]) -> list[str]:
    """Steps that do not run in the fastest form of their kind, each with the reason."""
    reasons: dict[str, list[str]] = {}
    for step in kernels["train"] or kernels["infer"]:
        if step["slow"]:
            reasons.setdefault(step["slow"], []).append(step["step"])
    found: list[str] = []
    for reason, steps in reasons.items():
        more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
        found.append(f"{'slower' if not found else '':<{WIDTH}}{steps[0]}{more}: {reason}")
    speed = kernels["speed"]
    if speed["layers"]:
        cost = f"{speed['flash']:,} bytes of flash and up to {speed['scratch']:,} of scratch"
        found.append(f"{'speed':<{WIDTH}}{speed['layers']} layers by Winograd's transform, for {cost}")
    return found + _backward_weights(kernels["backward_weights"])


def _backward_weights(ways: dict[str, dict[str, int]] | None) -> list[str]:
    """What gradients to inputs take, or save, of flash."""
    found = []
    if ways and ways["twice"]["gradients"]:
        copies = f"{ways['twice']['gradients']} gradients read a second copy of their weights, {ways['twice']['flash']:,} bytes of flash"
        found.append(f'{copies}, which backward_weights="shared" leaves out')
    if ways and ways["shared"]["gradients"]:
        found.append(f"{ways['shared']['gradients']} gradients share the weights of inference, {ways['shared']['flash']:,} bytes of flash less")
    if ways and ways["repacked"]["gradients"]:
        made = f"{ways['repacked']['gradients']} gradients transpose the weights of inference in each step"
        rest = ways["repacked"]["copies"]
        part = f", some in part: of others they read a second copy, {rest:,} bytes of flash" if rest else ""
        found.append(f"{made}, {ways['repacked']['flash']:,} bytes of flash less{part}")
    return [f"{'backward' if not i else '':<{WIDTH}}{line}" for i, line in enumerate(found)]


def _kinds(memory: dict[str, Any], trains: bool) -> list[str]:
    """What the arena holds at its peak, and what the state holds."""
    kinds = memory["by_kind"]

    def listed(names: list[str]) -> str:
        return ", ".join(f"{k} {kinds[k]:,}" for k in names if kinds[k]) or "nothing"

    known = "proved" if memory["lower_bound_kind"] == "proved" else "alive at one step"
    lines = [
        f"{'peak':<{WIDTH}}{memory['peak_step'] or 'none'}: {listed([k for k in kinds if k in ARENA_KINDS])}",
        f"{'bound':<{WIDTH}}no placement below {memory['lower_bound']:,} ({known}), this one {100 * memory['gap']:.1f} % above",
    ]
    if trains:
        lines.append(f"{'state':<{WIDTH}}{listed([k for k in kinds if k not in ARENA_KINDS])}")
    if (memory["train_to_infer"] or 0) > NEAR:
        lines += _above(memory)
    return lines + (_front(memory["recompute_front"]) if trains else [])


def _above(memory: dict[str, Any]) -> list[str]:
    """Which bytes training takes more than inference, and the largest buffers of its peak."""
    differences = sorted(memory["above_inference"].items(), key=lambda d: -abs(d[1]))
    largest = [f"{buffer['values'][-1]} {buffer['bytes']:,} ({buffer['kind']})" for buffer in memory["at_peak"][:3]]
    return [
        f"{'above infer.':<{WIDTH}}{', '.join(f'{kind} {size:+,}' for kind, size in differences)}",
        f"{'':<{WIDTH}}largest at the peak: {', '.join(largest)}",
    ]


def _front(points: list[dict[str, Any]]) -> list[str]:
    """What computing something twice would save: some points of the front, the cheapest and the smallest among them."""
    further = points[1:]
    if not points:
        return [f"{'recompute':<{WIDTH}}what computing values twice would save is searched where `front` asks for it (--front)"]
    if not further:
        return []
    count = min(len(further), SHOWN)
    shown = [further[i * (len(further) - 1) // max(count - 1, 1)] for i in range(count)]
    costs = ", ".join(f"{p['arena_bytes']:,} for {100 * p['extra']:.1f} %" for p in shown)
    return [f"{'recompute':<{WIDTH}}arena {points[0]['arena_bytes']:,}; with more MACs {costs}"]


def _row(title: str, *cells: object) -> str:
    texts = ["-" if c is None else f"{c:,}" if isinstance(c, int) else str(c) for c in cells]
    return f"{title:<20}" + "".join(f"{text:>{width}}" for text, width in zip(texts, CELLS, strict=False))
