"""From a planned graph to a folder of C. Decisions are in context.py, layout is in templates/."""

from .context import ModelContext, build_context
from .write import render

__all__ = ["ModelContext", "build_context", "render"]
