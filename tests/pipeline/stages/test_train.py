import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipeline.engine.perform import perform
from pipeline.stages.train import Train
from tests.support.interrupt import interrupt
from training.main import load_system
from training.systems.rectified_flow import RectifiedFlow
from winnow.account import Account
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.shards import ShardWriter, read_shard
from winnow.storage import Store


def write_tar(path: Path, count: int, first: int = 0) -> None:
    import io

    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number in range(first, first + count):
            pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            writer.write(f"{number:032x}-0", {"png": buffer.getvalue(), "txt": f"number {number}".encode()})
        writer.close()


def reshard(run: Path, subset: str, index: int, first: int = 0) -> None:
    """Do what the reshard stage does for one shard: the tar and its journal row."""
    name = f"shards/{subset}/{index:08d}.tar"
    write_tar(run / name, 8, first)
    content = (run / name).read_bytes()
    import hashlib

    files = {name: (len(content), hashlib.sha256(content).hexdigest())}
    Journal(Store(run)).append(Row(product=f"reshard/{subset}/{index:08d}", key="k", files=files))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a busy machine spin more than they work."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    reshard(tmp_path / "run", "no_filter", 0)
    reshard(tmp_path / "run", "no_filter", 1, first=8)
    reshard(tmp_path / "run", "tmars", 0)
    return tmp_path / "run"


FLOW = {"use": "rectified_flow", "image_size": 16, "channels": 16, "multipliers": [1, 2], "attention": [1],
        "text_width": 16, "text_layers": 1}  # fmt: skip


def stage(run: Path, **recipe: Any) -> Train:
    fields = {"system": FLOW, "samples_seen": 24, "batch_size": 4, "lr": 1e-3, "log_every": 8, "device": "cpu"}
    return Train(pool="pool", run_dir=str(run), recipes={"flow": fields | recipe})  # type: ignore[dict-item]


def work(stage: Any) -> None:
    journal = Journal(stage.store)
    with stage.session() as live:
        for unit in live.plan():
            outcome = perform(live, unit)
            assert not outcome.error, outcome.detail or outcome.error
            for row in outcome.rows:
                journal.append(row)


def test_units_are_recipe_by_subset_by_seed(run: Path) -> None:
    products = [product for unit in stage(run).plan() for product in unit.products]
    assert products == ["train/flow/no_filter/0", "train/flow/tmars/0"]
    (unit,) = stage(run, subsets=["tmars"]).plan()
    assert dict(unit.spec) == {"recipe": "flow", "subset": "tmars", "seed": 0}
    many = stage(run).model_copy(update={"seeds": [0, 1]}).plan()
    assert len({key for unit in many for key in unit.products.values()}) == 4


def test_equal_shards_are_trained_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two strategies may keep the same samples, and two controls of one size do: one training, a product for each."""
    reshard(run, "random", 0)
    phases, calls = RectifiedFlow.phases, []
    monkeypatch.setattr(RectifiedFlow, "phases", lambda *args: calls.append(args) or phases(*args))
    both = stage(run, subsets=["tmars", "random"], samples_seen=8)
    (unit,) = both.plan()
    assert sorted(unit.products) == ["train/flow/random/0", "train/flow/tmars/0"]
    work(both)
    assert len(calls) == 2, "two steps, not four"
    rows = Journal(Store(run)).rows
    assert rows["train/flow/random/0"].fingerprint() == rows["train/flow/tmars/0"].fingerprint()
    for name in ("random", "tmars"):
        assert (run / "train" / "flow" / name / "0" / "model.pt").is_file()


def keys(stage: Train) -> dict[str, str]:
    return {product: key for unit in stage.plan() for product, key in unit.products.items()}


def test_keys_follow_what_matters(run: Path) -> None:
    before = keys(stage(run))
    assert keys(stage(run, lr=2e-3)) != before
    assert keys(stage(run, num_workers=1, cache=True, checkpoint_every=8)) == before
    assert keys(stage(run, subsets=["tmars"])) == {"train/flow/tmars/0": before["train/flow/tmars/0"]}
    reshard(run, "tmars", 0, first=100)
    after = keys(stage(run))
    assert after["train/flow/no_filter/0"] == before["train/flow/no_filter/0"]
    assert after["train/flow/tmars/0"] != before["train/flow/tmars/0"]


def test_key_follows_the_content_of_the_architecture(run: Path, tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "configs" / "models" / "winnow-tiny.json"
    copy = Path(shutil.copy(source, tmp_path / "net.json"))
    before = keys(stage(run, system={"use": "clip", "model": str(copy)}))
    copy.write_text(copy.read_text().replace('"layers": 4', '"layers": 3'))
    assert keys(stage(run, system={"use": "clip", "model": str(copy)})) != before


def test_mistakes_are_errors_before_training(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'tmars'"):
        stage(run, subsets=["tmar"]).plan()
    with pytest.raises(UserError, match="Did you mean 'channels'"):
        stage(run, system={"use": "rectified_flow", "chanels": 3}).plan()
    with pytest.raises(UserError, match="winnow reshard"):
        stage(tmp_path / "empty").plan()


def test_products_and_their_files(run: Path) -> None:
    work(stage(run))
    row = Journal(Store(run)).rows["train/flow/tmars/0"]
    folder = run / "train" / "flow" / "tmars" / "0"
    assert sorted(row.files) == [
        f"train/flow/tmars/0/{name}" for name in ("config.yaml", "metrics.jsonl", "model.pt", "samples.json")
    ]
    assert row.counts == {"samples": 24}
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    drawn = load_system(folder).sample(["number 1"], torch.Generator().manual_seed(0), num_steps=2)
    assert drawn.shape == (1, 3, 16, 16)
    assert not list((run / "_work").glob("*")), "working folders of journalled products are removed"


def test_killed_training_goes_on_and_gives_the_same_bytes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt dies in its fourth step; the next one starts from the checkpoint and ends with equal bytes."""
    one = stage(run, subsets=["tmars"], checkpoint_every=8)
    (unit,) = one.plan()
    undisturbed = perform(one, unit)
    shutil.rmtree(run / "_work")
    interrupt(one, RectifiedFlow, 4, monkeypatch)
    kept, phases = [], RectifiedFlow.phases
    monkeypatch.setattr(RectifiedFlow, "phases", lambda *args: kept.append(args) or phases(*args))
    again = perform(one, unit)
    assert len(kept) == 4  # six steps in all, two of them before the newest checkpoint
    assert again.rows[0].fingerprint() == undisturbed.rows[0].fingerprint()
    assert again.rows[0].files == undisturbed.rows[0].files


