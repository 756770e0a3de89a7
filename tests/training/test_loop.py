"""The loop hosts any system: the examples of docs/training.md are trained here with the loop as it stands."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.crops import center_crop
from training.data import Pairs
from training.loop import fit
from training.recipe import Recipe
from training.system import Batch, Group, Phase, System
from winnow.component import Component
from winnow.errors import UserError


class Toy(System):
    """A linear autoencoder of 4 x 4 pictures: the smallest thing the loop can train."""

    image_size = 4

    class Config(Component):
        pass

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.net = nn.Linear(48, 48)

    def crop(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        return center_crop(picture, (4, 4))

    def tokenize(self, caption: str) -> Tensor:
        return torch.tensor([len(caption)])

    def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
        x = flat(batch)
        yield Phase("toy", "model", lambda: {"loss": F.mse_loss(self.net(x), x)})


def flat(batch: Batch) -> Tensor:
    return batch.images.float().flatten(1) / 127.5 - 1


class Gan(Toy):
    """Two optimizers: the discriminator moves in every step, the generator in every third."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.generator, self.discriminator = nn.Linear(8, 48), nn.Linear(48, 1)
        self.moves: list[str] = []

    def groups(self) -> dict[str, Group]:
        return {
            "D": Group(list(self.discriminator.parameters()), lr_scale=2.0, betas=(0.0, 0.9), weight_decay=0.0),
            "G": Group(list(self.generator.parameters()), betas=(0.0, 0.9), weight_decay=0.0),
        }

    def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
        real = flat(batch)
        yield Phase("D", "D", lambda: self.discriminate(real))
        yield Phase("G", "G", lambda: {"loss": -self.discriminator(self.draw(len(real))).mean()}, every=3)

    def draw(self, count: int) -> Tensor:
        fake: Tensor = self.generator(torch.randn(count, 8)).tanh()
        return fake

    def discriminate(self, real: Tensor) -> dict[str, Tensor]:
        fake = self.draw(len(real)).detach()
        hinge = F.relu(1 - self.discriminator(real)).mean() + F.relu(1 + self.discriminator(fake)).mean()
        return {"loss": hinge, "real": self.discriminator(real).mean()}

    def after_step(self, phase: str, progress: float) -> None:
        self.moves.append(phase)


class Teacher(Toy):
    """A momentum teacher: moved by the hook, without gradient, saved with the rest of the state."""

    momentum = 0.9

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.student, self.teacher = nn.Linear(48, 6), nn.Linear(48, 6).requires_grad_(False)
        self.teacher.load_state_dict(self.student.state_dict())
        self.register_buffer("centre", torch.zeros(6))
        del self.net

    def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
        yield Phase("dino", "model", lambda: self.distil(flat(batch)))

    def distil(self, x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            logits = self.teacher(x)
            target = ((logits - self.centre) / 0.04).softmax(-1)
            self.centre.lerp_(logits.mean(0), 0.1)
        student = (self.student(x + 0.1 * torch.randn_like(x)) / 0.1).log_softmax(-1)
        return {"loss": -(target * student).sum(-1).mean()}

    @torch.no_grad()
    def after_step(self, phase: str, progress: float) -> None:
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.momentum)


Run = Callable[..., System]


@pytest.fixture
def run(shards: list[str], tmp_path: Path) -> Run:
    """Return a function that trains a system class in a folder and returns it."""

    def train(kind: type[System], folder: str = "out", **fields: Any) -> System:
        base = {"samples_seen": 96, "batch_size": 8, "log_every": 8, "lr": 1e-2, "warmup": 16}
        out_dir = tmp_path / folder
        out_dir.mkdir(exist_ok=True)
        recipe = Recipe(
            **{"system": {"use": "clip"}, "data": shards, "out_dir": str(out_dir)} | base | fields  # type: ignore[arg-type]
        )
        torch.manual_seed(0)
        system = kind(None)
        fit(system, Pairs(shards), recipe, seed=0, out_dir=out_dir, device=torch.device("cpu"))
        return system

    return train


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def equal(a: System, b: System) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_loss_falls(run: Run, tmp_path: Path) -> None:
    run(Toy)
    lines = metrics(tmp_path / "out")
    assert len(lines) == 12
    assert lines[-1]["samples_seen"] == 96
    assert lines[-1]["toy/loss"] < 0.5 * lines[0]["toy/loss"]
    assert {"lr", "toy/grad_norm"} <= lines[0].keys()
    timings = [json.loads(line) for line in (tmp_path / "out" / "timings.jsonl").read_text().splitlines()]
    assert all(line["samples_per_second"] > 0 for line in timings)


def test_gan_phases(run: Run, tmp_path: Path) -> None:
    """The order and rhythm of updates, and that no phase moves the other's parameters."""
    system = run(Gan)
    assert isinstance(system, Gan)
    assert system.moves == (["D"] * 3 + ["G"]) * 4  # 12 steps: D each, G in the 3rd, 6th, 9th and 12th
    torch.manual_seed(0)
    fresh = Gan(None)
    still = run(Gan, "two", samples_seen=16, batch_size=8)  # two steps: G has not moved yet
    assert isinstance(still, Gan)
    assert torch.equal(still.generator.weight, fresh.generator.weight)
    assert not torch.equal(still.discriminator.weight, fresh.discriminator.weight)
    assert not torch.equal(system.generator.weight, fresh.generator.weight)
    assert [("G/loss" in line) for line in metrics(tmp_path / "out")] == [False, False, True] * 4


