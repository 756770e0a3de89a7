"""Formats that can be attached to a pool, one file each."""
