"""Moves of values: to slow memory and back, and of stripes of rows into an image."""
