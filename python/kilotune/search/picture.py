"""The Pareto front as a self-contained page: inline SVG, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from kiloc.report import number, page, ticks

WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN = 620, 270, 72, 48, 22
STYLE = """
 .scroll table { width: 100% } .chosen { font-weight: 600; color: var(--good) } svg { width: 100%; max-width: 55em; height: auto }
 .line { fill: none; stroke: var(--accent); stroke-width: 1.5 } .limit { stroke: var(--limit); stroke-dasharray: 4 3 }
 circle { fill: var(--accent); fill-opacity: .45 } circle.front { fill-opacity: 1 }
 circle.best { fill: var(--good); fill-opacity: 1; stroke: var(--good); stroke-width: 6; stroke-opacity: .25 }
 text.limit { fill: var(--limit); stroke: none } .legend span { display: inline-block; margin-right: 1.2em }
 .legend svg { width: 1em; height: 1em; margin-right: .3em; vertical-align: -.15em; overflow: visible }
"""
LEGEND = (("best", "chosen"), ("front", "nothing takes less memory and promises as much"), ("", "other sets"))
"""Class of a dot -> what it is."""


def html(model: str, before: float | None, loss_before: float, ram: float | None, rows: Sequence[dict[str, Any]], reason: Sequence[str] = ()) -> str:
    """The page of a search. rows: `Row.to_dict` of each."""
    trained = [r for r in rows if r["loss"] is not None]
    judged = "loss" if before is None else "accuracy"
    figures = [_figure("expected gain", rows, "gain", ram, line=True)]
    if trained:
        figures.insert(0, _figure(f"{judged} on samples held out", trained, judged, ram, line=False))
    start = f"Loss before training {loss_before:.3f}." if before is None else f"Accuracy before training {before:.3f}."
    start += "".join(f" {escape(line)}." for line in reason)
    body = "".join(_table_row(r) for r in rows)
    heads = "<tr><th>trainable set<th>RAM<th>flash<th>MACs<th>ms<th>expected gain<th>lr<th>accuracy<th>loss</tr>"
    table = f'<div class="scroll"><table>{heads}\n{body}</table></div>\n'
    return page(f"{model}: what to train", f"<p>{start}</p>\n{_legend(ram)}{''.join(figures)}{table}", STYLE)


def _legend(ram: float | None) -> str:
    """What the colours are, and the line."""

    def item(drawing: str, words: str) -> str:
        return f'<span><svg viewBox="0 0 10 10" aria-hidden="true">{drawing}</svg>{words}</span>'

    items = [item(f'<circle class="{kind}" cx="5" cy="5" r="4"/>', words) for kind, words in LEGEND]
    if ram:
        items.append(item('<line class="limit" x1="5" x2="5" y1="0" y2="10"/>', f"the budget, {ram:,} bytes"))
    return f'<p class="legend">{"".join(items)}</p>\n'


def _table_row(r: dict[str, Any]) -> str:
    trained = ["" if r[key] is None else f"{r[key]:.3f}" for key in ("accuracy", "loss")]
    cells = [
        escape(r["name"]),
        f"{r['bytes']:,}",
        f"{r['weights']:,}",
        f"{r['macs']:,}",
        f"{1e3 * r['seconds']:.3g}",
        f"{r['gain']:.4f}",
        f"{r['lr']:g}",
        *trained,
    ]
    return f"<tr{' class=chosen' if r['chosen'] else ''}>" + "".join(f"<td>{c}" for c in cells) + "</tr>\n"


def _figure(title: str, rows: Sequence[dict[str, Any]], key: str, ram: float | None, line: bool) -> str:
    across = _axis([float(r["bytes"]) for r in rows] + ([float(ram)] if ram else []), LEFT, WIDTH - MARGIN)
    up = _axis([float(r[key]) for r in rows], HEIGHT - BOTTOM, MARGIN)
    parts = [f'<h2>{escape(title)}</h2>\n<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over bytes">']
    for value, y in _ticks(up):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value, x in _ticks(across):
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(value)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">bytes of arena and state</text>')
    if ram:
        x = across[0](ram)
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{MARGIN}" y2="{HEIGHT - BOTTOM}"/>')
        anchor, shift = ("end", -5) if x > WIDTH / 2 else ("start", 5)
        parts.append(f'<text class="limit" x="{x + shift:.1f}" y="{MARGIN - 6}" text-anchor="{anchor}">budget {ram:,}</text>')
    if line:
        parts.append(f'<polyline class="line" points="{" ".join(_steps(rows, key, across[0], up[0]))}"/>')
    for r in rows:
        shape = "best" if r["chosen"] else "front" if r["front"] else ""
        label = escape(f"{r['name']}: {r['bytes']:,} bytes, {r[key]:.4g}")
        parts.append(f'<circle class="{shape}" cx="{across[0](r["bytes"]):.1f}" cy="{up[0](r[key]):.1f}" r="4.5"><title>{label}</title></circle>')
    return "\n".join([*parts, "</svg>\n"])


def _steps(rows: Sequence[dict[str, Any]], key: str, across: Callable[[float], float], up: Callable[[float], float]) -> list[str]:
    """The best value for each budget: a staircase."""
    points: list[str] = []
    best: float | None = None
    for r in sorted(rows, key=lambda r: (r["bytes"], -r[key])):
        if best is None or r[key] > best:
            if best is not None:
                points.append(f"{across(r['bytes']):.1f},{up(best):.1f}")
            best = r[key]
            points.append(f"{across(r['bytes']):.1f},{up(best):.1f}")
    return points


Axis = tuple[Callable[[float], float], float, float]


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.1
    low, high = low - room, high + room
    return (lambda v: start + (v - low) / (high - low) * (end - start)), low, high


def _ticks(axis: Axis) -> list[tuple[float, float]]:
    place, low, high = axis
    return [(v, place(v)) for v in ticks(low, high)]
