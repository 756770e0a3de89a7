"""The configs and model architectures that come with Winnow, whether it runs from a checkout or from a wheel."""

import shutil
from pathlib import Path

__all__ = ["CONFIGS", "bring"]

CONFIGS = Path(__file__).parent / "configs"
"""Their folder: demo.yaml, bench/ and models/."""


def bring(folder: Path) -> list[Path]:
    """Write the shipped files into `folder`/configs, those that are not there, and return the new ones."""
    new = []
    for file in sorted(path for path in CONFIGS.rglob("*") if path.suffix in (".yaml", ".json")):
        target = folder / "configs" / file.relative_to(CONFIGS)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            new.append(target)
    return new
