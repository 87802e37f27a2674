"""What every page of ours shares: one self-contained file, nothing loaded from elsewhere, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
 :root { color-scheme: light dark; --text: #222; --faint: #666; --rule: #ddd; --page: #fff; --accent: #3465a4; --good: #0a6b3c; --limit: #c33;
  --activation: #5b8fc7; --saved: #d29a3a; --gradient: #a277c4; --scratch: #9a9a9a; --scalar: #5fae8b; --state: #c9756b }
 @media (prefers-color-scheme: dark) { :root { --text: #ddd; --faint: #999; --rule: #3a3a3a; --page: #171717; --accent: #7fa8dc; --good: #5cc391;
  --limit: #e66; --activation: #3f73ab; --saved: #a87a28; --gradient: #8058a4; --scratch: #6a6a6a; --scalar: #3f8c6b; --state: #a8574e } }
 body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: var(--text); background: var(--page) }
 h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin: 1.6em 0 .4em } p, dl { max-width: 60em } dt { font-weight: 600 } dd { margin: 0 0 .6em }
 table { border-collapse: collapse; font-variant-numeric: tabular-nums } th, td { padding: .2em .8em; text-align: right }
 th:first-child, td:first-child { text-align: left; overflow-wrap: break-word; min-width: 6em; max-width: 28em }
 tr + tr { border-top: 1px solid var(--rule) }
 .scroll { overflow-x: auto; max-width: 100% } .long { text-align: left; min-width: 16em; overflow-wrap: break-word }
 svg text { font: 12px system-ui, sans-serif; fill: var(--faint) } .axis { stroke: var(--faint) } .grid { stroke: var(--rule) }
 @media (max-width: 40em) { body { margin: 1em auto; padding: 0 .8em } th, td { padding: .25em .45em } svg text { font-size: 19px } }
"""
"""On a phone tables move sideways by themselves where they are wide, and the text of pictures, which shrink with the page, is larger."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], long: int | None = None) -> str:
    """A table that moves sideways where the page is too narrow. long: the column that holds sentences instead of numbers."""

    def cell(kind: str, i: int, text: str) -> str:
        return f"<{kind}{' class=long' if i == long else ''}>{escape(text)}"

    body = "".join(f"<tr>{''.join(cell('td', i, c) for i, c in enumerate(row))}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><tr>{"".join(cell("th", i, h) for i, h in enumerate(heads))}</tr>\n{body}</table></div>\n'


def page(title: str, body: str, style: str = "") -> str:
    """An HTML document. style: rules beside the shared ones."""
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"{meta}<title>{escape(title)}</title><style>{STYLE}{style}</style>"
    return f'<!doctype html>\n<html lang="en">{head}\n<h1>{escape(title)}</h1>\n{body}</html>\n'
