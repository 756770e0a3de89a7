"""What the README names exists: paths, make targets, commands."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from pipeline.cli import app
from pipeline.config import RunConfig

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
OURS = r"(?:winnow|filters|training|eval|pipeline|configs|tests|benchmarks|docs)/[\w./-]*\w"
EXAMPLES = {"filters/strategies/long_captions.py", "filters/scorers/brightness.py"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for path in set(re.findall(rf"`({OURS})`", text)) - EXAMPLES:
        assert (ROOT / path).exists(), f"{document} names {path}"
    for link in set(re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", text)):
        assert (ROOT / document).parent.joinpath(link).exists(), f"{document} links to {link}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    commands = set(getattr(get_command(app), "commands", {}))
    for line in re.findall(r"(?m)^\$? ?winnow ([a-z]+)|`winnow ([a-z]+)", text):
        name = line[0] or line[1]
        assert name in commands, f"{document} names `winnow {name}`"
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    for target in re.findall(r"(?m)^\$? ?make ([a-z-]+)|`make ([a-z-]+)", text):
        assert (target[0] or target[1]) in targets


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configs_are_valid(path: Path) -> None:
    assert RunConfig(path).stages
    assert isinstance(yaml.safe_load(path.read_text()), dict)
