from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns


def test_keeps_every_sample_once(awkward: Columns) -> None:
    verdict = NoFilter().select(awkward)
    assert verdict.count.tolist() == [1] * awkward.num_samples
    assert set(verdict.reason) == {""}
    assert NoFilter().needs() == ()
