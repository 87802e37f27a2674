"""Parameter-efficient methods: one file each. A method takes a Graph and returns it with trainable values."""

from ._combine import attach_all
from ._method import Calibration, Method, has_weights
from .adapter import BottleneckAdapter
from .bias import BiasOnly
from .full import Full
from .head import Head
from .lora import LoRA
from .scale_shift import ScaleShift
from .sparse import SparseUpdate

__all__ = [
    "BiasOnly", "BottleneckAdapter", "Calibration", "Full", "Head", "LoRA", "Method", "ScaleShift", "SparseUpdate", "attach_all", "has_weights",
]  # fmt: skip
