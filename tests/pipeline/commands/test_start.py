"""`winnow init`, `winnow schema`, `winnow demo`: what somebody starts with who has no checkout."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.cli import demo
from pipeline.commands.init import write_config
from pipeline.commands.schema import config_schema
from pipeline.config import RunConfig
from winnow.errors import UserError
from winnow.shipped import CONFIGS, bring


def write_tar(path: Path, *names: str) -> None:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))


def test_a_list_of_urls(tmp_path: Path) -> None:
    """In a folder with an odd name; the columns that were found are told."""
    folder = tmp_path / "my läst: # of 'urls'"
    folder.mkdir()
    (folder / "a.csv").write_text("link,alt,license\nhttp://a/1,one,cc\n")
    told = write_config(str(folder), tmp_path / "first.yaml")
    assert "link (url), alt (text), license (carried along)" in told[0]
    config = RunConfig(tmp_path / "first.yaml")
    assert list(config.stages) == ["ingest", "download", "score", "select", "reshard", "report"]
    assert config.values["source"]["path"] == str(folder)
    assert any("winnow plan" in line for line in told)


def test_names_that_would_break_a_config(tmp_path: Path) -> None:
    """A line break in a column's name, a colon in the config's own."""
    (tmp_path / "in: 1").mkdir()
    (tmp_path / "in: 1/a.json").write_text(json.dumps([{"url": "http://a/1", "caption": "c", "odd\nname": 1}]))
    out = tmp_path / "my: config.yaml"
    assert "odd\\nname (carried along)" in write_config(str(tmp_path / "in: 1"), out)[0]
    assert RunConfig(out).values["run_dir"] == "runs/my: config"


def test_shards_with_and_without_tables(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", "0.jpg", "0.txt", "1.jpg", "1.txt")
    told = write_config(str(tmp_path), tmp_path / "plain.yaml")
    assert "samples of jpg, txt; without tables" in told[0]
    assert any(line.strip().startswith("winnow index") for line in told)
    (tmp_path / "00000.parquet").write_bytes(b"")
    told = write_config(str(tmp_path), tmp_path / "theirs.yaml")
    assert "img2dataset's tables" in told[0]
    config = RunConfig(tmp_path / "theirs.yaml")
    assert config.values["pool"] == str(tmp_path)
    assert "download" not in config.stages


@pytest.mark.parametrize("name", ["notes.md", "table.csv"])
def test_what_is_nothing_to_start_from(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="nothing to start from"):
        write_config(str(tmp_path / "in"), tmp_path / "c.yaml")
    (tmp_path / "in" / name).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"nothing to start from|no column of URLs .* a, b"):
        write_config(str(tmp_path / "in"), tmp_path / "c.yaml")
    assert not (tmp_path / "c.yaml").exists()


def test_a_config_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write_config(str(tmp_path), tmp_path / "c.yaml")
    assert (tmp_path / "c.yaml").read_text() == "mine"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(json.dumps(config_schema(), default=str))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", ["demo.yaml", "bench/webnoise.yaml", "bench/tiny.yaml"])
def test_the_schema_accepts_what_is_shipped(validator: Any, name: str) -> None:
    config = yaml.safe_load((CONFIGS / name).read_text())
    assert [error.message for error in validator.iter_errors(config)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"downlaod": {}},
        {"download": {"image_sise": 256}},
        {"reshard": {"samples_per_shard": "many"}},
        {"score": {"scorers": {"clip": {"modell": "x"}}}},
        {"select": {"strategies": {"mine": {"use": "clip_score", "scoer": "a.b"}}}},
        {"select": {"strategies": {"mine": {"fraction": 0.3}}}},
        {"source": {"use": "file", "path": "x"}},
    ],
)
def test_the_schema_finds_mistakes(validator: Any, wrong: dict[str, Any]) -> None:
    assert not validator.is_valid({"pool": "p", "run_dir": "r", **wrong})
    mine = {"clip_score": {"use": "tmars"}, "mine": {"use": "clip_score"}, "theirs": {"use": "a.b:Theirs", "x": 1}}
    assert validator.is_valid({"pool": "p", "run_dir": "r", "select": {"strategies": mine}})


def test_the_demo_runs_where_there_is_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    demo(["seed=1"], dry_run=True)
    assert (tmp_path / "configs/demo.yaml").read_bytes() == (CONFIGS / "demo.yaml").read_bytes()
    assert (tmp_path / "configs/models/winnow-tiny.json").is_file()
    assert bring(tmp_path) == []
