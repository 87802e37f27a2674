"""Reversible networks of float weights, quantised and written as .onnx files: `Reversible`, with layers `Dense` and `Convolution`."""

from kiloc.export import Convolution, Dense, Reversible

__all__ = ["Convolution", "Dense", "Reversible"]
