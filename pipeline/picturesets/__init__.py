"""Entries of the picture set role: one file each."""
