"""Strategies, recipes and tasks under names that are no file names, from the pool to the pages."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from colours import COLOURS, png
from tiny_pool import write_pool
from typer.testing import CliRunner

from eval.bench.outcomes import read_outcomes
from pipeline.cli import app
from winnow.storage import Store

STRATEGIES = ("no_filter", "basic/long captions", "top 50% <Käse> ../..", ".hidden")
RECIPE, TASK, OTHER = "ViT-S/8 (tiny)", "vtab/caltech101", "a~b: 100%"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    torch.set_num_threads(1)
    uids = write_pool(tmp_path / "pool")
    assert len(uids) == 12
    model = tmp_path / "names-test.json"
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    model.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    for colour, rgb in COLOURS.items():
        (tmp_path / "colours" / colour).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "colours" / colour / f"{number}.png").write_bytes(png(rgb))
    task = {"use": "zeroshot", "path": str(tmp_path / "colours"), "recipes": [RECIPE]}
    sections: dict[str, Any] = {
        "title": "Names",
        "pool": str(tmp_path / "pool"),
        "run_dir": str(tmp_path / "run"),
        "executor": {"use": "inline"},
        "score": {"scorers": {"caption_stats": {}, "image_stats": {}}},
        "select": {
            "strategies": {
                STRATEGIES[0]: {"use": "no_filter"},
                STRATEGIES[1]: {"use": "clip_score", "score": "caption_stats.num_chars", "fraction": 0.5},
                STRATEGIES[2]: {"use": "clip_score", "score": "image_stats.brightness", "fraction": 0.5},
                STRATEGIES[3]: {"use": "random_subset", "same_size_as": STRATEGIES[1]},
            }
        },
        "reshard": {},
        "train": {
            "recipes": {
                RECIPE: {
                    "system": {"use": "clip", "model": str(model)},
                    "subsets": list(STRATEGIES[:3]),
                    "samples_seen": 8,
                    "batch_size": 4,
                    "device": "cpu",
                }
            }
        },
        "eval": {"tasks": {TASK: task | {"dataset": "Caltech-101"}, OTHER: task}},
        "report": {"pairs": 1},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(sections, allow_unicode=True))
    return path


@pytest.mark.timeout(300)
def test_any_name_goes_through_the_loop(config: Path, tmp_path: Path) -> None:
    for command in ("score", "select", "reshard", "train", "eval", "report"):
        done = CliRunner().invoke(app, [command, str(config)])
        assert done.exit_code == 0, f"{command}: {done.output}\n{done.exception!r}"
    run = Store(tmp_path / "run")
    assert not run.list("quarantine")
    rows = [json.loads(line) for line in run.read("results.jsonl").splitlines()]
    assert {(row["system"], row["subset"], row["key"], row["dataset"]) for row in rows} == {
        (RECIPE, subset, *names) for subset in STRATEGIES[:3] for names in ((TASK, "Caltech-101"), (OTHER, OTHER))
    }
    page = run.read("report.html").decode()
    for name in (*STRATEGIES, RECIPE, TASK, OTHER):
        shown = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert shown in page, name
    assert "What could not be read" not in page
    assert page.count("paired difference") == 2, "one table a task"
    assert {(o.recipe, o.task, *sorted(o.by_subset)) for o in read_outcomes(run, [])} == {
        (RECIPE, task, *sorted(STRATEGIES[:3])) for task in (TASK, OTHER)
    }
    everything = [path.relative_to(tmp_path / "run") for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert all(len(path.parts) <= 5 for path in everything), "a name is one part of a path"
    # whatever asks by name finds it
    uid = pq.read_table(tmp_path / "pool/shards/00000.parquet")["uid"][0].as_py()
    why = CliRunner().invoke(app, ["why", uid, str(config)])
    assert why.exit_code == 0, why.output
    assert "Käse" in why.output
    assert "is gone" not in why.output
