import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny_pool import write_pool

from filters.pool_scorers.clusters import Clusters
from filters.pool_scorers.neg_clip_loss import NegClipLoss
from filters.strategy import Columns
from filters.subset import read_subset
from pipeline.config import RunConfig
from pipeline.engine.perform import perform
from pipeline.runner import run_stage as run_section
from pipeline.stage import Unit
from pipeline.stages.relate import Relate
from pipeline.stages.score import Score
from pipeline.stages.select import Select
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.openclip import create_clip
from winnow.storage import Store
from winnow.uid import from_hex, to_hex

TINY = "configs/models/winnow-tiny.json"
WIDTH = 6


def embedding(n: int) -> list[float]:
    return np.random.default_rng(n).standard_normal(WIDTH).tolist()  # type: ignore[no-any-return]


EMBEDDINGS = {"clip.image_embedding": embedding, "clip.text_embedding": lambda n: embedding(n + 1000)}
SCORERS = {
    "clusters": {"num_clusters": 3},
    "ncl": {"use": "neg_clip_loss", "batch_size": 16},
    "vas": {"use": "norm_sim"},
}


def stage(root: Path, scorers: dict[str, Any]) -> Relate:
    return Relate(pool=str(root / "pool"), run_dir=str(root / "run"), scorers=scorers)


def table(root: Path, key: str, shard: str) -> Any:
    return pq.read_table(root / "pool/columns" / key / f"{shard}.parquet")


def values(root: Path, key: str, column: str, shards: list[str]) -> dict[str, Any]:
    """Return uid -> value of all shards."""
    found = {}
    for shard in shards:
        rows = table(root, key, shard).to_pydict()
        found |= dict(zip(rows["uid"], rows[column], strict=True))
    return found


