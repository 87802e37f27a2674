"""Operators of int16 activations with zero point 0 and int8 weights, for inference: TensorFlow Lite's 16x8 quantisation."""
