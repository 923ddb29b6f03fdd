"""Training loops, one file each: who takes which gradient step, and what becomes of the weights."""
