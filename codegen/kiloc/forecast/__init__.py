"""What a build would take, without making it: memory and work as planned, and instructions of a training step as estimated."""

from .counts import Call, Counts, Kind, calls, uncounted
from .each_node import instructions_of, node_instructions
from .instructions import Estimate, estimate
from .plan import Forecast, forecast

__all__ = ["Call", "Counts", "Estimate", "Forecast", "Kind", "calls", "estimate", "forecast", "instructions_of", "node_instructions", "uncounted"]
