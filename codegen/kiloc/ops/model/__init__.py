"""What a model computes, and what an adapter adds to it, forward and backward: one file an operator."""
