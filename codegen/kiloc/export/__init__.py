"""Writers: a Graph to a model file that other tools read."""

from . import onnx, tflite

__all__ = ["onnx", "tflite"]
