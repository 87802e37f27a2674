"""What every page of ours shares: one self-contained file, nothing loaded from elsewhere, readable in light and dark."""

from __future__ import annotations

from html import escape

STYLE = """
 :root { color-scheme: light dark; --text: #222; --faint: #666; --rule: #ddd; --page: #fff; --accent: #3465a4; --good: #0a6b3c; --limit: #c33;
  --activation: #5b8fc7; --saved: #d29a3a; --gradient: #a277c4; --scratch: #9a9a9a; --scalar: #5fae8b; --state: #c9756b }
 @media (prefers-color-scheme: dark) { :root { --text: #ddd; --faint: #999; --rule: #3a3a3a; --page: #171717; --accent: #7fa8dc; --good: #5cc391;
  --limit: #e66; --activation: #3f73ab; --saved: #a87a28; --gradient: #8058a4; --scratch: #6a6a6a; --scalar: #3f8c6b; --state: #a8574e } }
 body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: var(--text); background: var(--page) }
 h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin: 1.6em 0 .4em } p, dl { max-width: 60em } dt { font-weight: 600 } dd { margin: 0 0 .6em }
 table { border-collapse: collapse; font-variant-numeric: tabular-nums } th, td { padding: .2em .8em; text-align: right }
 th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere } tr + tr { border-top: 1px solid var(--rule) }
 svg text { font: 12px system-ui, sans-serif; fill: var(--faint) } .axis { stroke: var(--faint) } .grid { stroke: var(--rule) }
"""


def page(title: str, body: str, style: str = "") -> str:
    """An HTML document. style: rules beside the shared ones."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}{style}</style>'
    return f'<!doctype html>\n<html lang="en">{head}\n<h1>{escape(title)}</h1>\n{body}</html>\n'
