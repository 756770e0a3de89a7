"""Scorers (samples to columns) and strategies (columns to keep or drop)."""
