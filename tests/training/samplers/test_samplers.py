import pytest
import torch
from torch import Tensor

from winnow.registry import names, resolve

NOISE = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ALL = names("training.samplers")


@pytest.mark.parametrize("name", ALL)
def test_straight_paths_need_one_step(name: str) -> None:
    """Coupling x = z + c: the velocity z - x = -c is constant, so one step equals any number."""
    c = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    sampler = resolve("training.samplers", name)
    one, many = (sampler(lambda x, t: -c.expand_as(x), NOISE, steps) for steps in (1, 50))
    assert torch.allclose(one, NOISE + c, atol=1e-12)
    assert torch.allclose(one, many, atol=1e-12)


def gaussian_velocity(mean: float, std: float):  # type: ignore[no-untyped-def]
    """Return E[z - x | x_t] for x ~ N(mean, std^2) independent of z ~ N(0, 1), by linear regression on x_t."""

    def velocity(x_t: Tensor, t: Tensor) -> Tensor:
        t = t.view(-1, 1)
        variance = ((1 - t) * std) ** 2 + t**2
        covariance = t - (1 - t) * std**2  # of z - x with x_t
        return -mean + covariance / variance * (x_t - (1 - t) * mean)

    return velocity


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_order_of_convergence(name: str, order: int) -> None:
    """For a Gaussian the exact flow maps z to mean + std z; halving the step divides the error by 2^order."""
    mean, std = 0.7, 0.3
    exact = mean + std * NOISE
    sampler = resolve("training.samplers", name)
    errors = [(sampler(gaussian_velocity(mean, std), NOISE, steps) - exact).abs().mean().item() for steps in (40, 80)]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.15)


def test_euler_visits_the_right_times() -> None:
    seen: list[float] = []

    def record(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t[0].item())
        return torch.zeros_like(x)

    resolve("training.samplers", "euler")(record, NOISE, 4)
    assert seen == [1.0, 0.75, 0.5, 0.25]


def test_every_sampler_is_covered() -> None:
    assert ALL == ["euler", "heun"]
