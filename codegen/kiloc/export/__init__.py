"""Writers: a Graph to a model file that other tools read."""

from . import tflite

__all__ = ["tflite"]
