"""Front ends: from the samples of a recording to the input of a model, in integers that are the same in NumPy and in C.

A front end says what is computed; bound to the quantisation of a model's input it becomes a `FeaturePlan`: constant tables, a function of
NumPy, and what the generated C needs.
"""

from .front_end import FRONT_ENDS, LogMel, Mfcc, described, front_end
from .plan import FeaturePlan, plan

__all__ = ["FRONT_ENDS", "FeaturePlan", "LogMel", "Mfcc", "described", "front_end", "plan"]
