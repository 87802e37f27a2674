"""Gradients that several operators share: of inputs, of parameters, masks, sums, and the losses they start from."""
