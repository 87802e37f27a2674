"""Rewrites: one file each, every pass takes a Graph and returns a Graph."""

from .bounded_biases import without_bounded_biases
from .calibrate import real_gradients
from .channel_moments import moments_of
from .merge import merge
from .simplify import with_rounding
from .slices import inference_slice, prune
from .whole_sequences import with_whole_sequences

__all__ = ["inference_slice", "merge", "moments_of", "prune", "real_gradients", "with_rounding", "with_whole_sequences", "without_bounded_biases"]
