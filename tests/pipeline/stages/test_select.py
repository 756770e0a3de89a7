import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.strategies.basic import Basic
from filters.subset import read_subset
from pipeline.stages.reshard import Reshard
from pipeline.stages.select import Select
from winnow.columns import ColumnWriter
from winnow.component import build
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store
from winnow.uid import from_hex, make_uid, to_hex
from winnow.verdicts import read_verdicts

CLIP: dict[str, Callable[[int], Any]] = {"clip.similarity": lambda n: math.nan if n % 10 == 9 else (n * 7 % 20) / 40}
ALL = {
    **CLIP,
    "masked_clip.similarity": lambda n: (n * 7 % 20) / 40 - (n % 2) / 10,
    "language.language": lambda n: "de" if n % 4 == 0 else "en",
}


def stage(root: Path, **strategies: dict[str, Any]) -> Select:
    return Select(pool=str(root / "pool"), run_dir=str(root / "run"), strategies=strategies)


def subset(root: Path, name: str) -> list[str]:
    return to_hex(read_subset((root / "run/subsets" / f"{name}.npy").read_bytes()))


def reasons(root: Path, name: str) -> dict[str, list[Any]]:
    return pq.read_table(root / "run/subsets" / f"{name}.parquet").to_pydict()


def test_subset_and_reasons_for_every_sample_in_pool_order(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    made = make_pool(tmp_path / "pool", columns=ALL)
    assert run_stage(stage(tmp_path, no_filter={}, mine={"use": "clip_score", "threshold": 0.2}, basic={})) == [
        "no_filter",
        "mine",
        "basic",
    ]
    assert subset(tmp_path, "no_filter") == sorted(made.uids)
    high = [score >= 0.2 for score in made.columns["clip.similarity"]]
    assert subset(tmp_path, "mine") == sorted(uid for uid, yes in zip(made.uids, high, strict=True) if yes)
    table = reasons(tmp_path, "mine")
    assert to_hex(read_verdicts(Store(tmp_path / "run"), "mine").uids(Store(tmp_path / "pool"))) == made.uids
    assert table["count"] == [int(yes) for yes in high]
    assert [reason == "" for reason in table["reason"]] == high
    assert table["shard"] == ["00000"] * 7 + ["00002"] * 5 + ["00003"] * 9
    languages = reasons(tmp_path, "basic")["reason"]
    assert languages.count("language.language is not en") == made.columns["language.language"].count("de")
    assert {"", "original size unknown", "shorter side under 200 px"} < set(languages)
    # a DataComp user's view of the file
    theirs = np.load(tmp_path / "run/subsets/mine.npy")
    np.testing.assert_array_equal(theirs, np.sort(from_hex(subset(tmp_path, "mine"))))


def test_counts_of_the_journal_are_those_of_the_files(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    made = make_pool(tmp_path / "pool", columns=CLIP)
    run_stage(stage(tmp_path, clip_score={"threshold": 0.2}))
    counts = Journal(Store(tmp_path / "run")).rows["select/clip_score"].counts
    table = reasons(tmp_path, "clip_score")
    assert counts["samples"] == len(made.uids) == 21
    assert counts["kept"] == sum(table["count"])
    assert counts["dropped: clip.similarity missing"] == table["reason"].count("clip.similarity missing") == 2
    assert counts["samples"] == counts["kept"] + sum(n for name, n in counts.items() if name.startswith("dropped"))


def test_the_subset_does_not_depend_on_how_the_pool_is_cut(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    strategies = {
        "clip_score": {"fraction": 0.3},
        "random": {"use": "random_subset", "same_size_as": "tmars"},
        "tmars": {"fraction": 0.5},
        "both": {"use": "all_of", "of": [{"use": "clip_score", "fraction": 0.6}, "tmars"]},
    }
    files = []
    for index, sizes in enumerate([(60,), (20, 20, 20), (1, 0, 50, 9)]):
        root = tmp_path / str(index)
        make_pool(root / "pool", sizes, columns=ALL)
        run_stage(stage(root, **strategies))
        files.append({name: (root / "run/subsets" / f"{name}.npy").read_bytes() for name in strategies})
    assert files[0] == files[1] == files[2]
    assert len(read_subset(files[0]["clip_score"])) == 18
    assert len(read_subset(files[0]["random"])) == len(read_subset(files[0]["tmars"])) > 0


def test_rerun_does_nothing_and_a_change_reruns_what_it_affects(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    columns = ALL
    make_pool(tmp_path / "pool", columns=columns)
    strategies: dict[str, Any] = {
        "no_filter": {},
        "clip_score": {"fraction": 0.3},
        "random": {"use": "random_subset", "same_size_as": "clip_score"},
        "language": {
            "use": "laion2b",
            "threshold": -1,
            "score": "masked_clip.similarity",
            "language_column": "language.language",
        },
    }
    assert run_stage(stage(tmp_path, **strategies)) == list(strategies)
    assert run_stage(stage(tmp_path, **strategies)) == []
    strategies["clip_score"] = {"fraction": 0.4}
    assert run_stage(stage(tmp_path, **strategies)) == ["clip_score", "random"]
    # other scores of one scorer on one shard
    changed = columns | {"masked_clip.similarity": lambda n: n / 100}
    make_pool(tmp_path / "pool", columns=changed)
    assert run_stage(stage(tmp_path, **strategies)) == ["language"]
    (tmp_path / "run/subsets/no_filter.npy").unlink()
    assert run_stage(stage(tmp_path, **strategies)) == ["no_filter"]


def test_a_repeated_uid_is_judged_once_at_its_first_place(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    made = make_pool(tmp_path / "pool", (6, 6), columns=CLIP, number_of=lambda n: n % 8)
    run_stage(stage(tmp_path, no_filter={}, half={"use": "random_subset", "fraction": 0.5}))
    assert subset(tmp_path, "no_filter") == sorted(set(made.uids))
    table = reasons(tmp_path, "no_filter")
    assert table["reason"] == [""] * 8 + ["duplicate uid"] * 4
    assert table["count"] == [1] * 8 + [0] * 4
    assert len(subset(tmp_path, "half")) == 4


def test_a_pool_without_uids_gets_them_from_url_and_caption(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", (5,), with_uids=False)
    run_stage(stage(tmp_path, no_filter={}))
    expected = [make_uid(f"http://pictures/{n}", f"a caption of picture {n}") for n in range(5)]
    assert subset(tmp_path, "no_filter") == sorted(expected)


def test_an_empty_pool_and_a_strategy_that_keeps_nothing(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", (0, 4), columns=CLIP)
    run_stage(stage(tmp_path, none={"use": "clip_score", "threshold": 9.0}))
    assert subset(tmp_path, "none") == []
    make_pool(tmp_path / "other/pool", (0, 0), columns=CLIP)
    run_stage(stage(tmp_path / "other", clip_score={}, no_filter={}))
    assert subset(tmp_path / "other", "no_filter") == subset(tmp_path / "other", "clip_score") == []


def test_a_strategy_that_keeps_nothing_is_named_with_the_reason(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", columns=CLIP)
    one = stage(tmp_path, none={"use": "clip_score", "threshold": 9.0}, no_filter={})
    assert one.remarks() == [], "nothing is made yet"
    run_stage(one)
    (line,) = one.remarks()
    assert line.startswith("`none` keeps no sample of 21, most for: clip.similarity below 9")


def test_a_pool_of_metadata_alone_is_selected_by_the_scores_it_came_with(tmp_path: Path, run_stage: Any) -> None:
    """DataComp's metadata before any download, and a column file attached to one of them."""
    (tmp_path / "pool/metadata").mkdir(parents=True)
    rng = np.random.default_rng(0)
    score, uids = rng.random(40).astype(np.float32), [rng.bytes(16).hex() for _ in range(40)]
    for part, rows in enumerate((slice(0, 30), slice(30, 40))):
        table = {
            "uid": uids[rows],
            "text": ["one two three"] * len(uids[rows]),
            "clip_l14_similarity_score": score[rows],
        }
        pq.write_table(pa.table(table), tmp_path / f"pool/metadata/{part:05d}.parquet")
        writer = ColumnWriter()
        writer.add(range(len(uids[rows])), {"hit": score[rows] < 0.9})
        name = f"columns/mine/{part:05d}.parquet"
        (tmp_path / "pool/columns/mine").mkdir(parents=True, exist_ok=True)
        writer.write(tmp_path / "pool" / name, uids[rows], {})
        row = Row(product=f"score/mine/{part:05d}", key="made", files={name: (1, "a" * 64)})
        Journal(Store(tmp_path / "pool")).append(row)
    best = {"use": "clip_score", "score": "meta.clip_l14_similarity_score", "fraction": 0.25}
    rest = {"use": "image_based", "language_column": "meta.text", "language": "one two three", "hit": "mine.hit"}
    strategies = {"best": best, "rest": rest, "absent": {"use": "clip_score", "score": "meta.clip_b32"}}
    with pytest.raises(UserError, match=r"meta\.clip_b32.*Did you mean 'meta\.clip_l14|unknown column"):
        stage(tmp_path, **strategies).plan()
    del strategies["absent"]
    run_stage(stage(tmp_path, **strategies))
    assert subset(tmp_path, "best") == sorted(uids[row] for row in np.argsort(-score)[:10])
    assert subset(tmp_path, "rest") == sorted(uid for uid, value in zip(uids, score, strict=True) if value < 0.9)
    assert reasons(tmp_path, "best")["shard"] == ["00000"] * 30 + ["00001"] * 10
    with pytest.raises(UserError, match="metadata alone"):
        Reshard(pool=str(tmp_path / "pool"), run_dir=str(tmp_path / "run")).plan()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"use": "tmars"},
            r"'tmars'|'mine' reads the column 'masked_clip\.similarity'.*`masked_clip: \{\.\.\.\}` under",
        ),
        ({"use": "clip_score", "score": "clip.similarty"}, r"Did you mean 'clip\.similarity'"),
        ({"use": "clip_score", "score": "meta.original_with"}, r"Did you mean 'meta\.original_width'"),
        ({"use": "clip_score", "score": "truth.category"}, r"none of a scorer 'truth' \(it has: clip\)"),
        ({"use": "clip_score", "score": "category"}, "none of a scorer 'category'"),
        ({"use": "clip_score", "score": "clip.error"}, "unknown column: 'clip.error'"),
        ({"use": "clip_score", "score": "../truth.category"}, "none of a scorer"),
        ({"use": "text_match"}, r"reads the column 'ocr\.text'.*add `ocr: \{\.\.\.\}` under `score\.scorers`"),
    ],
)
def test_columns_that_may_not_or_cannot_be_read(
    tmp_path: Path, make_pool: Any, fields: dict[str, Any], message: str
) -> None:
    make_pool(tmp_path / "pool", columns=CLIP)
    (tmp_path / "pool/truth.parquet").write_bytes((tmp_path / "pool/shards/00000.parquet").read_bytes())
    with pytest.raises(UserError, match=message):
        stage(tmp_path, mine=fields).plan()


def test_an_unscored_shard_is_named(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool", columns=CLIP)
    (tmp_path / "pool/journal/score~clip~00002.json").unlink()
    with pytest.raises(UserError, match=r"'00002' is not scored yet; run `winnow score`"):
        stage(tmp_path, clip_score={}).plan()


def test_columns_of_other_samples_are_refused(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool", columns=CLIP)
    name = tmp_path / "pool/columns/clip/00002.parquet"
    table = pq.read_table(name)
    pq.write_table(table.take(list(reversed(range(table.num_rows)))), name)
    select = stage(tmp_path, clip_score={})
    with pytest.raises(UserError, match=r"holds other samples than 'shards/00002\.parquet'"):
        select.run(select.plan()[0], tmp_path)


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        ({}, "key `select`: name at least one strategy"),
        ({"a" * 111: {"use": "no_filter"}}, "too long"),
        ({"basik": {}}, "Did you mean 'basic'"),
        ({"basic": {"min_sid": 3}}, r"select\.strategies\.basic\.min_sid.*Did you mean 'min_side'"),
    ],
)
def test_mistakes_are_found_when_the_config_is_read(strategies: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("pipeline.stages", {"pool": "p", "run_dir": "r", "strategies": strategies}, "select")


def test_it_reads_only_the_columns_it_needs(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    """A column file that is no parquet hurts only the strategy that reads it."""
    make_pool(tmp_path / "pool", columns=ALL)
    for shard in range(4):
        (tmp_path / f"pool/columns/language/{shard:05d}.parquet").write_bytes(b"no parquet")
    run_stage(stage(tmp_path, clip_score={}, no_filter={}))
    with pytest.raises(Exception, match=r"[Pp]arquet"):
        run_stage(stage(tmp_path, basic={}))
    assert "language.language" in Basic().needs()


def test_output_is_the_same_bytes_again(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool", columns=CLIP)
    select = stage(tmp_path, clip_score={})
    files = []
    for attempt in ("one", "two"):
        (tmp_path / attempt).mkdir()
        product = select.run(select.plan()[0], tmp_path / attempt)["select/clip_score"]
        files.append({name: path.read_bytes() for name, path in product.files.items()})
    assert files[0] == files[1]
    assert pq.read_schema(io.BytesIO(files[0]["subsets/clip_score.parquet"])).names == ["count", "reason", "shard"]