def test_every_shard_gets_the_columns_of_the_whole_pool(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    made = make_pool(tmp_path / "pool", (7, 5, 9), columns=EMBEDDINGS)
    assert run_stage(stage(tmp_path, SCORERS)) == ["clusters", "ncl", "vas"]
    pool = Columns(from_hex(made.uids), {name: np.array(v, np.float32) for name, v in made.columns.items()})
    expected = {"clusters": Clusters(num_clusters=3), "ncl": NegClipLoss(batch_size=16)}
    for key, scorer in expected.items():
        for name, column in scorer.score(pool).columns.items():
            found = [table(tmp_path, key, f"{shard:05d}") for shard in range(3)]
            assert [len(part) for part in found] == [7, 5, 9]
            assert [uid for part in found for uid in part["uid"].to_pylist()] == made.uids
            np.testing.assert_array_equal([v for part in found for v in part[name].to_pylist()], column)
            assert all(part["error"].null_count == len(part) for part in found)
    about = json.loads(table(tmp_path, "ncl", "00000").schema.metadata[b"winnow"])
    assert about["name"] == "ncl"
    assert about["scorer"] == "filters.pool_scorers.neg_clip_loss:NegClipLoss"
    assert about["fields"]["batch_size"] == 16


def test_columns_do_not_depend_on_how_the_pool_is_cut(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    found = []
    for index, sizes in enumerate([(60,), (20, 20, 20), (1, 50, 9)]):
        root = tmp_path / str(index)
        make_pool(root / "pool", sizes, columns=EMBEDDINGS)
        run_stage(stage(root, SCORERS))
        shards = [f"{shard:05d}" for shard in range(len(sizes))]
        found.append([values(root, "clusters", "id", shards), values(root, "ncl", "score", shards)])
        found[-1].append((root / "pool/columns/clusters/centroids.npy").read_bytes())
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) == 60


def test_rerun_does_nothing_and_a_change_reruns_what_it_affects(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", (7, 9), columns=EMBEDDINGS)
    scorers = {**SCORERS, "copies": {"use": "metaclip", "t": 5}}
    assert run_stage(stage(tmp_path, scorers)) == list(scorers)
    assert run_stage(stage(tmp_path, scorers)) == []
    scorers["clusters"] = {"num_clusters": 4}
    assert run_stage(stage(tmp_path, scorers)) == ["clusters"]
    (tmp_path / "pool/columns/ncl/00001.parquet").unlink()
    assert run_stage(stage(tmp_path, scorers)) == ["ncl"]
    (tmp_path / "pool/columns/clusters/centroids.npy").unlink()
    assert run_stage(stage(tmp_path, scorers)) == ["clusters"]
    # other embeddings in one shard change every shard's columns, and none of what reads captions
    make_pool(tmp_path / "pool", (7, 9), columns={**EMBEDDINGS, "clip.image_embedding": lambda n: embedding(n // 9)})
    assert run_stage(stage(tmp_path, scorers)) == list(SCORERS)


def test_only_the_missing_shards_are_written(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", (7, 9), columns=EMBEDDINGS)
    relate = stage(tmp_path, SCORERS)
    run_stage(relate)
    kept = tmp_path / "pool/columns/clusters/00000.parquet"
    before = kept.stat().st_mtime_ns, (tmp_path / "pool/columns/clusters/00001.parquet").read_bytes()
    unit = relate.plan()[0]
    one = Unit(name=unit.name, products={"score/clusters/00001": "key"}, spec=unit.spec)
    (row,) = perform(pickle.loads(pickle.dumps(relate)), one).rows
    assert list(row.files) == ["columns/clusters/00001.parquet"]
    assert (kept.stat().st_mtime_ns, (tmp_path / "pool/columns/clusters/00001.parquet").read_bytes()) == before


def test_rows_without_inputs_are_null_with_the_reason(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    """A NaN, a row that the scorer failed on, and a uid that comes again."""
    broken = {**EMBEDDINGS, "clip.image_embedding": lambda n: [math.nan, *embedding(n)[1:]] if n == 3 else embedding(n)}
    made = make_pool(tmp_path / "pool", (6, 6), columns=broken, number_of=lambda n: n % 8)
    path = tmp_path / "pool/columns/clip/00000.parquet"
    rows = pq.read_table(path)
    null = [*rows.slice(0, 5).to_pylist(), {"uid": rows["uid"][5].as_py(), "error": "cannot decode: bad picture"}]
    pq.write_table(rows.from_pylist(null, schema=rows.schema), path)
    run_stage(stage(tmp_path, {"clusters": {"num_clusters": 2}}))
    first, second = (table(tmp_path, "clusters", shard).to_pydict() for shard in ("00000", "00001"))
    assert [value is None for value in first["id"]] == [False, False, False, True, False, True]
    assert first["error"][3] == "no clip.image_embedding: the value is missing"
    assert first["error"][5] == "no clip.image_embedding: cannot decode: bad picture"
    assert second["error"][:2] == [None, None]
    assert all(error.startswith("duplicate uid") for error in second["error"][2:])
    counts = Journal(Store(tmp_path / "pool")).rows["score/clusters/00001"].counts
    assert counts == {"samples": 6, "failed": 4}
    good = [0, 1, 2, 4, 6, 7]
    vectors = np.array([embedding(n) for n in good], np.float32)
    pool = Columns(from_hex(made.uids[n] for n in good), {"clip.image_embedding": vectors})
    expected = Clusters(num_clusters=2).score(pool).columns["id"]
    assert [*first["id"], *second["id"]][:8] == [expected[good.index(n)] if n in good else None for n in range(8)]


def test_mistakes_are_said_before_anything_runs(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool", (7, 9), columns=EMBEDDINGS)

    def refused(**scorers: Any) -> str:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - a UserError, or pydantic's that wraps it
            stage(tmp_path, scorers).plan()
        return str(error.value)

    assert "unknown pool_scorer: 'cluster'. Did you mean 'clusters'" in refused(cluster={})
    assert "num_cluster" in refused(clusters={"num_cluster": 3})
    assert "reads phash.hash, but 2 of 2 shards have no columns of a scorer 'phash'" in refused(near_duplicates={})
    assert "unknown column: 'clip.embedding'" in refused(clusters={"embedding": "clip.embedding"})
    assert "unknown column: 'meta.sha256'" in refused(hash_multiplicity={})
    assert "a column of this stage" in refused(a={"use": "clusters", "embedding": "b.x"}, b={"use": "clusters"})
    (tmp_path / "pool/journal/score~clip~00001.json").unlink()
    assert "1 of 2 shards have no columns of a scorer 'clip'" in refused(clusters={})


def test_a_pool_without_any_input_is_refused(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool", (4,), columns={"clip.image_embedding": lambda n: [math.nan] * 3})
    relate = stage(tmp_path, {"clusters": {"num_clusters": 2}})
    outcome = perform(relate, relate.plan()[0])
    assert "no sample has what it needs" in outcome.error
    assert "clip.image_embedding" in outcome.error
    assert outcome.final


def test_a_worker_that_would_relate_otherwise_refuses(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool", (7,), columns=EMBEDDINGS)
    np.save(tmp_path / "target.npy", np.eye(6, dtype=np.float32))
    relate = stage(tmp_path, {"norm_sim": {"target": str(tmp_path / "target.npy"), "p": "inf"}})
    (unit,) = relate.plan()
    np.save(tmp_path / "target.npy", 2 * np.eye(6, dtype=np.float32))
    assert "other columns here than planned" in perform(relate, unit).error


def test_score_relate_and_select_share_a_pool(tmp_path: Path) -> None:
    """The real thing: a CLIP scores pictures, pool scorers relate what it found, strategies read both."""
    write_pool(tmp_path / "pool", num_shards=3, samples_per_shard=5)
    checkpoint = tmp_path / "model.pt"
    torch.manual_seed(0)
    torch.save(create_clip(TINY).state_dict(), checkpoint)
    text = f"""
pool: {tmp_path}/pool
run_dir: {tmp_path}/run
executor: {{use: inline}}
score:
  scorers:
    clip: {{model: {TINY}, pretrained: {checkpoint}, precision: fp32}}
    caption_stats: {{}}
    phash: {{}}
relate:
  scorers:
    neg_clip_loss: {{}}
    clusters: {{num_clusters: 3}}
    near_duplicates: {{}}
    hash_multiplicity: {{}}
    metaclip: {{t: 3}}
    leaks: {{use: norm_sim, p: .inf, target: {{path: {tmp_path}/pool/shards, model: {TINY}, pretrained: {checkpoint}}}}}
select:
  strategies:
    best: {{use: clip_score, score: neg_clip_loss.score, fraction: 0.5}}
"""
    (tmp_path / "run.yaml").write_text(text)
    config = RunConfig(tmp_path / "run.yaml")
    for name in ("score", "relate", "select"):
        assert not run_section(config, name).quarantined
    scores = values(tmp_path, "neg_clip_loss", "score", ["00000", "00001", "00002"])
    best = sorted(scores, key=lambda uid: -scores[uid])[:6]
    assert to_hex(read_subset((tmp_path / "run/subsets/best.npy").read_bytes())) == sorted(best)
    leaks = values(tmp_path, "leaks", "score", ["00000", "00001", "00002"])
    assert min(leaks.values()) > 0.99, "every picture is in the target set"
    # neither stage retires what the other made
    rows = set(Journal(Store(tmp_path / "pool")).rows)
    for name in ("score", "relate", "score"):
        assert run_section(config, name).done == 0
    assert set(Journal(Store(tmp_path / "pool")).rows) == rows
    assert len(rows) == 3 * 9


def test_removed_scorers_keep_their_columns(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", (7,), columns=EMBEDDINGS)
    assert stage(tmp_path, SCORERS).scope() == ("score/clusters/", "score/ncl/", "score/vas/")
    assert Score(pool="p", run_dir="r", scorers={"caption_stats": {}}).scope() == ("score/caption_stats/",)
    run_stage(stage(tmp_path, SCORERS))
    assert run_stage(stage(tmp_path, {"vas": SCORERS["vas"]})) == []
    assert Select(
        pool=str(tmp_path / "pool"),
        run_dir=str(tmp_path),
        strategies={"a": {"use": "neg_clip_loss", "score": "ncl.score"}},
    ).plan()


def test_a_key_in_both_sections_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    sections = "score: {scorers: {same: {use: caption_stats}}}\nrelate: {scorers: {same: {use: metaclip, t: 3}}}\n"
    path.write_text(f"pool: {tmp_path}/pool\nrun_dir: {tmp_path}/run\n{sections}")
    with pytest.raises(UserError, match=r"`score` and `relate` both make 'score/same/'.*another key"):
        RunConfig(path)
