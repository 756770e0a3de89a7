"""NormSim: keep the pictures that are like those of a target set, by the p-norm of their similarities with it.

Source: Wang et al. 2024, CLIPLoss and norm-based data selection (arXiv 2405.19547); the score, of any p, is the
business of the pool scorer `norm_sim`. With p = infinity it is DataComp's paper-only "ImageNet distance".
"""

from typing import ClassVar

from filters.choosing.score_cut import ColumnCut

__all__ = ["NormSim"]


class NormSim(ColumnCut):
    """Keep the highest norms, the top 20% of the pool unless told otherwise."""

    default_fraction: ClassVar[float] = 0.2

    score: str = "norm_sim.score"
    """Column of the norm of the similarities with the target set; higher is better."""
