"""Tasks: what a trained system is asked to do, one file each."""
