"""Metrics, tasks, statistics and the report."""
