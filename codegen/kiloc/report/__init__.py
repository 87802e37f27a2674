"""Sizes of a build as data, and as text."""

from .figures import figures
from .text import render_text

__all__ = ["figures", "render_text"]
