"""Sizes of a build as data, as text, and as a page with pictures; and what other pages are made of."""

from .chart import STYLE as CHART_STYLE
from .chart import Line, lines, number, ticks
from .figures import figures
from .html import render_html, render_timelines
from .kernels import unreached
from .page import page, table
from .picture import STYLE as TIMELINE_STYLE
from .text import render_text
from .timeline import timeline

__all__ = [
    "CHART_STYLE",
    "TIMELINE_STYLE",
    "Line",
    "figures",
    "lines",
    "number",
    "page",
    "render_html",
    "render_text",
    "render_timelines",
    "table",
    "ticks",
    "timeline",
    "unreached",
]
