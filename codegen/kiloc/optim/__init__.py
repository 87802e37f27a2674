"""Optimizers, their schedules, storage formats: what is kept for each parameter and which nodes one update runs."""

from ._optimizer import LEARNING_RATE, Optimizer, own_part, taking_steps, with_accumulators, with_updates
from .adam import Adam
from .lion import Lion
from .schedule import CosineDecay, LinearDecay, Schedule, StepDecay, parse_schedule
from .sgd import SGD
from .shard import Shard, check_shard, parts
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
    "Shard",
    "StepDecay",
    "check_shard",
    "own_part",
    "parse_schedule",
    "parts",
    "taking_steps",
    "with_accumulators",
    "with_storage",
    "with_updates",
]
