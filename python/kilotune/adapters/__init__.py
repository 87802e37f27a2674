"""Adapters as files: the trained part of a model, to be moved between devices."""

from .file import Adapter
from .scaling import scaled

__all__ = ["Adapter", "scaled"]
