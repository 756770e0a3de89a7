"""Metrics: pure functions from features or predictions to numbers, one file each."""
