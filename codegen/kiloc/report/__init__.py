"""Sizes of a build as data, as text, and as a page with pictures."""

from .figures import figures
from .html import render_html
from .kernels import unreached
from .page import page
from .text import render_text
from .timeline import timeline

__all__ = ["figures", "page", "render_html", "render_text", "timeline", "unreached"]
