"""Lines over a number as SVG, with round ticks and a legend: curves of a training, points of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 244, 66, 14, 26, 44
STYLE = """
 .chart { max-width: 48em } .chart svg { width: 100%; height: auto; display: block } .pair figure.chart { margin: 0; flex: 1 1 30em; min-width: 0 }
 @media (min-width: 64em) { .pair figure.chart { max-width: calc(50% - .5em) } }
 .chart path { fill: none; stroke-width: 2; stroke: var(--accent) } .chart .dot { fill: var(--accent) }
 .chart path.second { stroke: var(--saved); stroke-dasharray: 7 4 } .chart .dot.second { fill: var(--saved) }
 .chart .mark { stroke: var(--good); stroke-dasharray: 2 3 } .chart text.mark { stroke: none; fill: var(--good) }
 .chart .legend svg { display: inline; width: 2em; height: .7em; margin-right: .4em } .legend span { display: inline-block; margin-right: 1.2em }
"""


@dataclass(frozen=True)
class Line:
    """Points (x, y) in rising order of x. second: drawn in another colour, and dashed for those who see no colours."""

    name: str
    points: Sequence[tuple[float, float]]
    second: bool = False


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values from low to high: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if s >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A tick as people read it: no more digits than it has."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"


def lines(title: str, drawn: Sequence[Line], x_label: str, mark: tuple[float, str] | None = None, top: float | None = None) -> str:
    """A figure. mark: a place on the x axis, and what it is. top: the highest value of the y axis, where the values have one."""
    points = [p for line in drawn for p in line.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, right = min(xs), max(max(xs), min(xs) + 1)
    low, high = min(0.0, *ys) if top is None else 0.0, max(ys) if top is None else top
    high = high if high > low else low + 1

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (x - left) / (right - left)

    def up(y: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - y) / (high - low)

    floor = HEIGHT - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for y in ticks(low, high, 4):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
    for x in [x for x in ticks(left, right, 6) if x == int(x)]:
        parts.append(f'<text x="{across(x):.1f}" y="{floor + 18}" text-anchor="middle">{number(x)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
    if mark is not None:
        at = across(mark[0])
        anchor, shift = ("end", -5) if at > WIDTH / 2 else ("start", 5)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{floor}"/>')
        parts.append(f'<text class="mark" x="{at + shift:.1f}" y="{TOP - 7}" text-anchor="{anchor}">{escape(mark[1])}</text>')
    for line in drawn:
        kind = ' class="second"' if line.second else ""
        places = [(across(x), up(y)) for x, y in line.points]
        parts.append(f'<path{kind} d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>')
        if len(places) <= 60:
            dot = f"dot{' second' if line.second else ''}"
            for (x, y), (value, height) in zip(places, line.points, strict=True):
                name = escape(f"{line.name}, {number(value)}: {height:.4g}")
                parts.append(f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{name}</title></circle>')
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>\n{legend(drawn)}' + "\n".join([*parts, "</svg></figure>\n"])


def legend(drawn: Sequence[Line]) -> str:
    """Which line is which, by colour and by dashes."""
    items = []
    for line in drawn:
        kind = ' class="second"' if line.second else ""
        items.append(f'<span><svg viewBox="0 0 30 10" aria-hidden="true"><path{kind} d="M0 5 L30 5"/></svg>{escape(line.name)}</span>')
    return f'<div class="legend">{"".join(items)}</div>\n'
