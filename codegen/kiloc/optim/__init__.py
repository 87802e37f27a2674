"""Optimizers: what is kept for each parameter and which nodes one update runs."""

from ._optimizer import LEARNING_RATE, Optimizer, with_accumulators, with_updates
from .sgd import SGD

__all__ = ["LEARNING_RATE", "SGD", "Optimizer", "with_accumulators", "with_updates"]
