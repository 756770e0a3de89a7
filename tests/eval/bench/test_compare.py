import pytest
from planted import CONTROLS, RATES, outcomes
from scipy.stats import binom, ttest_ind

from eval.bench.compare import compare_pair, make_table
from eval.seeds import t_interval


def test_planted_effects_are_found_and_their_absence_is_not() -> None:
    table = make_table(outcomes(RATES), CONTROLS, draws=4000)
    assert [(c.strategy, c.rival) for c in table.comparisons] == [
        *((name, f"random-{name}") for name in ("idle", "strong", "weak")),
        *((name, "no_filter") for name in ("idle", "strong", "weak")),
    ]
    verdicts = {(c.strategy, c.role): c.verdict for c in table.comparisons}
    for role in ("control", "no_filter"):
        assert verdicts["strong", role] == "better"
        assert verdicts["weak", role] == "worse"
        assert verdicts["idle", role] == "none"
    for c in table.comparisons:
        assert c.corrected.excludes_zero == (c.verdict != "none")
        assert c.corrected.low <= c.difference.low <= c.difference.value <= c.difference.high <= c.corrected.high
    assert table.scores[0].subset == "strong"


def test_numbers_equal_their_definitions() -> None:
    found = outcomes(RATES)
    table = make_table(found, CONTROLS, draws=1000)
    (c,) = [c for c in table.comparisons if (c.strategy, c.role) == ("strong", "control")]
    here, there = found.of("strong"), found.of("random-strong")
    assert c.num_seeds == (3, 3)
    assert c.difference.value == pytest.approx(here.mean() - there.mean())
    assert c.p_welch == pytest.approx(ttest_ind(here.mean(axis=1), there.mean(axis=1), equal_var=False).pvalue)
    for number, test in enumerate(c.by_seed):
        only_here = int(((here[number] == 1) & (there[number] == 0)).sum())
        only_there = int(((here[number] == 0) & (there[number] == 1)).sum())
        tail = binom.cdf(min(only_here, only_there), only_here + only_there, 0.5)
        assert test.mcnemar == pytest.approx(min(1.0, 2 * tail))
        assert test.difference.value == pytest.approx((only_here - only_there) / 400)
        assert test.difference.low < test.difference.value < test.difference.high
    (score,) = [score for score in table.scores if score.subset == "strong"]
    assert score.mean == t_interval(here.mean(axis=1))
    assert list(score.by_seed.values()) == pytest.approx(here.mean(axis=1).tolist())


def test_correction_costs_something() -> None:
    """The same effect alone and among nine that are none: adjusted p-values are larger."""
    alone = make_table(outcomes({"no_filter": 0.45, "a": 0.5}), {}, draws=4000).comparisons[0]
    many = {"no_filter": 0.45, "a": 0.5} | {f"b{number}": 0.45 for number in range(9)}
    among = next(c for c in make_table(outcomes(many), {}, draws=4000).comparisons if c.strategy == "a")
    assert alone.p_holm == alone.p_value
    assert among.p_holm > among.p_value


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Forty tables of five strategies without any effect: a declared difference in about one table of twenty."""
    rates = {"no_filter": 0.45} | {f"s{number}": 0.45 for number in range(5)}
    alarms = 0
    for seed in range(40):
        table = make_table(outcomes(rates, examples=200, seed=seed), {}, draws=1000)
        alarms += any(c.verdict != "none" for c in table.comparisons)
    assert alarms <= 5


def test_one_seed_is_the_test_set_alone() -> None:
    found = outcomes({"no_filter": 0.45, "strong": 0.7}, seeds=1)
    table = make_table(found, {}, draws=2000)
    (c,) = table.comparisons
    assert c.p_welch is None
    width = c.difference.high - c.difference.low
    paired = c.by_seed[0].difference
    assert width == pytest.approx(paired.high - paired.low, rel=0.15)
    score = table.scores[0]
    assert score.mean.low < score.mean.value < score.mean.high


def test_a_pair_is_a_family_of_its_own() -> None:
    found = outcomes(RATES)
    pair = compare_pair(found, "strong", "weak", draws=2000)
    assert pair is not None
    assert pair.role == "strategy"
    assert pair.p_holm == pair.p_value
    assert pair.verdict == "better"
    assert compare_pair(found, "strong", "absent", draws=2000) is None
