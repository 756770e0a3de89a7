"""Known fixed and per-sample costs are found again in the units that they made."""

import numpy as np
import pytest

from pipeline.planning.cost import Cost, Observation, fit

TRUE = Cost(per_worker=8.0, per_worker_sample=1e-5, per_unit=0.5, per_sample=0.02)


def observe(cost: Cost, sizes: list[int], *, workers: int = 1, pool: int = 0, noise: float = 0.0) -> list[Observation]:
    rng = np.random.default_rng(0)
    return [
        Observation(
            n, ((i < workers) * cost.worker(pool) + cost.units(1, n)) * rng.lognormal(0, noise), i < workers, pool
        )
        for i, n in enumerate(sizes)
    ]


def test_all_terms_are_recovered_from_units_of_several_sizes_in_two_runs() -> None:
    units = observe(TRUE, [100] * 20 + [20], workers=2, pool=100_000) + observe(
        TRUE, [100] * 10 + [50], workers=2, pool=2_000_000
    )
    found = fit(units)
    assert found.per_sample == pytest.approx(TRUE.per_sample, rel=0.03)
    assert found.per_unit == pytest.approx(TRUE.per_unit, rel=0.1)
    assert found.per_worker == pytest.approx(TRUE.per_worker, rel=0.1)
    assert found.per_worker_sample == pytest.approx(TRUE.per_worker_sample, rel=0.1)


def test_units_of_one_size_are_predicted_exactly_whatever_the_split() -> None:
    found = fit(observe(Cost(per_unit=0.5, per_sample=0.02), [100] * 12))
    assert found.units(1, 100) == pytest.approx(2.5, rel=0.01)


def test_a_single_unit_takes_its_proportions_from_the_reference_and_its_level_from_the_measurement() -> None:
    found = fit([Observation(1000, 30.0)], Cost(per_unit=5.0, per_sample=0.01))  # 15 seconds elsewhere
    assert found.units(1, 0) == pytest.approx(10.0)
    assert found.per_sample == pytest.approx(0.02)


def test_measured_units_overrule_a_wrong_reference() -> None:
    wrong = Cost(per_worker=1.0, per_unit=100.0, per_sample=1e-4)
    found = fit(observe(Cost(per_unit=0.5, per_sample=0.02), [100, 400, 25, 300, 200, 50] * 4), wrong)
    assert found.per_sample == pytest.approx(0.02, rel=0.03)
    assert found.per_unit == pytest.approx(0.5, rel=0.1)


def test_noise_of_a_tenth_leaves_the_cost_of_a_unit_within_a_few_percent() -> None:
    found = fit(observe(TRUE, [100, 60, 100, 30] * 10, noise=0.1))
    assert found.units(1, 100) == pytest.approx(TRUE.units(1, 100), rel=0.06)


def test_no_term_is_negative_and_units_that_cost_nothing_are_free() -> None:
    shrinking = [Observation(100, 1.0), Observation(1000, 0.5)]
    assert all(value >= 0 for value in vars(fit(shrinking)).values())
    assert fit([Observation(5, 0.0)]) == Cost()
