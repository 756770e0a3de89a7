"""A subset file is a strategy: DataComp's npy, the bare array, with repeats, and what it lists that the pool lacks."""

from pathlib import Path

import numpy as np
import pytest

from filters.choosing.compose import PACKAGE
from filters.strategies.random_subset import RandomSubset
from filters.strategies.subset_file import SubsetFile
from filters.strategy import Columns
from filters.subset import subset_of, write_subset
from winnow.component import build, digest
from winnow.errors import UserError


@pytest.mark.parametrize("bare", [False, True])
def test_keeps_each_sample_as_often_as_it_is_listed(awkward: Columns, tmp_path: Path, bare: bool) -> None:
    times = np.random.default_rng(0).integers(0, 4, awkward.num_samples)
    subset = subset_of(awkward.uids, times)
    path = tmp_path / "published.npy"
    path.write_bytes(subset.tobytes() if bare else write_subset(subset))
    verdict = SubsetFile(path=str(path)).select(awkward)
    assert verdict.count.tolist() == times.tolist()
    assert set(verdict.reason[times == 0]) == {"not in the subset file"}


def test_datacomps_file_as_its_own_code_writes_it(awkward: Columns, tmp_path: Path) -> None:
    """`np.array([(int(uid[:16], 16), int(uid[16:32], 16)) ...], np.dtype("u8,u8"))`, sorted, then `np.save`."""
    kept = RandomSubset(fraction=0.25).select(awkward).keep
    pairs = [(int(uid["f0"]), int(uid["f1"])) for uid in awkward.uids[kept]]
    theirs = np.array(pairs, np.dtype("u8,u8"))
    theirs.sort()
    np.save(tmp_path / "theirs.npy", theirs)
    assert SubsetFile(path=str(tmp_path / "theirs.npy")).select(awkward).keep.tolist() == kept.tolist()


def test_what_the_pool_does_not_have_is_counted(
    awkward: Columns, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.npy"
    path.write_bytes(write_subset(subset_of(awkward.uids)))
    half = awkward.take(slice(0, awkward.num_samples // 2))
    assert SubsetFile(path=str(path)).select(half).keep.all()
    assert (
        f"{awkward.num_samples - half.num_samples} of its {awkward.num_samples} uids are not in the pool" in caplog.text
    )


def test_a_changed_file_is_a_changed_strategy(awkward: Columns, tmp_path: Path) -> None:
    digests = []
    for name, part in (("a", slice(0, 5)), ("b", slice(0, 6)), ("c", slice(0, 5))):
        (tmp_path / name).write_bytes(write_subset(subset_of(awkward.uids[part])))
        digests.append(digest(SubsetFile(path=str(tmp_path / name))))
    assert digests[0] == digests[2] != digests[1]


def test_what_is_no_subset_is_refused(awkward: Columns, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        build(PACKAGE, {"use": "subset_file", "path": str(tmp_path / "missing.npy")}, "published")
    np.save(tmp_path / "floats.npy", np.zeros(4))
    with pytest.raises(UserError, match="is no subset"):
        SubsetFile(path=str(tmp_path / "floats.npy")).select(awkward)
