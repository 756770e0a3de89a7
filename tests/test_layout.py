"""The rooms of the packages: the size of files, what stands at a root, which room may use which, and no circles."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("winnow", "filters", "training", "eval", "pipeline")
MOST_LINES = 450

FLOORS = {
    "pipeline": (
        ("stage", "source", "pictureset"),
        ("engine", "webnoise", "picturesets", "pools", "download"),
        ("attachment", "sources", "config"),
        ("attachments", "planning", "runner"),
        ("stages",),
        ("ray_train", "commands"),
        ("cli",),
        ("__main__",),
    ),
    "filters": (
        ("scorer", "strategy", "subset", "gate"),
        ("pool_scorer", "shared_batch", "models", "choosing"),
        ("text", "vectors"),
        ("scorers", "pool_scorers", "strategies"),
    ),
}
"""Package -> its files and folders, floor by floor: a room uses itself and those of lower floors."""


def name_of(path: Path) -> str:
    """Return the dotted name of a file's module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def used_by(module: str) -> Iterator[str]:
    """Yield the modules of ours that a module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in FILES or node.module in FILES:
                    yield full if full in FILES else node.module


def room_of(module: str) -> str:
    """Return the file or folder right under its package that holds a module; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def floor_of(package: str, room: str) -> int:
    """Return the number of a room's floor."""
    return next(number for number, rooms in enumerate(FLOORS[package]) if room in rooms)


@pytest.mark.parametrize("module", FILES)
def test_files_are_small(module: str) -> None:
    lines = len(FILES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{module} has {lines} lines: split it"


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    rooms = {room_of(module) for module in FILES if module.startswith(f"{package}.")}
    named = [room for floor in FLOORS[package] for room in floor]
    assert sorted(rooms) == sorted(named)


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_use_lower_floors_only(package: str) -> None:
    for module in FILES:
        room = room_of(module)
        if not module.startswith(f"{package}."):
            continue
        for used in used_by(module):
            other = room_of(used)
            if used.startswith(f"{package}.") and other != room:
                assert floor_of(package, other) < floor_of(package, room), f"{module} must not import {used}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circles(package: str) -> None:
    graph = {module: set(used_by(module)) - {module} for module in FILES if module.split(".")[0] == package}
    while free := {module for module, used in graph.items() if not used & set(graph)}:
        graph = {module: used for module, used in graph.items() if module not in free}
    assert not graph, f"in circles, or upon them: {sorted(graph)}"
