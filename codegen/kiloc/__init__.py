"""kiloc: the compiler behind kilotune. `kiloc.pipeline` is its door."""
