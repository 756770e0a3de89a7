"""The floor every part stands on: components, registry, storage, journal, shards. It imports no sibling package."""
