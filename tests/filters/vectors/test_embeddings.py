from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from filters.strategy import Columns
from filters.vectors import embeddings
from filters.vectors.embeddings import gather, in_blocks, unit
from winnow.uid import from_hex


@pytest.fixture
def pool() -> Columns:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 4)).astype(np.float16)
    return Columns(from_hex(f"{n * 7 % 50:032x}" for n in range(50)), {"a.x": vectors, "a.y": -vectors})


@pytest.mark.parametrize("largest", [0, 2**30])
def test_rows_lie_in_the_order_of_uids_in_memory_or_in_a_file(
    pool: Columns, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(embeddings, "LARGEST_IN_MEMORY", largest)
    found = gather(pool, "a.x", "a.y")
    assert isinstance(found.vectors["a.x"], np.memmap) == (largest == 0)
    assert found.uids["f1"].tolist() == list(range(50))
    order = np.argsort(pool.uids)
    np.testing.assert_array_equal(found.vectors["a.x"], pool["a.x"][order])
    np.testing.assert_array_equal(found.vectors["a.y"], pool["a.y"][order])
    assert found.vectors["a.x"].dtype == np.float16
    np.testing.assert_array_equal(found.in_pool_order(found.vectors["a.x"][:, 0]), pool["a.x"][:, 0])


def test_unit_rows_have_length_one_and_zero_rows_stay() -> None:
    rows = unit(np.array([[3, 4], [0, 0], [-1e-3, 0]], np.float16))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [-1, 0]], atol=1e-7)
    assert rows.dtype == np.float32


@pytest.mark.parametrize("num", [0, 1, 4096, 4097, 10_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_cover_every_row_once_and_are_the_same_on_any_threads(num: int, threads: int) -> None:
    seen: list[tuple[int, int]] = []
    in_blocks(num, lambda rows: seen.append((rows.start, rows.stop)), threads)
    assert sorted(seen) == [(start, min(start + 4096, num)) for start in range(0, num, 4096)]


def test_an_error_in_a_block_is_not_lost() -> None:
    work: Callable[[slice], Any] = lambda rows: 1 / (rows.start - 4096)  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        in_blocks(9000, work, 2)
