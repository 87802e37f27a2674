"""Rows of a table for tokens; against onnxruntime in `unit/test_language_models.py`."""

from __future__ import annotations

import numpy as np
from kernel_driver import Case, int8, pick

from cases._parts import Rng
from kiloc.ir.types import Quantization, TensorType
from kiloc.ops.model.embedding import Embedding, token_quantization


def kernel_case(r: Rng) -> Case:
    """Tables of all sizes, the first and the last row among the tokens."""
    rows, depth, count = pick(r, 1, 2, 96, 128, 129, 256), pick(r, 1, 3, 64), int(r.integers(2, 20))
    x, table = TensorType((1, count), "int8", token_quantization(rows)), TensorType((rows, depth), "int8", Quantization((0.1,), 4))
    tokens = r.integers(0, rows, (1, count))
    tokens[0, :2] = 0, rows - 1
    arrays = {"x": (tokens + x.zero_point).astype(np.int8), "table": int8(r, rows, depth)}
    return Case(Embedding(), {"x": x, "table": table}, arrays)


GENERATORS = {"embedding": (kernel_case, 20)}
