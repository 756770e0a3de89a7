import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
import torch
from tiny_pool import write_pool

from filters.scorer import Batch, Scorer
from pipeline.engine.perform import Outcome, perform
from pipeline.stage import Unit
from pipeline.stages.score import Score
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.openclip import create_clip
from winnow.shards import ShardWriter
from winnow.storage import Store
from winnow.uid import make_uid

TINY = "configs/models/winnow-tiny.json"


class Picky(Scorer):
    """Column `length`; raises for batches that hold one of the captions in `hates`."""

    wants_images: ClassVar[bool] = False
    hates: tuple[str, ...] = ()
    version: str = "1"

    def identity(self) -> Mapping[str, str]:
        return {"version": self.version}

    def score(self, batch: Batch) -> Mapping[str, Any]:
        for caption in batch.captions:
            if any(word in caption for word in self.hates):
                raise RuntimeError(f"I hate {caption!r}")
        return {"length": [str(len(caption)) for caption in batch.captions]}


class Echo(Scorer):
    """Column `twice`: what `first` found, twice."""

    wants_images: ClassVar[bool] = False
    first: str = "picky"

    def needs(self) -> tuple[str, ...]:
        return (self.first,)

    def score(self, batch: Batch) -> Mapping[str, Any]:
        return {"twice": [value * 2 for value in batch.columns[f"{self.first}.length"]]}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a config name the scorers of this module."""
    import sys

    module = type(sys)("score_test_scorers")
    module.Picky, module.Echo = Picky, Echo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "score_test_scorers", module)


def picky(**fields: Any) -> dict[str, Any]:
    return {"use": "score_test_scorers:Picky", **fields}


ECHO = {"use": "score_test_scorers:Echo"}


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    write_pool(tmp_path / "pool", num_shards=2, samples_per_shard=6)
    return tmp_path / "pool"


def stage(pool: Path, scorers: dict[str, Any], **fields: Any) -> Score:
    return Score(pool=str(pool), run_dir=str(pool.parent / "run"), scorers=scorers, **fields)


def run(stage: Score) -> list[Outcome]:
    """Do what the driver does: plan, perform what is missing, journal it."""
    journal, outcomes = Journal(stage.store), []
    for unit in stage.plan():
        missing = {p: k for p, k in unit.products.items() if not journal.done(p, k)}
        if missing:
            outcomes.append(perform(stage, Unit(name=unit.name, products=missing, spec=unit.spec)))
            for row in outcomes[-1].rows:
                journal.append(row)
    return outcomes


def columns(pool: Path, scorer: str, shard: str = "00000") -> Any:
    return pq.read_table(pool / "columns" / scorer / f"{shard}.parquet")


def made(outcomes: list[Outcome]) -> list[str]:
    assert not [outcome.detail or outcome.error for outcome in outcomes if outcome.error]
    return [row.product for outcome in outcomes for row in outcome.rows]


def test_the_whole_family_scores_a_pool(pool: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    torch.save(create_clip(TINY).state_dict(), checkpoint)
    clip = {"model": TINY, "pretrained": str(checkpoint), "precision": "fp32", "threads": 2}
    scorers = {
        "masked": {"use": "masked_clip", "clip": "b32", "boxes": "text"},  # needs those below: the order is found
        "b32": {"use": "clip", **clip},
        "text": {"use": "text_boxes", "detector": {"use": "ppocr", "threads": 2}},
        "language": {},
        "caption_stats": {},
        "image_stats": {},
    }
    assert len(made(run(stage(pool, scorers, batch_size=2)))) == 12
    samples = pq.read_table(pool / "shards" / "00000.parquet").to_pylist()
    uids = [row["uid"] for row in samples if row["status"] == "success"]
    for key in scorers:
        table = columns(pool, key)
        assert table["uid"].to_pylist() == uids
        assert table["error"].null_count == len(uids)
        assert json.loads(table.schema.metadata[b"winnow"])["name"] == key
    plain, masked = (columns(pool, key)["similarity"].to_pylist() for key in ("b32", "masked"))
    for row, num_boxes in enumerate(columns(pool, "text")["num_boxes"].to_pylist()):
        assert num_boxes > 0 or masked[row] == plain[row]
    identity = json.loads(columns(pool, "b32").schema.metadata[b"winnow"])["identity"]
    assert identity["weights"].startswith("sha256:")
    assert run(stage(pool, scorers, batch_size=2)) == []


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_columns_do_not_depend_on_the_batch_size(pool: Path, batch_size: int) -> None:
    run(stage(pool, {"image_stats": {}, "caption_stats": {}}, batch_size=batch_size))
    found = [columns(pool, key).to_pylist() for key in ("image_stats", "caption_stats")]
    for key in ("image_stats", "caption_stats"):
        (pool / "columns" / key / "00000.parquet").unlink()
    run(stage(pool, {"image_stats": {}, "caption_stats": {}}, batch_size=5))
    assert [columns(pool, key).to_pylist() for key in ("image_stats", "caption_stats")] == found


def test_a_changed_scorer_reruns_itself_and_what_needs_it(pool: Path) -> None:
    scorers = {"picky": picky(), "echo": ECHO, "caption_stats": {}}
    assert len(made(run(stage(pool, scorers)))) == 6
    scorers["picky"] = picky(version="2")
    assert made(run(stage(pool, scorers))) == [
        "score/picky/00000",
        "score/echo/00000",
        "score/picky/00001",
        "score/echo/00001",
    ]


def test_a_missing_scorer_reads_what_it_needs_from_disk(pool: Path) -> None:
    run(stage(pool, {"picky": picky(hates=("number 2",))}))
    assert made(run(stage(pool, {"picky": picky(hates=("number 2",)), "echo": ECHO}))) == [
        "score/echo/00000",
        "score/echo/00001",
    ]
    table = columns(pool, "echo")
    lengths = columns(pool, "picky")["length"].to_pylist()
    assert table["twice"].to_pylist() == [None if v is None else v * 2 for v in lengths]
    assert table["error"].to_pylist()[2].startswith("no picky: RuntimeError: I hate")


@pytest.mark.parametrize("batch_size", [1, 64])
def test_a_sample_that_breaks_a_scorer_is_isolated(pool: Path, batch_size: int) -> None:
    (first, _) = run(stage(pool, {"picky": picky(hates=("number 2",)), "echo": ECHO}, batch_size=batch_size))
    table = columns(pool, "picky")
    assert [value is None for value in table["length"].to_pylist()] == [False, False, True, False, False]
    assert "I hate" in table["error"].to_pylist()[2]
    assert columns(pool, "echo")["twice"].null_count == 1
    assert {row.product: dict(row.counts) for row in first.rows}["score/picky/00000"] == {"samples": 5, "failed": 1}


def test_a_scorer_that_fails_on_everything_fails_the_unit(pool: Path) -> None:
    outcomes = run(stage(pool, {"picky": picky(hates=("picture",))}))
    assert ["I hate" in outcome.error for outcome in outcomes] == [True, True]
    assert not (pool / "columns").exists()


def test_a_broken_picture_is_a_null_row_with_its_reason(pool: Path) -> None:
    tar = pool / "shards" / "00000.tar"
    with tar.open("wb") as file:
        writer = ShardWriter(file)
        writer.write("0", {"jpg": b"no picture at all", "txt": b"one", "json": b'{"uid": "%s"}' % (b"a" * 32)})
        writer.write("1", {"txt": b"two", "json": json.dumps({"url": "http://x.test/1"}).encode()})
        writer.close()
    made(run(stage(pool, {"image_stats": {}, "caption_stats": {}})))
    table = columns(pool, "image_stats")
    assert table["uid"].to_pylist() == ["a" * 32, make_uid("http://x.test/1", "two")]
    assert table["width"].to_pylist() == [None, None]
    assert table["error"].to_pylist() == ["not a picture: no known image format", "no picture in the sample"]
    assert columns(pool, "caption_stats")["num_chars"].to_pylist() == [3, 3]  # the caption is fine


def test_an_empty_shard_gives_an_empty_file_with_all_columns(pool: Path) -> None:
    with (pool / "shards" / "00000.tar").open("wb") as file:
        ShardWriter(file).close()
    made(run(stage(pool, {"image_stats": {}})))
    empty, full = columns(pool, "image_stats"), columns(pool, "image_stats", "00001")
    assert empty.num_rows == 0
    assert empty.schema == full.schema


def test_a_truncated_shard_is_an_error_and_leaves_nothing(pool: Path) -> None:
    tar = pool / "shards" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:-3000])
    first, second = run(stage(pool, {"image_stats": {}}))
    assert "cut short" in first.error
    assert second.error == ""
    assert not (pool / "columns" / "image_stats" / "00000.parquet").exists()


def test_only_configured_scorers_are_owned(pool: Path) -> None:
    assert stage(pool, {"language": {}, "b32": {"use": "clip"}}).scope() == ("score/language/", "score/b32/")


def test_wrong_needs_are_said_before_anything_runs(pool: Path) -> None:
    with pytest.raises(ValueError, match=r"score\.scorers\.echo: unknown scorer it needs: 'picky'"):
        stage(pool, {"echo": ECHO})
    with pytest.raises(ValueError, match="echo -> other -> echo"):
        stage(pool, {"echo": {**ECHO, "first": "other"}, "other": {**ECHO, "first": "echo"}})
    with pytest.raises(UserError, match="winnow filternet"):
        stage(pool, {"clip": {"model": TINY, "pretrained": str(pool / "none.pt")}}).plan()


def test_a_worker_that_would_score_otherwise_refuses(pool: Path) -> None:
    planned = stage(pool, {"picky": picky()}).plan()
    other = stage(pool, {"picky": picky(version="2")})
    assert "other columns here than planned" in perform(other, planned[0]).error


def test_the_stage_travels_to_workers(pool: Path) -> None:
    here = stage(pool, {"caption_stats": {}, "image_stats": {}})
    units = here.plan()
    outcome = perform(pickle.loads(pickle.dumps(here)), pickle.loads(pickle.dumps(units[0])))
    assert made([outcome]) == ["score/caption_stats/00000", "score/image_stats/00000"]
    assert Store(pool).exists("columns/image_stats/00000.parquet")
