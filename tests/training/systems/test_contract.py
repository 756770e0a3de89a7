"""What every registered system keeps: builds, trains, repeats itself, saves and loads; and its first ten losses."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from training.data import Pairs
from training.loop import fit
from training.order import Order
from training.recipe import Recipe
from training.stream import batches
from training.system import Batch, System, build_system
from winnow.registry import names, resolve

SYSTEMS = names("training.systems")
GOLDEN = Path(__file__).with_name("golden_losses.json")
"""Made by this test on a CPU in float32 with one thread: seed 0, ten steps of 8 samples, lr 1e-3."""


def kind_of(name: str) -> type[System]:
    kind: type[System] = resolve("training.systems", name)
    return kind


def first_batch(system: System, shards: list[str]) -> Batch:
    pairs = Pairs(shards)
    with batches(pairs, Order(pairs.identities(), 0), system, start=0, stop=4, batch_size=4) as stream:
        return next(stream)


@pytest.mark.parametrize("name", SYSTEMS)
def test_config_round_trips(name: str) -> None:
    config = kind_of(name).Config.tiny()
    assert pickle.loads(pickle.dumps(config)) == config
    assert kind_of(name).Config.model_validate_json(config.model_dump_json()) == config
    assert all(field.annotation for field in kind_of(name).Config.model_fields.values())


@pytest.mark.parametrize("name", SYSTEMS)
def test_builds_and_is_deterministic(name: str, shards: list[str]) -> None:
    values = []
    for _ in range(2):
        torch.manual_seed(0)
        system = build_system({"use": name, **kind_of(name).Config.tiny().model_dump()})
        batch = first_batch(system, shards)
        assert batch.images.shape == (4, 3, system.image_size, system.image_size)
        assert batch.images.dtype == torch.uint8
        groups = system.groups()
        phases = list(system.phases(batch, 0.0))
        assert all(phase.group in groups for phase in phases)
        terms = phases[0].terms()
        assert all(value.ndim == 0 for value in terms.values())
        assert terms["loss"].requires_grad
        values.append({term: value.item() for term, value in terms.items()})
    assert values[0] == values[1]


@pytest.mark.parametrize("name", SYSTEMS)
def test_saves_and_loads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    system = kind_of(name).tiny()
    system.save(tmp_path)
    again = kind_of(name).load(tmp_path, system.config.model_dump())
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in system.state_dict().items())


@pytest.mark.parametrize("name", SYSTEMS)
def test_ten_steps_give_the_committed_losses(name: str, shards: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    system = kind_of(name).tiny()
    recipe = Recipe(
        system={"use": name}, data=shards, out_dir=str(tmp_path), samples_seen=80, batch_size=8, lr=1e-3, log_every=8
    )
    fit(system, Pairs(shards), recipe, seed=0, out_dir=tmp_path, device=torch.device("cpu"))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (term,) = [key for key in lines[0] if key.endswith("/loss")]
    losses = [line[term] for line in lines]
    assert losses == pytest.approx(json.loads(GOLDEN.read_text())[name], rel=2e-2, abs=1e-3)
