import pytest
import torch
from torch import nn

from training.ema import Ema


def test_closed_form_and_warm_up() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    ema = Ema(net, 0.99)
    nn.init.ones_(net.weight)
    expected = 0.0
    for step in range(50):
        ema.update(step)
        decay = min(0.99, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
    assert ema.average["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_applied_and_restored() -> None:
    net = nn.BatchNorm1d(2)
    ema = Ema(net, 0.5)
    with torch.no_grad():
        net.weight.fill_(7)
        net.num_batches_tracked.fill_(9)
    ema.update(1000)
    with ema.applied():
        assert net.weight.tolist() == [4.0, 4.0]
        assert net.num_batches_tracked.item() == 9  # counters are copied, not averaged
    assert net.weight.tolist() == [7.0, 7.0]
