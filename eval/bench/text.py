"""Numbers as people read them: shares in percent, differences in points, each with its interval."""

from eval.statistics import Estimate

__all__ = ["p_value", "percent", "points", "signed"]


def percent(value: Estimate) -> str:
    """Return a share in percent with its interval, a dash where it is not defined."""
    if value.value != value.value:
        return "–"
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def points(value: Estimate) -> str:
    """Return a difference of shares in points with its interval, a dash where it is not defined."""
    if value.value != value.value:
        return "–"
    return f"{signed(value.value)} [{signed(value.low)}, {signed(value.high)}]"


def signed(share: float) -> str:
    """Return a difference of shares in points; nothing is +0.0, never -0.0."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def p_value(value: float | None) -> str:
    """Return a p-value, a dash where there is none."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
