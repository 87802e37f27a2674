"""Reversible networks of float weights: `Reversible`, with layers `Dense` and `Convolution`, quantised and written as a model file by `write`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kiloc import CompileError, Convolution, Dense, Reversible
from kiloc.export import WRITERS

__all__ = ["Convolution", "Dense", "Reversible", "write"]


def write(network: Reversible, path: str | Path, samples: NDArray[Any]) -> Path:
    """The network in integers, as an .onnx or a .tflite file. samples: inputs [N, ...] of the domain, which say what values occur.

    Raises CompileError for layers that do not fit one another, for too many blocks, and for another kind of file.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise CompileError(str(path), "is no kind of file that models are written as", f"choose a name that ends with {' or '.join(WRITERS)}")
    path.write_bytes(WRITERS[path.suffix](network.quantized(samples)))
    return path
