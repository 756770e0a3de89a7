"""Commands of the line: one file per command or group that `pipeline/cli.py` mounts."""
