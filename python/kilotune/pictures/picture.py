"""Pieces of HTML for a notebook, and pictures that can be saved."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from kiloc.report import CHART_STYLE, page

from ..files import write_whole

STYLE = """
 .kilotune { font-size: 14px; line-height: 1.45; --accent: #4f86c6; --saved: #c98d2b; --good: #2e9b67; --limit: #d44;
  --rule: rgba(128, 128, 128, .35) }
 .kilotune table { border-collapse: collapse } .kilotune th, .kilotune td { padding: .15em .7em; text-align: right; background: none }
 .kilotune th:first-child, .kilotune td:first-child { text-align: left } .kilotune tr + tr { border-top: 1px solid var(--rule) }
 .kilotune svg { max-width: 640px } .kilotune svg text { font: 12px system-ui, sans-serif; fill: currentColor; opacity: .75 }
 .kilotune .grid { stroke: var(--rule) } .kilotune .axis { stroke: currentColor } .kilotune .scroll { overflow-x: auto }
"""
"""A notebook has a page of its own, light or dark: text and axes take its colour."""


def fragment(title: str, body: str) -> str:
    """A piece of HTML for a notebook, which changes nothing beside it. body: HTML."""
    charts = re.sub(r"(^|[{}] )( ?)\.", r"\1\2.kilotune .", CHART_STYLE, flags=re.MULTILINE)
    return f'<div class="kilotune"><style>{STYLE}{charts}</style><p><b>{escape(title)}</b></p>\n{body}</div>\n'


@dataclass(frozen=True)
class Picture:
    """Figures, which a notebook shows and `save` writes as a page. body: HTML with SVG in it."""

    title: str
    body: str

    def _repr_html_(self) -> str:
        return fragment(self.title, self.body)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a self-contained page; the path. CompileError where it cannot be written."""
        write_whole(path, page(self.title, self.body, CHART_STYLE + " .pair { display: flex; flex-wrap: wrap; gap: 1em }\n"))
        return Path(path)
