"""What a build would take, without making it: memory and work as planned, and instructions of a training step as estimated."""

from .each_node import node_instructions
from .instructions import Estimate, estimate
from .plan import Forecast, forecast

__all__ = ["Estimate", "Forecast", "estimate", "forecast", "node_instructions"]
