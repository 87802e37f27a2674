"""Writers: a Graph to a model file that other tools read; and reversible networks of float weights to one."""

from . import onnx, tflite
from .reversible import Convolution, Dense, Reversible

WRITERS = {".tflite": tflite.write, ".onnx": onnx.write}
"""By the suffix of the file: from a Graph of inference to the file's bytes."""

__all__ = ["WRITERS", "Convolution", "Dense", "Reversible"]
