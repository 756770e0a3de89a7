"""Columns that other programs wrote, joined to a pool: every format as that program writes it, in another order."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import RunConfig
from pipeline.engine.perform import perform
from pipeline.stages.attach import Attach
from pipeline.stages.select import Select
from winnow.columns import read_column_file, to_numpy
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.murmur import murmur64
from winnow.storage import Store
from winnow.uid import from_hex, make_uid

SIZES = (7, 0, 5, 9)
Run = Callable[..., list[str]]


def attach(pool: Path, key: str, use: str, path: Path, **fields: Any) -> Attach:
    """Return the stage with one source."""
    return Attach(pool=str(pool), run_dir=str(pool), sources={key: {"use": use, "path": str(path), **fields}})


def columns(pool: Path, key: str) -> pa.Table:
    """Return the columns of all shards one below the other."""
    names = sorted(path.stem for path in (pool / "columns" / key).iterdir())
    return pa.concat_tables([read_column_file(Store(pool), key, name) for name in names])


def pair(number: int) -> tuple[str, str]:
    """Return url and caption of the n-th sample of `make_pool`."""
    return f"http://pictures/{number}", f"a caption of picture {number}"


def foreign_order(num: int, seed: int = 0) -> list[int]:
    """Return sample numbers in another order, two of them absent, some that the pool has not."""
    numbers = [number for number in range(num) if number not in (3, 11)] + [1000, 1001]
    return [numbers[i] for i in np.random.default_rng(seed).permutation(len(numbers))]


def datacomp_rows(uids: list[str], order: list[int], rng: np.random.Generator) -> dict[str, Any]:
    boxes = [[[0.1, 0.2, 0.3, 0.4]] * int(n) for n in rng.integers(0, 3, len(order))]
    return {
        "uid": [uids[n] if n < len(uids) else f"{n:032x}" for n in order],
        "url": [pair(n)[0] for n in order],
        "text": [pair(n)[1] for n in order],
        "original_width": rng.integers(100, 900, len(order)),
        "original_height": rng.integers(100, 900, len(order)),
        "sha256": [f"{n:064x}" for n in order],
        "clip_b32_similarity_score": rng.random(len(order)).astype(np.float32),
        "clip_l14_similarity_score": [float("nan") if n == 5 else float(n) for n in order],
        "face_bboxes": boxes,
    }


@pytest.mark.parametrize("shards_per_unit", [1, 64])
def test_datacomp_metadata_and_features_find_their_samples(
    tmp_path: Path, make_pool: Any, run_stage: Run, shards_per_unit: int
) -> None:
    made = make_pool(tmp_path / "pool", SIZES)
    num, rng = len(made.uids), np.random.default_rng(1)
    order = foreign_order(num)
    rows = datacomp_rows(made.uids, order, rng)
    features = {
        name: rng.random((len(order), 512 if name[0] == "b" else 768)).astype(np.float16)
        for name in ("b32_img", "b32_txt", "l14_img", "l14_txt")
    }
    cut = len(order) // 3
    (tmp_path / "metadata").mkdir()
    for name, part in (("0a", slice(cut)), ("0b", slice(cut, None))):
        pq.write_table(pa.table({k: v[part] for k, v in rows.items()}), tmp_path / "metadata" / f"{name}.parquet")
        np.savez(tmp_path / "metadata" / f"{name}.npz", **{k: v[part] for k, v in features.items()})

    stage = attach(tmp_path / "pool", "datacomp", "datacomp_metadata", tmp_path / "metadata")
    stage = stage.model_copy(update={"shards_per_unit": shards_per_unit})
    assert len(run_stage(stage)) == (4 if shards_per_unit == 1 else 1)
    table = columns(tmp_path / "pool", "datacomp")
    assert table["uid"].to_pylist() == made.uids
    where = {number: place for place, number in enumerate(order)}
    for number, row in enumerate(table.to_pylist()):
        if number not in where:
            assert row["error"] == "not in datacomp"
            assert all(value is None for name, value in row.items() if name not in ("uid", "error"))
            continue
        place = where[number]
        assert row["error"] is None
        assert row["clip_b32_similarity_score"] == rows["clip_b32_similarity_score"][place]
        assert row["face_bboxes"] == rows["face_bboxes"][place]
        assert row["sha256"] == f"{number:064x}"
        for name, values in features.items():
            assert (np.array(row[name], np.float16) == values[place]).all(), name
    assert to_numpy(table["l14_img"]).shape == (num, 768)
    assert to_numpy(table["l14_img"]).dtype == np.float16
    assert set(table.column_names) == {"error", *rows.keys(), *features} - {"url", "text"}
    counts = [row.counts for row in Journal(stage.store).under("score/datacomp/")]
    assert sum(c["samples"] for c in counts) == num
    assert sum(c["found"] for c in counts) == num - 2
    assert sum(c["not in datacomp"] for c in counts) == 2
    assert run_stage(stage) == []


def test_a_strategy_selects_by_attached_columns(tmp_path: Path, make_pool: Any, run_stage: Run) -> None:
    made = make_pool(tmp_path / "pool", SIZES)
    order = foreign_order(len(made.uids))
    rows = datacomp_rows(made.uids, order, np.random.default_rng(1))
    pq.write_table(pa.table(rows), tmp_path / "scores.parquet")
    rename = {"similarity": "clip_l14_similarity_score"}
    run_stage(attach(tmp_path / "pool", "l14", "datacomp_metadata", tmp_path / "scores.parquet", columns=rename))
    assert columns(tmp_path / "pool", "l14").column_names == ["uid", "similarity", "error"]
    strategies = {"high": {"use": "clip_score", "score": "l14.similarity", "threshold": 9.5}}
    select = Select(pool=str(tmp_path / "pool"), run_dir=str(tmp_path / "run"), strategies=strategies)
    run_stage(select)
    kept = np.load(tmp_path / "run" / "subsets" / "high.npy")
    expected = sorted(made.uids[n] for n in range(10, len(made.uids)) if n != 11)
    assert (kept == from_hex(expected)).all()


@pytest.mark.parametrize("names", ["native", "datacomp"])
def test_dataset2metadata_in_either_naming(tmp_path: Path, make_pool: Any, run_stage: Run, names: str) -> None:
    made = make_pool(tmp_path / "pool", SIZES)
    rng, order = np.random.default_rng(2), foreign_order(len(made.uids))
    native = names == "native"
    score, image = (
        ("oai-clip-vit-l14-score", "oai-clip-vit-l14-image") if native else ("clip_l14_similarity_score", "l14_img")
    )
    out = tmp_path / "d2m"
    out.mkdir()
    scores, vectors = rng.random(len(order)).astype(np.float32), rng.random((len(order), 768), np.float32)
    for start in range(0, len(order), 8):  # as its Writer does: a data frame by pandas, a compressed archive
        part, stem = slice(start, start + 8), hashlib.md5(f"['{start}.tar']".encode()).hexdigest()
        keys = [
            f"{0 if n < 7 else 2 if n < 12 else 3:05d}{n - (0 if n < 7 else 7 if n < 12 else 12):04d}"
            for n in order[part]
        ]
        frame = {score: scores[part].tolist(), "key": keys}
        pd.DataFrame.from_dict(frame).to_parquet(out / f"{stem}.parquet", engine="pyarrow")
        np.savez_compressed(out / f"{stem}.npz", **{image: vectors[part]})
    run_stage(attach(tmp_path / "pool", "d2m", "dataset2metadata", out))
    table = columns(tmp_path / "pool", "d2m")
    assert table.column_names == ["uid", "clip_l14_similarity_score", "l14_img", "error"]
    for number, row in enumerate(table.to_pylist()):
        if number in (3, 11):
            assert row["error"] == "not in d2m"
        else:
            place = order.index(number)
            assert row["clip_l14_similarity_score"] == scores[place]
            assert (np.array(row["l14_img"], np.float32) == vectors[place]).all()


@pytest.mark.parametrize("told_by", ["uid", "pair", "key"])
def test_clip_retrieval_embeddings(tmp_path: Path, make_pool: Any, run_stage: Run, told_by: str) -> None:
    made = make_pool(tmp_path / "pool", SIZES, with_uids=told_by != "pair")
    rng, order = np.random.default_rng(3), foreign_order(len(made.uids))
    vectors = [rng.normal(size=(len(order), 16)) for _ in range(2)]
    image, text = ((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16) for v in vectors)
    keys = {json.loads(m["json"])["url"]: json.loads(m["json"])["key"] for m in made.members}
    out = tmp_path / "embeddings"
    for folder in ("img_emb", "text_emb", "metadata"):
        (out / folder).mkdir(parents=True)
    for number in range(3):  # as its OutputSink does
        part = slice(number * 7, number * 7 + 7)
        mine = order[part]
        np.save(out / "img_emb" / f"img_emb_{number}.npy", image[part])
        np.save(out / "text_emb" / f"text_emb_{number}.npy", text[part])
        frame: dict[str, Any] = {
            "image_path": [keys.get(pair(n)[0], "-") for n in mine],
            "caption": [pair(n)[1] for n in mine],
        }
        if told_by == "uid":
            frame["uid"] = [made.uids[n] if n < len(made.uids) else f"{n:032x}" for n in mine]
        if told_by == "pair":
            frame["url"] = [pair(n)[0] for n in mine]
        frame["aesthetic.score"] = [float(n) for n in mine]
        pd.DataFrame(frame).to_parquet(out / "metadata" / f"metadata_{number}.parquet")
    stage = attach(tmp_path / "pool", "b32", "clip_retrieval", out, columns={"aesthetic": "aesthetic.score"})
    assert stage.plan()[0].spec["by"] == told_by
    run_stage(stage)
    table = columns(tmp_path / "pool", "b32")
    assert table.column_names == ["uid", "image_embedding", "text_embedding", "similarity", "aesthetic", "error"]
    for number, row in enumerate(table.to_pylist()):
        if number in (3, 11):
            assert (row["error"], row["similarity"]) == ("not in b32", None)
            continue
        place = order.index(number)
        assert (np.array(row["image_embedding"], np.float16) == image[place]).all()
        assert (np.array(row["text_embedding"], np.float16) == text[place]).all()
        cosine = float(image[place].astype(float) @ text[place].astype(float))
        assert row["similarity"] == pytest.approx(cosine, abs=1e-6)
        assert row["aesthetic"] == number


@pytest.mark.parametrize("told_by", ["pair", "hash"])
def test_laion_tables(tmp_path: Path, make_pool: Any, run_stage: Run, told_by: str) -> None:
    made = make_pool(tmp_path / "pool", SIZES)  # uids of its own: joined by what they would be
    order = foreign_order(len(made.uids))
    rows: dict[str, Any] = {"SAMPLE_ID": np.arange(len(order)), "LANGUAGE": ["de" if n % 2 else None for n in order]}
    if told_by == "pair":
        rows |= {
            "URL": [pair(n)[0] for n in order],
            "TEXT": [pair(n)[1] for n in order],
            "NSFW": ["UNLIKELY"] * len(order),
        }
    else:
        rows["hash"] = murmur64([("".join(pair(n))).encode() for n in order])
    rows |= {
        "similarity": [n / 100 for n in order],
        "punsafe": [n / 10 for n in order],
        "pwatermark": [0.5] * len(order),
    }
    pq.write_table(pa.table(rows), tmp_path / "part-00000.parquet", row_group_size=5)
    run_stage(attach(tmp_path / "pool", "laion", "laion", tmp_path / "part-*.parquet"))
    table = columns(tmp_path / "pool", "laion")
    assert table["uid"].to_pylist() == made.uids
    expected = ["language", *(["nsfw"] if told_by == "pair" else []), "similarity", "punsafe", "pwatermark"]
    assert table.column_names == ["uid", *expected, "error"]
    for number, row in enumerate(table.to_pylist()):
        if number in (3, 11):
            assert row["error"] == "not in laion"
        else:
            assert row["error"] is None
            assert (row["similarity"], row["punsafe"]) == (number / 100, number / 10)
            assert row["language"] == ("de" if number % 2 else None)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_scores(tmp_path: Path, make_pool: Any, run_stage: Run, ending: str) -> None:
    made = make_pool(tmp_path / "pool", SIZES)
    order = foreign_order(len(made.uids))
    frame = pd.DataFrame(
        {
            "uid": [made.uids[n].upper() if n < len(made.uids) else "no uid" for n in order],
            "score": [n / 7 for n in order],
            "group": [n % 3 for n in order],
            "word": [f"w {n}" for n in order],
        }
    )
    frame = pd.concat([frame, frame.assign(score=-1.0)])  # of a row that comes twice the first one counts
    buffer = io.StringIO()
    if ending == "parquet":
        frame.to_parquet(tmp_path / "scores.parquet")
    elif ending == "jsonl":
        frame.to_json(buffer, orient="records", lines=True)
    else:
        frame.to_csv(buffer, sep="\t" if ending == "tsv" else ",", index=False)
    if ending != "parquet":
        (tmp_path / f"scores.{ending}").write_text(buffer.getvalue())
    run_stage(attach(tmp_path / "pool", "flyt", "table", tmp_path / f"scores.{ending}"))
    for number, row in enumerate(columns(tmp_path / "pool", "flyt").to_pylist()):
        if number in (3, 11):
            assert row["error"] == "not in flyt"
        else:
            assert row["score"] == pytest.approx(number / 7, abs=1e-9)
            assert (row["group"], row["word"]) == (number % 3, f"w {number}")


def test_duplicates_of_a_uid_in_the_pool_all_get_the_row(tmp_path: Path, make_pool: Any, run_stage: Run) -> None:
    made = make_pool(tmp_path / "pool", (4, 4), number_of=lambda n: n % 3)
    frame = pa.table({"uid": sorted(set(made.uids)), "value": [0, 1, 2]})
    pq.write_table(frame, tmp_path / "v.parquet")
    run_stage(attach(tmp_path / "pool", "v", "table", tmp_path / "v.parquet"))
    of = dict(zip(sorted(set(made.uids)), range(3), strict=True))
    assert columns(tmp_path / "pool", "v")["value"].to_pylist() == [of[uid] for uid in made.uids]


def test_metadata_alone_can_be_attached_to(tmp_path: Path, run_stage: Run) -> None:
    (tmp_path / "pool" / "metadata").mkdir(parents=True)
    urls, texts = ["http://a/1", "http://a/2"], ["one", None]
    uids = [make_uid(url, text or "") for url, text in zip(urls, texts, strict=True)]
    table = pa.table({"uid": uids, "url": urls, "text": texts})
    pq.write_table(table, tmp_path / "pool" / "metadata" / "00000.parquet")
    pq.write_table(pa.table({"URL": urls[::-1], "TEXT": texts[::-1], "similarity": [0.2, 0.1]}), tmp_path / "l.parquet")
    run_stage(attach(tmp_path / "pool", "laion", "laion", tmp_path / "l.parquet"))
    assert columns(tmp_path / "pool", "laion")["similarity"].to_pylist() == [0.1, 0.2]


def test_only_what_changed_is_attached_again(tmp_path: Path, make_pool: Any, run_stage: Run) -> None:
    made = make_pool(tmp_path / "pool", SIZES)
    pq.write_table(pa.table({"uid": made.uids, "value": range(len(made.uids))}), tmp_path / "v.parquet")
    stage = attach(tmp_path / "pool", "v", "table", tmp_path / "v.parquet").model_copy(update={"shards_per_unit": 2})
    assert run_stage(stage) == ["v/00000", "v/00002"]
    before = {path.name: path.read_bytes() for path in (tmp_path / "pool/columns/v").iterdir()}
    Journal(stage.store).forget("score/v/00003")
    assert run_stage(stage) == ["v/00002"]
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "pool/columns/v").iterdir()}
    wider = stage.model_copy(update={"shards_per_unit": 64})
    assert run_stage(wider) == []  # how it was cut into units does not matter
    pq.write_table(pa.table({"uid": made.uids, "value": range(1, len(made.uids) + 1)}), tmp_path / "v.parquet")
    assert run_stage(stage) == ["v/00000", "v/00002"]


@pytest.mark.parametrize(
    ("table", "fields", "words"),
    [
        ({"value": [1]}, {}, "no column tells which sample a row belongs to"),
        ({"uid": ["0" * 32], "value": [1]}, {"by": "key"}, "cannot be told by 'key', which needs key"),
        ({"uid": ["0" * 32], "value": [1]}, {"columns": {"score": "valeu"}}, "Did you mean 'value'"),
        ({"uid": ["0" * 32], "error": ["x"]}, {}, "has a column 'error'"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, make_pool: Any, table: dict[str, Any], fields: dict[str, Any], words: str
) -> None:
    make_pool(tmp_path / "pool", (2,))
    pq.write_table(pa.table(table), tmp_path / "v.parquet")
    stage = attach(tmp_path / "pool", "v", "table", tmp_path / "v.parquet", **fields)
    try:
        (unit,) = stage.plan()
        error = perform(stage, unit).error
    except UserError as mistake:
        error = str(mistake)
    assert words in error


def test_arrays_that_do_not_belong_are_refused(tmp_path: Path, make_pool: Any) -> None:
    made = make_pool(tmp_path / "pool", (3,))
    pq.write_table(pa.table({"uid": made.uids}), tmp_path / "a.parquet")
    stage = attach(tmp_path / "pool", "dc", "datacomp_metadata", tmp_path / "a.parquet")
    (unit,) = stage.plan()
    np.savez(tmp_path / "a.npz", b32_img=np.zeros((2, 4), np.float16))
    assert "has 3 rows, 'b32_img' in the .npz beside it has 2" in perform(stage, unit).error
    np.savez(tmp_path / "a.npz", b32_img=np.array([{"code": "that would run"}] * 3, object))
    assert "cannot read 'b32_img'" in perform(stage, unit).error
    with pytest.raises(UserError, match="nothing to read"):
        attach(tmp_path / "pool", "dc", "clip_retrieval", tmp_path / "absent").plan()


def test_a_key_belongs_to_one_section(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"pool: {tmp_path}/pool\nrun_dir: {tmp_path}/run\nscore: {{scorers: {{caption_stats: {{}}}}}}\n"
        "attach: {sources: {caption_stats: {use: table, path: scores.csv}}}\n"
    )
    with pytest.raises(UserError, match="caption_stats"):
        RunConfig(path)
