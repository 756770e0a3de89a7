"""What is exported, read as its readers do, and brought back by attaching it to another pool."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_pool import write_pool
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.perform import perform
from pipeline.pools.export import export
from pipeline.stages.attach import Attach
from winnow.columns import column_path, read_column_file, write_columns
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.pool import pool_tables, read_columns
from winnow.storage import Store
from winnow.uid import to_arrow, to_hex


def score(pool: Path, scorer: str, model: str, width: int, seed: int) -> dict[str, Any]:
    """Write the columns of a clip scorer and return them by uid; the second sample of a shard failed."""
    store, rng, known = Store(pool), np.random.default_rng(seed), {}
    for table in pool_tables(store):
        _, uids = read_columns(store, table)
        valid = np.arange(len(uids)) != 1
        vectors = rng.random((2, len(uids), width)).astype(np.float16)
        similarity = rng.random(len(uids)).astype(np.float32)
        lists = [pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), width, mask=pa.array(~valid)) for v in vectors]
        columns = pa.table(
            {
                "similarity": pa.array(similarity, mask=~valid),
                "image_embedding": lists[0],
                "text_embedding": lists[1],
            }
        )
        errors = pa.array([None if v else "broken" for v in valid], pa.string())
        name = column_path(scorer, table.name)
        (pool / name).parent.mkdir(parents=True, exist_ok=True)
        write_columns(pool / name, to_arrow(uids), columns, errors, {"name": scorer, "fields": {"model": model}})
        Journal(store).append(Row(product=f"score/{scorer}/{table.name}", key="k", files={}))
        for row, uid in enumerate(to_hex(uids)):
            known[uid] = (float(similarity[row]), vectors[:, row]) if valid[row] else None
    return known


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    write_pool(tmp_path / "pool", 2, 6)
    return tmp_path / "pool"


def test_datacomp_metadata_as_its_baselines_read_them(pool: Path, tmp_path: Path) -> None:
    b32 = score(pool, "clip", "ViT-B-32-quickgelu", 512, 0)
    l14 = score(pool, "clip_large", "ViT-L-14", 768, 1)
    done = CliRunner().invoke(app, ["export", str(pool), "--format", "datacomp", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == [
        "00000.npz",
        "00000.parquet",
        "00001.npz",
        "00001.parquet",
    ]
    for name in ("00000", "00001"):
        frame = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        assert list(frame.columns) == [
            "uid",
            "url",
            "text",
            "original_width",
            "original_height",
            "sha256",
            "clip_b32_similarity_score",
            "clip_l14_similarity_score",
        ]
        table = pq.read_table(pool / "shards" / f"{name}.parquet").to_pandas()
        good = table[table["status"] == "success"]
        for theirs, ours in (("uid", "uid"), ("url", "url"), ("text", "caption"), ("sha256", "sha256")):
            assert frame[theirs].tolist() == good[ours].tolist()
        assert frame["original_width"].tolist() == [260] * 5
        features = np.load(tmp_path / "out" / f"{name}.npz")
        assert set(features) == {"b32_img", "b32_txt", "l14_img", "l14_txt"}
        assert features["l14_img"].shape == (5, 768)
        for row, uid in enumerate(frame["uid"]):
            for short, known in (("b32", b32[uid]), ("l14", l14[uid])):
                value = frame[f"clip_{short}_similarity_score"][row]
                if known is None:
                    assert np.isnan(value)
                    assert np.isnan(features[f"{short}_img"][row]).all()
                else:
                    assert value == np.float32(known[0])
                    assert (features[f"{short}_img"][row] == known[1][0]).all()
                    assert (features[f"{short}_txt"][row] == known[1][1]).all()


def attach(pool: Path, use: str, path: Path, key: str) -> pa.Table:
    stage = Attach(pool=str(pool), run_dir=str(pool), sources={key: {"use": use, "path": str(path)}})
    for unit in stage.plan():
        outcome = perform(stage, unit)
        assert not outcome.error, outcome.detail or outcome.error
    return pa.concat_tables([read_column_file(Store(pool), key, t.name) for t in pool_tables(Store(pool))])


def test_what_was_exported_can_be_attached(pool: Path, tmp_path: Path) -> None:
    known = score(pool, "clip", "ViT-B-32", 16, 0)
    for kind in ("datacomp", "scores"):
        list(export(Store(pool), Store(tmp_path / kind), kind))
    write_pool(tmp_path / "other", 5, 3)  # the same pairs in other shards, some of which failed elsewhere
    back = attach(tmp_path / "other", "datacomp_metadata", tmp_path / "datacomp", "dc").to_pylist()
    scores = attach(tmp_path / "other", "table", tmp_path / "scores", "s").to_pylist()
    seen = 0
    for row, flat in zip(back, scores, strict=True):
        assert (row["error"] is None) == (row["uid"] in known)
        if value := known.get(row["uid"]):
            seen += 1
            assert row["clip_b32_similarity_score"] == flat["clip.similarity"] == np.float32(value[0])
            assert (np.array(row["b32_img"], np.float16) == value[1][0]).all()
    assert seen > 3
    assert set(scores[0]) == {"uid", "clip.similarity", "error"}


def test_a_mapping_names_the_columns(pool: Path, tmp_path: Path) -> None:
    known = score(pool, "ours", "a network of ours", 8, 0)
    list(export(Store(pool), Store(tmp_path / "plain"), "datacomp"))
    assert "clip_b32_similarity_score" not in pq.read_schema(tmp_path / "plain/00000.parquet").names
    arguments = ["--column", "l14_img=ours.image_embedding", "--column", "score=ours.similarity"]
    done = CliRunner().invoke(app, ["export", str(pool), "--out", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "out/00000.parquet")
    assert table.column_names[-1] == "score"
    assert np.load(tmp_path / "out/00000.npz")["l14_img"].shape == (5, 8)
    assert table["score"].to_pylist() == [
        None if known[uid] is None else known[uid][0] for uid in table["uid"].to_pylist()
    ]


def test_mistakes_are_named(pool: Path, tmp_path: Path) -> None:
    score(pool, "clip", "ViT-B-32", 8, 0)
    with pytest.raises(UserError, match="Accepted: datacomp, scores"):
        list(export(Store(pool), Store(tmp_path / "out"), "csv"))
    with pytest.raises(UserError, match=r"Did you mean 'clip.similarity'"):
        list(export(Store(pool), Store(tmp_path / "out"), "scores", {"s": "clip.similarty"}))
    (pool / "columns/clip/00001.parquet").unlink()
    with pytest.raises(UserError, match="winnow score"):
        list(export(Store(pool), Store(tmp_path / "out"), "scores"))
