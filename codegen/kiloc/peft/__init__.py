"""Parameter-efficient methods: one file each. A method takes a Graph and returns it with trainable values."""

from ._method import Calibration, Method
from .bias import BiasOnly
from .head import Head
from .lora import LoRA

__all__ = ["BiasOnly", "Calibration", "Head", "LoRA", "Method"]
