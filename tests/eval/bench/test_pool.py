from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eval.bench.pool import read_kept, read_pairs
from tests.support.verdicts import write_verdicts
from winnow.storage import Store


def test_kept_pairs_and_their_truth(tmp_path: Path) -> None:
    """A uid that occurs twice is one pair; one that the truth does not know is of the category unknown."""
    uids = [letter * 32 for letter in "dabca"]
    (tmp_path / "metadata").mkdir()
    pq.write_table(pa.table({"uid": uids, "text": uids}), tmp_path / "metadata/0.parquet")
    (tmp_path / "subsets").mkdir()
    for name, count in (("all", [1, 1, 1, 1, 0]), ("few", [0, 3, 0, 1, 0])):
        write_verdicts(tmp_path / f"subsets/{name}.parquet", {"0": uids}, count, [""] * 5)
    names, kept = read_kept(Store(tmp_path), Store(tmp_path), ["all", "few"])
    assert names == [letter * 32 for letter in "abcd"]
    assert kept["all"].tolist() == [True, True, True, True]
    assert kept["few"].tolist() == [True, False, True, False]
    assert read_pairs(Store(tmp_path), names, ("visual",)) is None

    truth = {
        "uid": [letter * 32 for letter in "xcba"],
        "category": ["text", "visual", "text", "visual"],
        "blur": pa.array([True, True, None, False]),
        "never": [True, False, False, False],
        "note": ["", "", "", ""],
    }
    pq.write_table(pa.table(truth), tmp_path / "truth.parquet")
    pairs = read_pairs(Store(tmp_path), names, ("visual",))
    assert pairs is not None
    found = {group.name: (group.kind, group.size, group.is_good) for group in pairs.groups}
    assert found == {
        "visual": ("category", 2, True),
        "text": ("category", 1, False),
        "unknown": ("category", 1, False),
        "blur": ("flag", 1, False),
    }
