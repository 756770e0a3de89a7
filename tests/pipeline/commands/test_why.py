"""The story of one sample, compared with the files that it is told from."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.table import Table
from tiny_pool import write_pool

from pipeline.commands.why import explain
from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow.errors import UserError

CONFIG = """
pool: {root}/pool
run_dir: {root}/run
executor: {{use: inline}}
score: {{scorers: {{caption_stats: {{}}}}}}
attach: {{sources: {{published: {{use: table, path: {root}/scores.parquet}}}}}}
select:
  strategies:
    no_filter: {{}}
    high: {{use: clip_score, score: published.similarity, threshold: 0.35}}
reshard: {{samples_per_shard: 4}}
"""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    uids = write_pool(tmp_path / "pool", 3, 6)
    good = [uid for row, uid in enumerate(uids) if row % 6 != 5 and row != 2]
    scores = {
        "uid": good,
        "similarity": [n / 10 for n in range(len(good))],
        "vector": pa.array([[0.5] * 24] * len(good), pa.list_(pa.float16(), 24)),
        "note": ["[/bold] of the [red]wheat"] * len(good),
    }
    pq.write_table(pa.table(scores), tmp_path / "scores.parquet")
    pq.write_table(pa.table({"uid": uids, "category": ["secret"] * len(uids)}), tmp_path / "pool/truth.parquet")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    resolved = RunConfig(path)
    for stage in ("score", "attach", "select", "reshard"):
        assert not run_stage(resolved, stage).quarantined
    return resolved


def uids_of(config: RunConfig) -> list[str]:
    tables = sorted((Path(config.values["pool"]) / "shards").glob("*.parquet"))
    return [uid for table in tables for uid in pq.read_table(table)["uid"].to_pylist()]


def story(config: RunConfig, uid: str) -> dict[str, dict[str, tuple[str, ...]]]:
    return {title: {row[0]: row[1:] for row in rows} for title, rows in explain(config, uid)}


def test_all_columns_verdicts_and_places_are_told(config: RunConfig) -> None:
    uids = uids_of(config)
    for number, name in ((0, "00000"), (7, "00001"), (16, "00002")):
        uid = uids[number]
        told = story(config, uid)
        assert f"sample {uid}" in told
        assert told["where it lies"]["shard"] == (f"shards/{name}.tar",)
        assert told["where it lies"]["key"] == (f"{name}{number % 6:04d}",)
        scores = pq.read_table(Path(config.values["pool"]).parent / "scores.parquet").to_pylist()
        similarity = next(row["similarity"] for row in scores if row["uid"] == uid)
        assert told["columns"]["published.similarity"] == (f"{similarity:.4f}",)
        assert told["columns"]["published.vector"] == ("24 numbers",)
        caption = f"picture number {number} of a tiny pool"
        assert told["columns"]["caption_stats.num_chars"] == (str(len(caption)),)
        assert told["strategies"]["no_filter"] == ("[green]kept[/green]", "")
        verdict, reason = told["strategies"]["high"]
        assert ("kept" in verdict) == (similarity >= 0.35)
        assert ("below 0.35" in reason) == (similarity < 0.35)
        copies = told["shards it was copied to"]
        subsets = {shard.split("/")[1]: (shard, key) for shard, (key,) in copies.items()}
        assert set(subsets) == ({"no_filter", "high"} if similarity >= 0.35 else {"no_filter"})
        for shard, key in subsets.values():
            assert key == f"{uid}-0"
            table = pq.read_table(Path(config.values["run_dir"]) / shard.replace(".tar", ".parquet"))
            assert key in table["key"].to_pylist()


def test_what_a_source_lacks_and_what_was_not_downloaded_is_told(config: RunConfig) -> None:
    uids = uids_of(config)
    told = story(config, uids[2])
    assert told["columns"]["published.error"] == ("not in published",)
    assert "dropped" in told["strategies"]["high"][0]
    assert story(config, uids[5])["columns"] == {"none": ("it was not downloaded: HTTP 404",)}


def test_the_truth_is_never_told_and_markup_is_shown_as_it_is(config: RunConfig) -> None:
    out = Console(file=io.StringIO(), width=200)
    for _, rows in explain(config, uids_of(config)[0]):
        table = Table()
        for row in rows:
            table.add_row(*row)
        out.print(table)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "secret" not in text
    assert "category" not in text
    assert "[/bold] of the [red]wheat" in text


def test_the_start_of_a_uid_is_enough_if_no_other_starts_so(config: RunConfig) -> None:
    uids = uids_of(config)
    for length in range(1, 33):
        start = uids[9][:length]
        alike = sorted(uid for uid in uids if uid.startswith(start))
        if len(alike) == 1:
            assert f"sample {uids[9]}" in story(config, start.upper())
        else:
            with pytest.raises(
                UserError, match=f"{len(alike)} samples have a uid that starts with '{start}': {alike[0]}"
            ):
                story(config, start)
    with pytest.raises(UserError, match="no sample of the pool"):
        story(config, next(f"{n:032x}" for n in range(99) if f"{n:032x}" not in uids))
    for wrong in ("", "xyz", "0" * 33):
        with pytest.raises(UserError, match="32 hexadecimal characters"):
            story(config, wrong)


def test_a_stale_column_or_subset_is_told_as_such(config: RunConfig) -> None:
    uids, pool = uids_of(config), Path(config.values["pool"])
    path = pool / "columns/caption_stats/00000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    (Path(config.values["run_dir"]) / "subsets/high.parquet").unlink()
    told = story(config, uids[0])
    assert told["columns"]["caption_stats"] == (
        "its columns belong to another state of the pool: repeat `winnow score`",
    )
    assert told["strategies"]["high"][0] == "unknown"


def test_a_uid_that_comes_twice_is_told_with_both_places(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", 2, 6)
    first, second = (tmp_path / "pool/shards" / f"0000{n}.parquet" for n in range(2))
    uid = pq.read_table(first)["uid"][3].as_py()
    table = pq.read_table(second)
    pq.write_table(table.set_column(3, "uid", pa.array([uid, *table["uid"].to_pylist()[1:]])), second)
    (tmp_path / "c.yaml").write_text(json.dumps({"pool": f"{tmp_path}/pool", "run_dir": f"{tmp_path}/run"}))
    told = story(RunConfig(tmp_path / "c.yaml"), uid)
    assert told["where it lies"]["again in"] == ("shards/00001.parquet, row 0",)
    assert told["columns"] == {"none": ("it was not scored yet: `winnow score`",)}
