"""The memory timeline of a plan as SVG: the arena over the steps, each buffer a rectangle that names its values.

The rectangles stand in an inner drawing whose unit is one step across and one byte up, so their coordinates are the plan's numbers:
x = first step, width = steps, y = top of the scale - offset - size, height = size.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 560, 64, 8, 10, 34
ARENA_HEIGHT, LIVE_HEIGHT = 300, 110
KINDS = ("activation", "saved", "gradient", "scratch", "scalar")
STYLE = """
 .pair { display: flex; flex-wrap: wrap; gap: 1em } .pair figure { flex: 1 1 20em; min-width: 0; margin: 0 } figcaption { font-weight: 600 }
 .pair svg { width: 100%; height: auto } .buffers rect { stroke: var(--page); stroke-width: 1; vector-effect: non-scaling-stroke; fill-opacity: .85 }
 .buffers rect:hover { fill-opacity: 1; stroke: var(--text) } .bound { stroke: var(--limit); stroke-dasharray: 4 3 }
 .peak { fill: var(--limit); fill-opacity: .15; pointer-events: none }
 path { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke } circle.front { fill: var(--accent) }
 .legend span { display: inline-block; margin-right: 1.2em } .legend i { display: inline-block; width: .9em; height: .9em; margin-right: .4em }
