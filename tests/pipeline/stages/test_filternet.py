import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_pool import write_pool

from pipeline.config import RunConfig
from pipeline.engine.perform import perform
from pipeline.runner import run_stage
from pipeline.stages.filternet import FilterNet
from tests.support.interrupt import interrupt
from training.systems.clip import Clip
from winnow.component import build
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.openclip import create_clip
from winnow.shards import ShardWriter
from winnow.storage import Store


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a busy machine spin more than they work."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an architecture whose training step takes milliseconds."""
    path = tmp_path_factory.mktemp("models") / "filternet-test.json"
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    return str(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a pool of 10 downloaded pairs and 8 trusted ones."""
    write_pool(tmp_path / "pool")
    write_trusted(tmp_path / "pool" / "trusted" / "00000.tar")
    return tmp_path


def write_trusted(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            writer.write(f"{number:032x}-0", {"png": buffer.getvalue(), "txt": f"number {number}".encode()})
        writer.close()


def stage(root: Path, model: str, **networks: dict[str, Any]) -> FilterNet:
    """Return a stage whose networks differ from the default recipe as given."""
    base = {"system": {"use": "clip", "model": model}, "samples_seen": 24, "batch_size": 4, "device": "cpu"}
    fields = {name: base | fields for name, fields in networks.items()}
    section = {"pool": str(root / "pool"), "run_dir": str(root / "run"), "networks": fields}
    return build("pipeline.stages", section, "filternet")  # type: ignore[no-any-return]


def keys(stage: FilterNet) -> dict[str, str]:
    return {product: key for unit in stage.plan() for product, key in unit.products.items()}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


FAMILY: dict[str, dict[str, Any]] = {
    "tuned": {"init": "trusted", "snapshots": 3, "lr": 1e-3, "samples_seen": 40},
    "trusted": {},
    "raw": {"data": "pool", "ema": 0.9, "snapshots": 2},
}


def test_several_networks_and_their_files(root: Path, model: str, run_stage: Any) -> None:
    family = stage(root, model, **FAMILY)
    assert run_stage(family) == ["trusted", "tuned", "raw"]
    assert run_stage(family) == []
    folder, rows = root / "run" / "filternet", Journal(Store(root / "run")).rows
    plain = ["config.yaml", "filternet-test.json", "metrics.jsonl", "model.pt"]
    plain += ["open_clip_config.json", "open_clip_pytorch_model.bin", "samples.json"]
    assert sorted(rows["filternet/trusted"].files) == [f"filternet/trusted/{name}" for name in plain]
    snapshots = [f"snapshots/{number:05d}.pt" for number in (1, 2, 3)]
    assert sorted(rows["filternet/tuned"].files) == [f"filternet/tuned/{name}" for name in (*plain, *snapshots)]
    for name in ("trusted/model.pt", "tuned/snapshots/00001.pt", "raw/snapshots/00002.pt"):
        assert create_clip(model, str(folder / name)) is not None
    states = [weights(folder / "tuned" / name) for name in (*snapshots, "model.pt")]
    assert equal(states[2], states[3]), "the last snapshot holds the final weights"
    assert not equal(states[0], states[1])
    assert equal(weights(folder / "raw/snapshots/00002.pt"), weights(folder / "raw/model.pt")), "averaged, both"
    with family.session():
        assert list((root / "run" / "_work").glob("*"))
    assert not list((root / "run" / "_work").glob("*")), "working folders of journalled products are removed"
    assert (folder / "raw/model.pt").samefile(folder / "raw/open_clip_pytorch_model.bin"), "no second copy on the disk"


def test_snapshots_are_evenly_spaced_and_change_no_weight(root: Path, model: str, run_stage: Any) -> None:
    """Ten steps and four snapshots: after steps 3, 5, 8 and 10, the first at or beyond each quarter."""
    from training.data import Pairs
    from training.loop import fit
    from training.recipe import Hyperparameters

    system = {"use": "clip", "model": model}
    run_stage(stage(root, model, trusted={"samples_seen": 40, "snapshots": 4}))
    folder = root / "run" / "filternet" / "trusted"
    recipe = Hyperparameters(system=system, samples_seen=40, batch_size=4, device="cpu")
    torch.manual_seed(0)
    plain = Clip(Clip.Config(model=model))
    seen: list[dict[str, torch.Tensor]] = []
    after_step = plain.after_step

    def remember(phase: str, progress: float) -> None:
        after_step(phase, progress)
        seen.append({name: value.clone() for name, value in plain.model.state_dict().items()})

    plain.after_step = remember  # type: ignore[method-assign]
    pairs = Pairs([str(root / "pool" / "trusted" / "00000.tar")])
    (root / "alone").mkdir()
    fit(plain, pairs, recipe, seed=0, out_dir=root / "alone", device=torch.device("cpu"))
    for number, step in enumerate((3, 5, 8, 10), start=1):
        assert equal(weights(folder / "snapshots" / f"{number:05d}.pt"), seen[step - 1])


def test_network_goes_on_from_another(root: Path, model: str, run_stage: Any) -> None:
    """With a learning rate of almost nothing the weights stay those it began with."""
    run_stage(stage(root, model, trusted={}, tuned={"init": "trusted", "lr": 1e-30}, fresh={"lr": 1e-30}))
    state = {name: weights(root / "run" / "filternet" / name / "model.pt") for name in ("trusted", "tuned", "fresh")}
    assert equal(state["tuned"], state["trusted"])
    assert not equal(state["fresh"], state["trusted"])


def test_checkpoint_to_start_from_is_told_by_its_content(root: Path, model: str) -> None:
    path = root / "start.pt"
    torch.save(create_clip(model).state_dict(), path)
    first = keys(stage(root, model, tuned={"init": str(path)}))
    torch.save(create_clip(model).state_dict(), path)
    assert keys(stage(root, model, tuned={"init": str(path)})) != first


def test_killed_training_goes_on_and_gives_the_same_bytes(
    root: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its fourth step, after the second of three snapshots: all files equal those of an undisturbed run."""
    one = stage(root, model, trusted={"snapshots": 3, "checkpoint_every": 8})
    (unit,) = one.plan()
    undisturbed = perform(one, unit)
    assert not undisturbed.error, undisturbed.detail
    shutil.rmtree(root / "run" / "_work")
    interrupt(one, Clip, 4, monkeypatch)
    again = perform(one, unit)
    assert again.rows[0].files == undisturbed.rows[0].files


def test_keys_follow_what_matters(root: Path, model: str) -> None:
    before = keys(stage(root, model, **FAMILY))
    changed = keys(stage(root, model, **FAMILY | {"trusted": {"lr": 2e-3}}))
    assert {name for name in before if before[name] != changed[name]} == {"filternet/trusted", "filternet/tuned"}
    fewer = keys(stage(root, model, **FAMILY | {"tuned": FAMILY["tuned"] | {"snapshots": 2}}))
    assert {name for name in before if before[name] != fewer[name]} == {"filternet/tuned"}
    row = Row(product="ingest/trusted", key="k", files={"trusted/00000.tar": (1, "0" * 64)})
    Journal(Store(root / "pool")).append(row)
    hashed = keys(stage(root, model, **FAMILY))
    assert hashed["filternet/trusted"] != before["filternet/trusted"], "the journal's hash is the better key"
    assert hashed["filternet/raw"] == before["filternet/raw"]
    write_pool(root / "pool", samples_per_shard=7)
    assert keys(stage(root, model, **FAMILY))["filternet/raw"] != before["filternet/raw"]


def test_a_failed_network_is_tried_before_the_one_that_needs_it(
    root: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt at `trusted` dies, so `tuned` cannot start; the second round trains both."""
    config = root / "run.yaml"
    config.write_text(f"pool: {root}/pool\nrun_dir: {root}/run\nexecutor: {{use: inline, attempts: 2}}\n")
    run = RunConfig(config)
    run.stages["filternet"] = stage(root, model, trusted={}, tuned={"init": "trusted"})
    phases, calls = Clip.phases, []

    def dies_once(self: Clip, batch: Any, progress: float) -> Any:
        calls.append(progress)
        if len(calls) == 1:
            raise OSError("the disk hiccups")
        return phases(self, batch, progress)

    monkeypatch.setattr(Clip, "phases", dies_once)
    summary = run_stage(run, "filternet")
    assert not summary.quarantined
    assert summary.done == 2


def test_mistakes_are_errors_before_training(root: Path, model: str) -> None:
    with pytest.raises(UserError, match="tuned -> trusted -> tuned"):
        stage(root, model, tuned={"init": "trusted"}, trusted={"init": "tuned"})
    with pytest.raises(UserError, match="Did you mean 'trusted'"):
        stage(root, model, trusted={}, tuned={"init": "trustd"}).plan()
    with pytest.raises(UserError, match="winnow ingest"):
        stage(root, model, verified={"data": "verified"}).plan()
    with pytest.raises(UserError, match="give one of them"):
        stage(root, model, tuned={"init": "x", "system": {"use": "clip", "model": model, "pretrained": "y"}}).plan()
    with pytest.raises(UserError, match="letters, digits"):
        stage(root, model, **{"a/b": {}})
    many = stage(root, model, trusted={"snapshots": 7})
    outcome = perform(many, many.plan()[0])
    assert "at most the number of steps, 6" in outcome.error
