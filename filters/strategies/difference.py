"""Keep what one strategy keeps and another does not."""

from typing import Self

from filters.choosing.compose import Part, both, describe, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["Difference"]


class Difference(Strategy):
    """Take `minus` away from `of`; both judge the whole pool. A sample stays as often as `of` keeps it."""

    of: Part
    """What to keep: a nested strategy or the name of a configured one."""
    minus: Part
    """What to take away from it."""

    @classmethod
    def tiny(cls) -> Self:
        """Everything less everything."""
        return cls(of=NoFilter(), minus=NoFilter())

    def needs(self) -> tuple[str, ...]:
        """Read what both read."""
        return needs_of((self.of, self.minus))

    def fit(self, pool: Pool) -> Judge:
        """Fit both; the judge combines their verdicts."""
        of, minus = self.of.fit(pool), self.minus.fit(pool)
        words = f"kept by {describe(self.minus)['use']}"

        def judge(columns: Columns) -> Verdict:
            first = of(columns)
            return both(first, Verdict.of_rules(columns.num_samples, {words: ~minus(columns).keep}), first.count)

        return judge
