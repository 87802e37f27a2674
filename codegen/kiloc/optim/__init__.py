"""Optimizers, their schedules, storage formats: what is kept for each parameter and which nodes one update runs."""

from ._optimizer import LEARNING_RATE, Optimizer, with_accumulators, with_updates
from .adam import Adam
from .lion import Lion
from .schedule import CosineDecay, LinearDecay, Schedule, StepDecay, parse_schedule
from .sgd import SGD
from .storage import STORAGES, with_storage

__all__ = [
    "LEARNING_RATE",
    "SGD",
    "STORAGES",
    "Adam",
    "CosineDecay",
    "LinearDecay",
    "Lion",
    "Optimizer",
    "Schedule",
    "StepDecay",
    "parse_schedule",
    "with_accumulators",
    "with_storage",
    "with_updates",
]
