"""From one graph to the planned slices of inference and training, in stages: order, kernels, fit to the budget, placement.

Layers stay as the model has them up to the fit (`Slice.graph`). What is emitted is `Slice.kernels`, where operators stand whose constants
fast kernels read; placement gives everything in it an offset in the arena (`Slice.placed`).
"""

from .cut import dearer, with_long_kernels_cut
from .fit import advice, fit, fit_all, fit_apart, offload_least, recomputations
from .flash import check_flash, repeats_for_flash, shared_for_flash, shared_for_memory, with_shared_weights
from .kernels import choose_kernels, place, share_weights
from .order import order_inference, order_training

__all__ = [
    "advice",
    "check_flash",
    "choose_kernels",
    "dearer",
    "fit",
    "fit_all",
    "fit_apart",
    "offload_least",
    "order_inference",
    "order_training",
    "place",
    "recomputations",
    "repeats_for_flash",
    "share_weights",
    "shared_for_flash",
    "shared_for_memory",
    "with_long_kernels_cut",
    "with_shared_weights",
]
