"""Each normalisation against SciPy or its formula."""

import numpy as np
import pytest
from scipy.stats import rankdata, zscore

from filters.choosing.normalise import Normalisation, normaliser


@pytest.fixture
def scores() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 20, 300).astype(np.float32) / 7
    values[rng.random(300) < 0.2] = np.nan
    return values


def test_against_scipy(scores: np.ndarray) -> None:
    known = scores[~np.isnan(scores)].astype(np.float64)
    span = (known - known.min()) / (known.max() - known.min())
    expected = {"none": known, "minmax": span, "zscore": zscore(known), "rank": (rankdata(known) - 0.5) / len(known)}
    for how, wanted in expected.items():
        mine = normaliser(scores, how)(scores)  # type: ignore[arg-type]
        assert mine.dtype == np.float64
        np.testing.assert_allclose(mine[~np.isnan(scores)], wanted, rtol=1e-12, atol=1e-12, err_msg=how)
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(scores))


@pytest.mark.parametrize("how", ["none", "minmax", "zscore", "rank"])
def test_bits_do_not_depend_on_order_or_on_what_is_asked_together(how: Normalisation, scores: np.ndarray) -> None:
    mine = normaliser(scores, how)(scores)
    rows = np.random.default_rng(1).permutation(len(scores))
    again = normaliser(scores[rows], how)
    np.testing.assert_array_equal(again(scores[rows]), mine[rows])
    np.testing.assert_array_equal(np.concatenate([again(scores[:7]), again(scores[7:])]), mine)


def test_equal_scores_and_none_at_all() -> None:
    same, none = np.full(4, 0.1, np.float32), np.full(3, np.nan)
    for how in ("minmax", "zscore"):
        assert normaliser(same, how)(same).tolist() == [0.0] * 4  # type: ignore[arg-type]
    assert normaliser(same, "rank")(same).tolist() == [0.5] * 4
    for how in ("none", "minmax", "zscore", "rank"):
        assert np.isnan(normaliser(none, how)(none)).all()  # type: ignore[arg-type]
