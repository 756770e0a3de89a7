"""A whole run of which one strategy keeps nothing: it says so, and reports the others."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from winnow.shards import ShardWriter

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def png(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, samples: list[dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number, members in enumerate(samples):
            writer.write(f"{number:09d}", members)
        writer.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write(tmp_path / "pool/00000.tar", [{"png": png(n), "txt": f"picture {n}".encode()} for n in range(12)])
    task = tmp_path / "task"
    write(task / "test/0.tar", [{"png": png(100 + n), "cls": str(n % 2).encode()} for n in range(8)])
    (task / "test/nshards.txt").write_text("1\n")
    (task / "classnames.txt").write_text("cat\ndog\n")
    (task / "zeroshot_classification_templates.txt").write_text("a {c}\n")
    (tmp_path / "winnow-test-empty.json").write_text(json.dumps(MODEL))
    recipe = {
        "system": {"use": "clip", "model": str(tmp_path / "winnow-test-empty.json")},
        "samples_seen": 8,
        "batch_size": 8,
        "device": "cpu",
    }
    nothing = {"use": "clip_score", "score": "caption_stats.num_words", "threshold": 1e9}
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "pool": str(tmp_path / "pool"),
                "run_dir": str(tmp_path / "run"),
                "executor": {"use": "inline"},
                "score": {"scorers": {"caption_stats": {}}},
                "select": {"strategies": {"no_filter": {}, "nothing": nothing}},
                "reshard": {},
                "train": {"recipes": {"clip": recipe}},
                "eval": {"tasks": {"animals": {"use": "zeroshot", "path": str(task)}}},
                "report": {},
            },
            sort_keys=False,
        )
    )
    return path


def test_the_other_subsets_go_on_to_the_report(config: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["index", str(config.parent / "pool")]).exit_code == 0
    for _ in range(2):  # what is said is said again when there is nothing to do
        result = runner.invoke(app, ["run", str(config)])
        assert result.exit_code == 0, result.output
        assert "`nothing` keeps no sample of 12" in result.output
        assert "subset `nothing` holds no sample: nothing is trained on it" in result.output
    rows = [json.loads(line) for line in (config.parent / "run/results.jsonl").read_text().splitlines()]
    assert [(row["key"], row["subset"]) for row in rows] == [("animals", "no_filter")]
    assert "nothing" in (config.parent / "run/report.html").read_text()
