"""The demo's world: OpenMoji drawings, captions from the `emoji` package, and a small web that misbehaves."""
