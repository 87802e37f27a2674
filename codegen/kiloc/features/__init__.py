"""Front ends: from the samples of a recording to the input of a model, in integers that are the same in NumPy and in C.

A front end says what is computed; bound to the quantisation of a model's input it becomes a `FeaturePlan`: constant tables, a function of
NumPy, and what the generated C needs.
"""

from .front_end import FeaturePlan, FrontEnd
from .kept import KEPT, with_kept
from .mel import LogMel, Mfcc
from .micro import MicroFrontend
from .registry import FRONT_ENDS, check_fits, described, front_end
from .statistics import Statistics

__all__ = [
    "FRONT_ENDS",
    "KEPT",
    "FeaturePlan",
    "FrontEnd",
    "LogMel",
    "Mfcc",
    "MicroFrontend",
    "Statistics",
    "check_fits",
    "described",
    "front_end",
    "with_kept",
]