""" + "".join(f" rect.{kind} {{ fill: var(--{kind}) }} i.{kind} {{ background: var(--{kind}) }}\n" for kind in (*KINDS, "state"))


def legend() -> str:
    items = "".join(f'<span><i class="{kind}"></i>{kind}</span>' for kind in KINDS)
    return f'<p class="legend">{items}<span>shaded: the peak step; dashed: the lower bound</span></p>\n'


def arena(plan: dict[str, Any], scale: int, label: str) -> str:
    """A plan of `plan.json` as SVG. scale: bytes of the whole height, so that two pictures can be compared."""
    steps, height = max(len(plan["steps"]), 1), max(scale, 1)
    inner = [_rectangle(b, plan, height) for b in plan["buffers"]]
    parts = [*_frame(plan, ARENA_HEIGHT, height), _inner("buffers", steps, height, ARENA_HEIGHT, inner), _peak(plan, ARENA_HEIGHT)]
    y = TOP + ARENA_HEIGHT * (1 - plan["lower_bound"] / height)
    parts.append(f'<line class="bound" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return _svg(f"arena of {label} over its steps", ARENA_HEIGHT, parts)


def live(plan: dict[str, Any], scale: int, label: str) -> str:
    """Bytes alive at each step, by kind, stacked."""
    steps, height = max(len(plan["steps"]), 1), max(scale, 1)
    bars = [bar for number, step in enumerate(plan["steps"]) for bar in _stack(number, step, height)]
    parts = [*_frame(plan, LIVE_HEIGHT, height), _inner("live", steps, height, LIVE_HEIGHT, bars), _peak(plan, LIVE_HEIGHT)]
    return _svg(f"bytes alive in {label} at each step", LIVE_HEIGHT, parts)


def front(points: list[dict[str, Any]]) -> str:
    """Arena bytes over extra MACs (a share of a step's): the least that each share buys, as stairs with a dot at each choice.

    The stairs stand in an inner drawing whose unit is one byte up and one extra MAC across.
    """
    high, low = points[0]["arena_bytes"], points[-1]["arena_bytes"]
    across, up = points[-1]["extra_macs"], high - low
    stairs = " ".join(["M0 0", *(f"H{p['extra_macs']} V{high - p['arena_bytes']}" for p in points[1:])])
    box = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{LIVE_HEIGHT}" viewBox="0 0 {across} {up}" preserveAspectRatio="none"'
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + LIVE_HEIGHT}" y2="{TOP + LIVE_HEIGHT}"/>']
    parts.append(f'<svg class="front" {box} overflow="visible"><path d="{stairs}"/></svg>')
    for p in points:
        x = LEFT + (WIDTH - LEFT - RIGHT) * p["extra_macs"] / across
        y = TOP + LIVE_HEIGHT * (high - p["arena_bytes"]) / up
        title = f"{p['arena_bytes']:,} bytes for {100 * p['extra']:.2f} % more MACs"
        parts.append(f'<circle class="front" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>')
    for y, value in ((TOP, high), (TOP + LIVE_HEIGHT, low)):
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:,}</text>')
    for x, anchor, words in ((LEFT, "start", "no more MACs"), (WIDTH - RIGHT, "end", f"{100 * points[-1]['extra']:.1f} % more MACs")):
        parts.append(f'<text x="{x}" y="{TOP + LIVE_HEIGHT + 20}" text-anchor="{anchor}">{words}</text>')
    return f'<div class="pair"><figure>{_svg("arena over extra MACs", LIVE_HEIGHT, parts)}</figure><figure></figure></div>\n'


def _rectangle(b: dict[str, Any], plan: dict[str, Any], height: int) -> str:
    first, last = (plan["steps"][b[end]]["name"] for end in ("first", "last"))
    when = f"step {b['first']} ({first})" if b["first"] == b["last"] else f"steps {b['first']} to {b['last']} ({first} to {last})"
    title = escape(f"{', '.join(b['values'])}\n{b['kind']}, {b['bytes']:,} bytes at {b['offset']:,}, {when}")
    place = f'x="{b["first"]}" y="{height - b["offset"] - b["bytes"]}" width="{b["last"] - b["first"] + 1}" height="{b["bytes"]}"'
    return f'<rect class="{b["kind"]}" {place}><title>{title}</title></rect>'


def _stack(number: int, step: dict[str, Any], height: int) -> Iterator[str]:
    below = 0
    listed = ", ".join(f"{kind} {step['live'][kind]:,}" for kind in KINDS if step["live"].get(kind))
    title = escape(f"step {number} {step['name']} ({step['phase']}): {sum(step['live'].values()):,} bytes\n{listed}")
    for kind in KINDS:
        size = step["live"].get(kind, 0)
        if size > 0:
            below += size
            yield f'<rect class="{kind}" x="{number}" y="{height - below}" width="1" height="{size}"><title>{title}</title></rect>'


def _inner(name: str, steps: int, height: int, pixels: int, parts: list[str]) -> str:
    box = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{pixels}" viewBox="0 0 {steps} {height}" preserveAspectRatio="none"'
    return f'<svg class="{name}" {box}>\n' + "\n".join(parts) + "\n</svg>"


def _frame(plan: dict[str, Any], pixels: int, height: int) -> list[str]:
    """Axes, and where backward begins."""
    steps, across = max(len(plan["steps"]), 1), WIDTH - LEFT - RIGHT
    parts = []
    for i in range(5):
        y = TOP + pixels * (1 - i / 4)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{height * i / 4:,.0f}</text>')
    backward = next((i for i, step in enumerate(plan["steps"]) if step["phase"] != "forward"), None)
    marks: list[tuple[str, float, str]] = [(f"{steps - 1}", WIDTH - RIGHT, "end")]
    if backward is not None:
        at = LEFT + across * backward / steps
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + pixels + 6}"/>')
        marks.append((f"backward from {backward}", at, "start" if backward < steps / 2 else "end"))
    if backward is None or backward > steps / 12:
        marks.append(("0", LEFT, "start"))
    parts += [f'<text x="{at:.1f}" y="{TOP + pixels + 20}" text-anchor="{anchor}">{text}</text>' for text, at, anchor in marks]
    return parts


def _peak(plan: dict[str, Any], pixels: int) -> str:
    steps, across = max(len(plan["steps"]), 1), WIDTH - LEFT - RIGHT
    x, width = LEFT + across * plan["peak_step"] / steps, max(across / steps, 2)
    return f'<rect class="peak" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{pixels}"/>'


def _svg(label: str, pixels: int, parts: list[str]) -> str:
    opening = f'<svg viewBox="0 0 {WIDTH} {TOP + pixels + BOTTOM}" role="img" aria-label="{escape(label)}">'
    return "\n".join([opening, *parts, "</svg>\n"])
