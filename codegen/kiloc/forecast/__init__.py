"""What a build would take, without making it: memory and work as planned, and instructions of a training step as estimated."""

from .instructions import instructions, node_instructions
from .plan import Forecast, forecast

__all__ = ["Forecast", "forecast", "instructions", "node_instructions"]