def counted(one: Train, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a stage's one unit and return the number of its steps."""
    phases, steps = RectifiedFlow.phases, []
    with monkeypatch.context() as patch:
        patch.setattr(RectifiedFlow, "phases", lambda *args: steps.append(args) or phases(*args))
        work(one)
    return len(steps)


def test_a_run_that_was_moved_half_way_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(stage(run, subsets=["tmars"], checkpoint_every=8), RectifiedFlow, 4, monkeypatch)
    moved = run.rename(run.with_name("moved"))
    assert counted(stage(moved, subsets=["tmars"], checkpoint_every=8), monkeypatch) == 4, (
        "two of six are in the checkpoint"
    )


def test_a_changed_rate_goes_on_from_the_checkpoint_when_asked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields: dict[str, Any] = {"subsets": ["tmars"], "checkpoint_every": 8}
    interrupt(stage(run, **fields), RectifiedFlow, 4, monkeypatch)
    assert keys(stage(run, **fields)) == keys(stage(run, **fields, continue_with_changes=[]))
    assert counted(stage(run, **fields, lr=1e-4, continue_with_changes=["lr"]), monkeypatch) == 4
    config = yaml.safe_load((run / "train/flow/tmars/0/config.yaml").read_text())
    assert config["lr"] == 1e-4
    assert counted(stage(run, **fields, lr=2e-4), monkeypatch) == 6, "not asked: a training of its own"


@pytest.mark.slow
def test_two_processes(run: Path) -> None:
    work(stage(run, subsets=["tmars"]).model_copy(update={"nproc": 2}))
    assert (run / "train" / "flow" / "tmars" / "0" / "model.pt").is_file()


@pytest.mark.slow
def test_ray_train_is_the_same_training(run: Path, tmp_path: Path) -> None:
    import ray

    from pipeline.ray_train import ray_train
    from training.main import train
    from training.recipe import Recipe

    fields = {"system": FLOW, "samples_seen": 16, "batch_size": 4, "log_every": 4, "device": "cpu"}
    data = [str(run / "shards" / "tmars" / "00000000.tar")]
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        out = ray_train(Recipe(**fields, data=data, out_dir=str(tmp_path / "ray")), num_workers=1)  # type: ignore[arg-type]
    finally:
        ray.shutdown()
    torch.set_num_threads(1)
    plain = train(Recipe(**fields, data=data, out_dir=str(tmp_path / "plain")))  # type: ignore[arg-type]
    found, expected = ([json.loads(line)["flow/loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
                       for folder in (out, plain))  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-3)


def test_what_is_left_out_is_in_the_journal(run: Path) -> None:
    """Two bad pictures of eight, and a sample without a caption."""
    path = run / "shards" / "tmars" / "00000000.tar"
    with path.open("rb") as file:
        samples = list(read_shard(file))
    for sample in samples[:2]:
        sample.members["png"] = b"gone"
    del samples[5].members["txt"]
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for sample in samples:
            writer.write(sample.key, sample.members)
        writer.close()
    work(stage(run, subsets=["tmars"], samples_seen=8))
    account = Account.of(Journal(Store(run)).rows["train/flow/tmars/0"].account)
    assert (account.read, account.kept) == (8, 5)
    assert {reason: entry.count for reason, entry in account.left_out.items()} == {"not a picture": 2, "no caption": 1}


def test_an_empty_subset_is_named_and_the_others_are_trained(run: Path) -> None:
    write_tar(run / "shards/nothing/00000000.tar", 0)
    files = {"shards/nothing/00000000.tar": (0, "")}
    Journal(Store(run)).append(Row(product="reshard/nothing/00000000", key="k", files=files, counts={"samples": 0}))
    for subsets in ("all", ["nothing", "tmars"]):
        one = stage(run, subsets=subsets)
        products = [product for unit in one.plan() for product in unit.products]
        assert products == [
            f"train/flow/{name}/0" for name in ("no_filter", "tmars") if name in subsets or subsets == "all"
        ]
        assert one.remarks() == ["subset `nothing` holds no sample: nothing is trained on it"]
    for name in ("no_filter", "tmars"):
        for row in Journal(Store(run)).under(f"reshard/{name}/"):
            Journal(Store(run)).append(replace(row, counts={"samples": 0}))
    with pytest.raises(UserError, match=r"no subset holds a sample \(no_filter, nothing, tmars\)"):
        stage(run).plan()
