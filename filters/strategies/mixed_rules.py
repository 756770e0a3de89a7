"""DataComp's basic filter, little text in the picture, and the better half by CLIP score: plain rules side by side.

Source: ours. DataComp's leaderboard has a row "Mixed rules" without paper or code; this is what its name may say.
"""

from typing import Self

from pydantic import Field

from filters.choosing.compose import Part
from filters.strategies.all_of import AllOf
from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.text_area import TextArea

__all__ = ["MixedRules"]


def _rules() -> list[Part]:
    return [Basic(), TextArea(), ClipScore(fraction=0.5)]


class MixedRules(AllOf):
    """Keep what all rules keep; each looks at the whole pool."""

    of: list[Part] = Field(default_factory=_rules, min_length=1)
    """The rules, each a nested strategy or the name of a configured one."""

    @classmethod
    def tiny(cls) -> Self:
        """The rules as they are."""
        return cls()
