"""DFN: keep what a small CLIP agrees with that was trained on verified pairs to filter, not to be used.

Source: Fang et al. 2023, Data filtering networks (arXiv 2309.17425). Its network is private; the stage `filternet`
trains one of your own. It keeps about 15% of DataComp's pools.
"""

from typing import ClassVar

from filters.choosing.score_cut import ColumnCut

__all__ = ["DFN"]


class DFN(ColumnCut):
    """Keep the highest similarities under a filter network, the top 15% of the pool unless told otherwise."""

    default_fraction: ClassVar[float] = 0.15

    score: str = "dfn.similarity"
    """Column of the similarities: the scorer `dfn: {use: clip, ...}` with the filter network's weights makes it."""