def test_teacher_is_the_closed_form(run: Run) -> None:
    """After one step from equal weights the teacher is m theta_0 + (1 - m) theta_1."""
    torch.manual_seed(0)
    start = Teacher(None)
    system = run(Teacher, samples_seen=8)
    assert isinstance(system, Teacher)
    expected = 0.9 * start.teacher.weight + 0.1 * system.student.weight
    assert torch.allclose(system.teacher.weight, expected, atol=1e-6)
    assert not torch.equal(system.student.weight, start.student.weight)
    assert system.centre.abs().max() > 0


class KilledError(Exception):
    """Stands for a SIGKILL: nothing of the process but its files survives."""


@pytest.mark.parametrize("kind", [Toy, Gan, Teacher])
@pytest.mark.parametrize("at", [1, 5, 9])
def test_killed_and_rerun_is_bitwise_undisturbed(
    run: Run, kind: type[System], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints at samples 32 and 64; steps 1, 5 and 9 lie before, between and after them."""
    options = {"checkpoint_every": 32, "log_every": 24, "ema": 0.9}
    whole = run(kind, "whole", **options)
    phases, calls = kind.phases, []

    def dies(self: System, batch: Batch, progress: float) -> Iterator[Phase]:
        calls.append(progress)
        if len(calls) > at:
            raise KilledError
        return phases(self, batch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "phases", dies)
        with pytest.raises(KilledError):
            run(kind, "killed", **options)
    again = run(kind, "killed", **options)
    assert equal(whole, again)
    for name in ("metrics.jsonl", "checkpoints/000000000000096.pt"):  # optimizer and moving average are in the latter
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_only_the_newest_checkpoints_are_kept(run: Run, tmp_path: Path) -> None:
    run(Toy, checkpoint_every=16, keep_checkpoints=3)
    names = sorted(path.name for path in (tmp_path / "out" / "checkpoints").iterdir())
    assert names == [f"{seen:015d}.pt" for seen in (64, 80, 96)]


def test_a_torn_checkpoint_costs_time_only(run: Run, tmp_path: Path) -> None:
    whole = run(Toy, checkpoint_every=32)
    newest = max((tmp_path / "out" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    assert equal(whole, run(Toy, checkpoint_every=32))


def test_a_flipped_bit_of_a_checkpoint_costs_time_only(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(Toy, checkpoint_every=32)
    newest = max((tmp_path / "out" / "checkpoints").iterdir())
    data = bytearray(newest.read_bytes())
    weights = whole.state_dict()["net.weight"].numpy().tobytes()
    data[bytes(data).index(weights) + len(weights) // 2] ^= 64
    newest.write_bytes(data)
    assert equal(whole, run(Toy, checkpoint_every=32))
    assert f"{newest.name}' is damaged" in caplog.text


def test_non_finite_loss_stops_before_the_weights_move(run: Run, tmp_path: Path) -> None:
    before: list[Tensor] = []

    class Diverging(Toy):
        def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
            before[:] = [self.net.weight.detach().clone()]
            built.append(self)
            scale = math.nan if progress > 0.5 else 1.0
            yield Phase("toy", "model", lambda: {"loss": scale * self.net(flat(batch)).mean()})

    built: list[Diverging] = []
    with pytest.raises(UserError, match=r"diverged after 56 samples: toy/loss = nan"):
        run(Diverging)
    assert torch.equal(built[-1].net.weight, before[0])


def test_gradient_clipping(run: Run) -> None:
    """With clipping to almost nothing and a large epsilon Adam hardly moves."""
    free, clipped = run(Toy, "free", samples_seen=8), run(Toy, "clipped", samples_seen=8, grad_clip=1e-12, eps=1e-3)
    torch.manual_seed(0)
    fresh = Toy(None)
    assert isinstance(free, Toy)
    assert isinstance(clipped, Toy)
    moved = [(system.net.bias - fresh.net.bias).abs().max().item() for system in (free, clipped)]
    assert moved[1] < 1e-6 < moved[0]


def test_accumulated_micro_batches_equal_the_batch(run: Run) -> None:
    whole, parts = run(Toy, "whole"), run(Toy, "parts", accumulate=4)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_vectors_are_not_decayed(run: Run) -> None:
    """A loss without gradient leaves decay alone: matrices shrink by (1 - lr wd) a step, biases stay."""

    class Still(Toy):
        def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
            yield Phase("toy", "model", lambda: {"loss": 0.0 * (self.net.weight.sum() + self.net.bias.sum())})

    torch.manual_seed(0)
    fresh = Still(None)
    system = run(Still, samples_seen=8, warmup=0, weight_decay=0.5)
    assert isinstance(system, Still)
    assert torch.equal(system.net.bias, fresh.net.bias)
    assert torch.allclose(system.net.weight, fresh.net.weight * (1 - 1e-2 * 0.5), atol=1e-7)


def test_batch_must_split_over_micro_batches(run: Run) -> None:
    with pytest.raises(ValueError, match="multiple of accumulate"):
        run(Toy, accumulate=3)
