import math

import torch
from torch import Tensor

from training.guidance import classifier_free
from training.samplers.euler import euler


def conditional(x: Tensor, t: Tensor) -> Tensor:
    return torch.sin(3 * x) + t.view(-1, 1, 1, 1)


def unconditional(x: Tensor, t: Tensor) -> Tensor:
    return torch.cos(2 * x) - t.view(-1, 1, 1, 1)


X, T = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.8])


def test_ends_are_bit_exact() -> None:
    assert torch.equal(classifier_free(conditional, unconditional, 0)(X, T), conditional(X, T))
    assert torch.equal(classifier_free(conditional, unconditional, -1)(X, T), unconditional(X, T))


def test_affine_in_the_weight_on_all_channels() -> None:
    at = {w: classifier_free(conditional, unconditional, w)(X, T) for w in (0.0, 1.0, 2.5)}
    assert torch.allclose(at[2.5] - at[0], 2.5 * (at[1] - at[0]), atol=1e-6)
    assert ((at[1] - at[0]).abs().amax(dim=(0, 2, 3)) > 0.1).all()  # every one of the four channels is guided


def test_purity_rises_and_spread_falls_with_the_weight() -> None:
    """Two classes N(+-1, 0.5^2) with exact velocities: guidance moves samples into their class and together."""
    std = 0.5

    def gaussian(mean: float) -> tuple[Tensor, Tensor]:
        noise = torch.randn(4000, generator=torch.Generator().manual_seed(1))
        return torch.tensor(mean), noise

    def density(x: Tensor, t: Tensor, mean: float) -> Tensor:
        variance = ((1 - t) * std) ** 2 + t**2
        return torch.exp(-((x - (1 - t) * mean) ** 2) / (2 * variance)) / variance.sqrt()

    def velocity(x: Tensor, t: Tensor, mean: float) -> Tensor:
        variance = ((1 - t) * std) ** 2 + t**2
        return -mean + (t - (1 - t) * std**2) / variance * (x - (1 - t) * mean)

    def mixture(x: Tensor, t: Tensor) -> Tensor:
        weights = torch.stack([density(x, t, mean) for mean in (1.0, -1.0)])
        fields = torch.stack([velocity(x, t, mean) for mean in (1.0, -1.0)])
        return (weights * fields).sum(0) / weights.sum(0)

    _, noise = gaussian(1.0)
    purity, spread = [], []
    for weight in (0.0, 1.0, 3.0):
        drawn = euler(classifier_free(lambda x, t: velocity(x, t, 1.0), mixture, weight), noise, 200)
        purity.append((drawn > 0).float().mean().item())
        spread.append(drawn.std().item())
    assert purity[0] < purity[1] <= purity[2]
    assert spread[0] > spread[1] > spread[2]
    assert math.isclose(spread[0], std, rel_tol=0.05)
