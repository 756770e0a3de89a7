from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters.pool_scorers.hash_multiplicity import HashMultiplicity
from filters.strategy import Columns
from winnow.errors import UserError


def test_every_sample_is_told_how_many_share_its_bytes(pool: Columns) -> None:
    hashes = pool["meta.sha256"].tolist()
    counted = Counter(hashes)
    found = HashMultiplicity().score(pool).columns["count"]
    assert found.tolist() == [counted[value] for value in hashes]
    assert {6, 120} <= set(found)


def test_capitals_do_not_matter_and_anything_but_hashes_is_refused(uids: Callable[[int], Any]) -> None:
    def count(*hashes: str) -> Any:
        return HashMultiplicity().score(Columns(uids(len(hashes)), {"meta.sha256": pa.array(hashes)})).columns["count"]

    np.testing.assert_array_equal(count("AB" * 32, "ab" * 32, "ac" * 32), [2, 2, 1])
    for bad in ("", "xyz", "g" * 64):
        with pytest.raises(UserError, match="no column of hexadecimal hashes"):
            count("ab" * 32, bad)
