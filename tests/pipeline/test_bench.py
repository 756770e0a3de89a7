"""`winnow bench filters`: what the section adds to a config, and the command from a pool to the tables."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from tiny_pool import write_pool
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import RunConfig, expand
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.shards import ShardWriter
from winnow.storage import Store
from winnow.uid import to_hex
from winnow.verdicts import read_verdicts

ROOT = Path(__file__).parents[2]
CATEGORIES = ("visual", "text", "random", "visual_and_text")


def test_every_filter_gets_a_control() -> None:
    values = {
        "select": {"strategies": {"no_filter": {}, "tmars": None, "best": {"use": "clip_score"}, "random_subset": {}}},
        "train": {"recipes": {"a": {"subsets": ["no_filter", "best"]}, "b": {}}},
        "reshard": {"strategies": ["no_filter", "tmars", "best"]},
        "bench": None,
    }
    found = expand(values)
    assert list(found["select"]["strategies"]) == [*values["select"]["strategies"], "random-tmars", "random-best"]  # type: ignore[index]
    assert found["select"]["strategies"]["random-best"] == {"use": "random_subset", "same_size_as": "best"}
    assert found["train"]["recipes"]["a"]["subsets"] == ["no_filter", "best", "random-best"]
    assert found["train"]["recipes"]["b"] == {}
    assert found["train"]["seeds"] == [0, 1, 2]
    assert found["reshard"]["strategies"] == ["no_filter", "tmars", "best", "random-tmars", "random-best"]
    assert expand(found) == found, "a saved config, which is expanded, stays as it is"
    assert "random-tmars" not in values["select"]["strategies"], "the original is left alone"  # type: ignore[operator]


def test_nothing_is_added_without_the_section_or_where_switched_off() -> None:
    values = {"select": {"strategies": {"tmars": {}}}, "train": {"recipes": {}, "seeds": [5]}}
    assert expand(values) == values
    off = expand({**values, "bench": {"controls": False}})
    assert off["select"] == values["select"]
    assert off["train"]["seeds"] == [5]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a config for a pool that is downloaded already: ten noise pictures with truth, and two held-out tasks."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    torch.set_num_threads(1)
    uids = write_pool(tmp_path / "pool")
    truth = {
        "uid": uids,
        "category": [CATEGORIES[number % 4] for number in range(len(uids))],
        "low_quality": [number % 3 == 0 for number in range(len(uids))],
    }
    pq.write_table(pa.table(truth), tmp_path / "pool" / "truth.parquet")
    model = tmp_path / "bench-test.json"
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    model.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    heldout(tmp_path / "zeroshot", "cls")
    heldout(tmp_path / "retrieval", "txt")
    path = tmp_path / "config.yaml"
    recipe = {"system": {"use": "clip", "model": str(model)}, "samples_seen": 8, "batch_size": 4, "device": "cpu"}
    sections: dict[str, Any] = {
        "title": "A tiny bench",
        "pool": str(tmp_path / "pool"),
        "run_dir": str(tmp_path / "run"),
        "executor": {"use": "inline"},
        "score": {"scorers": {"caption_stats": {}, "image_stats": {}}},
        "select": {
            "strategies": {
                "no_filter": {},
                "clip_score": {"score": "caption_stats.num_chars", "fraction": 0.5},
                "tmars": {"use": "clip_score", "score": "image_stats.brightness", "fraction": 0.5},
            }
        },
        "reshard": {},
        "train": {"seeds": [0, 1], "recipes": {"clip": recipe}},
        "eval": {
            "tasks": {
                "shades": {"use": "zeroshot", "path": str(tmp_path / "zeroshot")},
                "retrieval": {"path": str(tmp_path / "retrieval")},
            }
        },
        "bench": {"draws": 200},
    }
    path.write_text(yaml.safe_dump(sections))
    return path


def heldout(folder: Path, suffix: str) -> None:
    """Write eight pictures of two shades."""
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("dark\nlight\n")
    (folder / "zeroshot_classification_templates.txt").write_text("a {c} picture\n")
    (folder / "dataset_type.txt").write_text("retrieval" if suffix == "txt" else "classification")
    (folder / "test" / "nshards.txt").write_text("1")
    with (folder / "test" / "0.tar").open("wb") as file:
        writer = ShardWriter(file)
        for number in range(8):
            buffer = io.BytesIO()
            Image.new("RGB", (20, 20), (30 * number,) * 3).save(buffer, "PNG")
            label = str(number // 4) if suffix == "cls" else f"shade {number} of grey"
            writer.write(f"s{number:07d}", {"png": buffer.getvalue(), suffix: label.encode()})
        writer.close()


def bench(config: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["bench", "filters", str(config), *arguments])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bench_from_a_downloaded_pool_to_the_tables(config: Path, tmp_path: Path) -> None:
    bench(config)
    run = tmp_path / "run"
    found = json.loads((run / "bench" / "filters.json").read_text())
    assert (found["recovery"]["asked"], found["recovery"]["obtained"]) == (12, 10)
    assert len(found["recovery"]["fingerprint"]) == 16
    assert found["controls"] == {"clip_score": "random-clip_score", "tmars": "random-tmars"}

    # what was kept, by naive counting
    truth = pq.read_table(tmp_path / "pool" / "truth.parquet").to_pylist()
    category = {row["uid"]: row["category"] for row in truth}
    for strategy in found["truth"]["strategies"]:
        judged = read_verdicts(Store(run), strategy["name"])
        uids = to_hex(judged.uids(Store(tmp_path / "pool")))
        kept = [uid for uid, count in zip(uids, judged.count, strict=True) if count]
        good = [uid for uid in kept if category[uid].startswith("visual")]
        assert strategy["kept"] == len(kept)
        assert strategy["precision"]["value"] == pytest.approx(len(good) / len(kept))
        for name in CATEGORIES:
            mine = [uid for uid in uids if category[uid] == name]
            share = len([uid for uid in mine if uid in kept]) / len(mine)
            assert strategy["groups"][name][1]["value"] == pytest.approx(share)
    sizes = {row["name"]: row["kept"] for row in found["truth"]["strategies"]}
    assert sizes == {"no_filter": 10, "clip_score": 5, "tmars": 5, "random-clip_score": 5, "random-tmars": 5}

    # scores are those of the evaluations; controls have the same seeds and samples seen, and equal ones share trainings
    models = {path.parent: path.read_bytes() for path in run.glob("train/clip/*/*/model.pt")}
    assert len(models) == 10
    assert len(set(models.values())) == 8
    results = [json.loads(line) for path in sorted(run.glob("eval/*/*/*/results.jsonl")) for line in path.open()]
    assert {(row["subset"], row["seed"]) for row in results} == {(name, seed) for name in sizes for seed in (0, 1)}
    assert {row["samples_seen"] for row in results} == {8}
    tables = {(table["task"], table["metric"]): table for table in found["tables"]}
    assert set(tables) == {("shades", "accuracy"), *(("retrieval", f"recall@{k}") for k in (1, 5, 10))}
    for task, metric, name in (("shades", "accuracy", "acc1"), ("retrieval", "recall@1", "main_metric")):
        scores = {row["subset"]: row["by_seed"] for row in tables[task, metric]["scores"]}
        for row in (row for row in results if row["key"] == task):
            assert scores[row["subset"]][str(row["seed"])] == pytest.approx(row["metrics"][name])
    pairs = [(c["strategy"], c["rival"]) for c in tables["shades", "accuracy"]["comparisons"]]
    assert pairs == [
        ("clip_score", "random-clip_score"),
        ("tmars", "random-tmars"),
        ("clip_score", "no_filter"),
        ("tmars", "no_filter"),
    ]
    (answer,) = found["answers"]
    assert (answer["first"], answer["second"]) == ("tmars", "clip_score")
    assert len(answer["comparisons"]) == 4

    text = (run / "bench" / "filters.md").read_text()
    assert "# A tiny bench: filters compared" in text
    assert "no difference can be shown" in text
    assert found["recovery"]["fingerprint"] in text
    html = (run / "bench" / "filters.html").read_text()
    assert html.count("<svg") == 4 * 3
    assert "<script" not in html

    # repeating does nothing; the same command anew gives the same bytes
    assert bench(config).count("nothing to do") == 6
    before = Journal(Store(run)).rows["bench/filters"].fingerprint()
    Journal(Store(run)).forget("bench/filters")
    bench(config)
    assert Journal(Store(run)).rows["bench/filters"].fingerprint() == before


def test_only_truth_trains_nothing(config: Path, tmp_path: Path) -> None:
    bench(config, "--only-truth")
    found = json.loads((tmp_path / "run" / "bench" / "filters.json").read_text())
    assert len(found["truth"]["strategies"]) == 5
    assert found["tables"] == []
    assert not (tmp_path / "run" / "train").exists()
    assert not (tmp_path / "run" / "shards").exists()
    assert "## What was kept" in (tmp_path / "run" / "bench" / "filters.md").read_text()


def test_mistakes(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="winnow select"):
        RunConfig(config).stages["bench"].plan()
    bench(config, "--only-truth")
    with pytest.raises(UserError, match="Did you mean 'clip_score'"):
        RunConfig(config, ["bench.compare=[[tmars, clip_scor]]"]).stages["bench"].plan()
    assert "would run" in bench(config, "--dry-run")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tiny_config_from_pictures_to_tables(tmp_path: Path) -> None:
    """Everything: a web, a download, a filter network, masking, controls, two seeds."""
    command = [sys.executable, "-m", "pipeline", "bench", "filters", "configs/bench/tiny.yaml"]
    command += [f"pool={tmp_path}/pool", f"run_dir={tmp_path}/run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "run" / "bench" / "filters.json").read_text())
    assert found["truth"]["num_samples"] == found["recovery"]["obtained"] > 30
    shares = [row["precision"]["value"] for row in found["truth"]["strategies"]]
    assert np.isfinite(np.array(shares, dtype=float)).all()
    assert {len(score["by_seed"]) for table in found["tables"] for score in table["scores"]} == {2}
