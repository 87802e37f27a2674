"""A report as plain text."""

from __future__ import annotations

from typing import Any


def render_text(report: dict[str, Any]) -> str:
    """The table that a terminal shows: memory of inference and training beside the usual ways, flash, trainable part, peak."""
    model, memory, flash = report["model"], report["memory"], report["flash"]
    trains = report["compare"] is not None
    title = "; ".join(model["methods"]) if model["methods"] else "inference only"
    lines = [f"{model['name']}  {title}  {report['target']}" + (f"  {model['optimizer']}  {model['loss']}" if trains else "")]
    if trains:
        standard, full = report["compare"]["standard_peft"], report["compare"]["full_finetuning"]
        lines.append(_row("", "inference", "training", "standard PEFT", "full fine-tuning"))
        lines.append(_row("arena", memory["infer_arena"], memory["train_arena"], standard["arena"], full["arena"]))
        lines.append(_row("state", 0, memory["state"], standard["state"], full["state"]))
        lines.append(_row("total", memory["infer_arena"], memory["train_total"], standard["total"], full["total"]))
        base = max(memory["infer_arena"], 1)
        ratios = [f"{x / base:.2f}" for x in (memory["infer_arena"], memory["train_total"], standard["total"], full["total"])]
        lines.append(_row("ratio to inference", *ratios))
    else:
        lines.append(_row("arena", memory["infer_arena"]))
    trained = report["trainable"]
    lines.append("")
    if trains:
        share = 100 * trained["fraction"]
        lines.append(f"trainable  {trained['parameters']:,} parameters ({share:.2f} % of the frozen ones), update {trained['update_bytes']:,} bytes")
    code = f"{flash['code']:,}" if flash["code"] is not None else "not measured (no cross compiler)"
    lines.append(f"flash      weights and tables {flash['weights']:,}, code {code}")
    lines.append(f"MACs       forward {report['macs']['forward']:,}, backward {report['macs']['backward']:,}")
    kinds = ", ".join(f"{k} {v:,}" for k, v in memory["by_kind"].items() if v)
    lines.append(f"peak       {memory['peak_step']}; {kinds} (placement bound {memory['lower_bound']:,})")
    if trains:
        lines.append(f"calibration  {model['calibration']}")
    lines += [f"note       {note}" for note in model["notes"]]
    return "\n".join(lines)


def _row(title: str, *cells: object) -> str:
    texts = [f"{c:,}" if isinstance(c, int) else str(c) for c in cells]
    return f"{title:<20}" + "".join(f"{t:>18}" for t in texts)
