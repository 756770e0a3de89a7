"""Fetch pictures without trusting the web, and write them the way img2dataset does."""
