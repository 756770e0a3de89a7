"""Entries of the source role: one file each."""
