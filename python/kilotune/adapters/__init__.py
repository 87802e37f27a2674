"""Adapters as files: the trained part of a model, to be moved between devices."""

from .file import Adapter

__all__ = ["Adapter"]
