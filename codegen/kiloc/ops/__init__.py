"""Operators: one file each. `REGISTRY` maps mnemonics to classes."""

from . import registry
from .registry import REGISTRY, Environment, Names, NodeTypes, NoGradient, Op

registry.load_all(__path__, __name__)

__all__ = ["REGISTRY", "Environment", "Names", "NoGradient", "NodeTypes", "Op"]
