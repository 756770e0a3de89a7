import random
from pathlib import Path

import pytest
import torch

from winnow.tensors import DamagedError, load_tensors

STATE = {"weights": torch.arange(300.0).reshape(30, 10), "nested": {"steps": torch.arange(7), "name": "x", "rate": 0.1}}


def same(found: object) -> bool:
    try:
        return (
            torch.equal(found["weights"], STATE["weights"])  # type: ignore[index]
            and torch.equal(found["nested"]["steps"], STATE["nested"]["steps"])  # type: ignore[index]
            and found["nested"]["name"] == "x"  # type: ignore[index]
            and found["nested"]["rate"] == 0.1  # type: ignore[index]
        )
    except KeyError:
        return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "state.pt")
    return tmp_path / "state.pt"


def test_a_whole_file_is_read(path: Path) -> None:
    assert same(load_tensors(path))


def test_any_flipped_bit_is_found_or_does_not_matter(path: Path) -> None:
    """600 places of the file, then every byte of the weights: torch alone reads nearly all of them without a word."""
    data, draw = path.read_bytes(), random.Random(0)
    first = data.index(STATE["weights"].numpy().tobytes())
    span = STATE["weights"].numel() * 4
    places = [draw.randrange(len(data)) for _ in range(600)] + list(range(first, first + span, 5))
    refused = set()
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            assert same(load_tensors(path)), place
        except DamagedError:
            refused.add(place)
    assert set(range(first, first + span, 5)) <= refused
    assert len(refused) > 0.5 * len(places)


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -100])
def test_a_file_cut_short_is_refused(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedError, match=r"state\.pt"):
        load_tensors(path)


def test_files_without_checksums_are_read(path: Path) -> None:
    """Torch's format of before 2020."""
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert same(load_tensors(path))
