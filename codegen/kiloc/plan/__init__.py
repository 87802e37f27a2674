"""Memory: which bytes of the arena each value occupies at each step."""

from .check import check_plan
from .place import Plan, plan_memory

__all__ = ["Plan", "check_plan", "plan_memory"]
