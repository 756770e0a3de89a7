"""One training loop of update phases; systems, networks, samplers."""
