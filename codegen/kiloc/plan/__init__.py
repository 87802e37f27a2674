"""Memory: which bytes of the arena each value occupies at each step."""

from .check import check_plan
from .place import Plan, plan_memory
from .problem import WORD, alignment, kind_of

__all__ = ["WORD", "Plan", "alignment", "check_plan", "kind_of", "plan_memory"]
