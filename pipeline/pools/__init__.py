"""Questions about a pool on disk: its columns, samples, health, recovery, export, index and foreign tables."""
