"""An operator for kilotune with a kernel of its own."""
