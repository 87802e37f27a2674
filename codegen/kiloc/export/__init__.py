"""Writers: a Graph to a model file that other tools read."""

from . import onnx, tflite

WRITERS = {".tflite": tflite.write, ".onnx": onnx.write}
"""By the suffix of the file: from a Graph of inference to the file's bytes."""

__all__ = ["WRITERS"]
