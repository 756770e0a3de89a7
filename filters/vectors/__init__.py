"""Embeddings of a whole pool, its clusters, and sets to compare it with."""
