"""Synthetic pools: pictures of a set, captions of known quality, noise of known kind, a small web that misbehaves."""
