"""Imports point one way, only `pipeline` knows Ray, and heavy libraries stay out of what must be cheap to import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "winnow": {"winnow"},
    "filters": {"filters", "winnow"},
    "training": {"training", "winnow"},
    "eval": {"eval", "training", "winnow"},
    "pipeline": {"pipeline", "eval", "training", "filters", "winnow"},
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Return the first names of everything a file imports, at any depth of the code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = imported(path) & set(ALLOWED)
    assert ours <= ALLOWED[package], f"{package} must not import {ours - ALLOWED[package]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_pipeline_knows_ray(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "pipeline":
        assert "ray" not in imported(path)


@pytest.mark.parametrize("module", ["filters.strategies", "filters.strategy", "pipeline.cli", "winnow.registry"])
def test_import_is_cheap(module: str) -> None:
    heavy = "{'torch', 'open_clip', 'easyocr', 'ray', 'onnxruntime', 'matplotlib'}"
    code = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_every_registry_file_exports_one_entry() -> None:
    for folder in (
        "scorers",
        "pool_scorers",
        "strategies",
        "systems",
        "samplers",
        "tasks",
        "metrics",
        "stages",
        "sources",
        "picturesets",
        "executors",
    ):
        for path in [path for package in ALLOWED for path in (ROOT / package / folder).glob("[!_]*.py")]:
            names = [
                ast.literal_eval(node.value)
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
            ]
            assert names, f"{path} has no __all__"
            assert len(names[0]) == 1, f"{path} must export exactly one name"
