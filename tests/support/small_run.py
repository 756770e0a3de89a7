"""A config small enough to run the data stages in seconds, and what they leave, to compare runs by."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from winnow.storage import Store

__all__ = ["STAGES", "hashes", "products", "write_config"]

STAGES = ("ingest", "download", "score", "select", "reshard")


def write_config(folder: Path, pool: str, run_dir: str, executor: dict[str, Any], **sections: Any) -> Path:
    """Write a config of a drawn pool of 24 samples in 4 shards, without its web, and cheap scorers."""
    folder.mkdir(parents=True, exist_ok=True)
    source = {"use": "webnoise", "num_samples": 24, "num_trusted": 4, "num_heldout": 9}
    config = {
        "pool": pool,
        "run_dir": run_dir,
        "seed": 3,
        "source": source,
        "executor": executor,
        "ingest": {"rows_per_file": 6},
        "download": {"image_size": 64, "direct": True},
        "score": {"scorers": {"caption_stats": {}, "image_stats": {}}},
        "select": {
            "strategies": {
                "no_filter": {},
                "half": {"use": "top_fraction", "of": "no_filter", "score": "caption_stats.num_chars"},
            }
        },
        "reshard": {"samples_per_shard": 5},
        **sections,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def hashes(store: Store, folders: tuple[str, ...]) -> dict[str, str]:
    """Return the hash of every file below some folders of a store, by name."""
    found = {}
    for folder in folders:
        if not store.exists(folder):
            continue
        for path in store.fs.find(store.path(folder)):
            name = str(path).removeprefix(store.root).lstrip("/")
            found[name] = hashlib.sha256(store.read(name)).hexdigest()
    return dict(sorted(found.items()))


def products(pool: Store, run: Store) -> dict[str, str]:
    """Return the hash of everything the data stages leave under final names."""
    return hashes(pool, ("metadata", "shards", "columns")) | hashes(run, ("subsets", "shards"))
