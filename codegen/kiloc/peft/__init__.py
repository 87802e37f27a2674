"""Parameter-efficient methods: one file each. A method takes a Graph and returns it with trainable values."""

from ._method import Calibration, Method, has_weights
from .bias import BiasOnly
from .head import Head
from .lora import LoRA

__all__ = ["BiasOnly", "Calibration", "Head", "LoRA", "Method", "has_weights"]
