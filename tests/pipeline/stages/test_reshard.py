import hashlib
import itertools
import json
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters.strategy import Columns, Strategy, Verdict
from pipeline.engine.perform import perform
from pipeline.stages import reshard as module
from pipeline.stages._hash_behind import HashBehind
from pipeline.stages.reshard import Reshard, _apart, _order, _source
from pipeline.stages.select import Select
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.shards import read_shard
from winnow.storage import Store


class Repeat(Strategy):
    """Keep every sample as often as the last two bits of its uid say."""

    def judge(self, columns: Columns) -> Verdict:
        count = (columns.uids["f1"] % np.uint64(4)).astype(np.uint16)
        return Verdict.of_counts(count, "zero")


def select(root: Path, **strategies: dict[str, Any]) -> Select:
    return Select(pool=str(root / "pool"), run_dir=str(root / "run"), strategies=strategies)


def reshard(root: Path, **fields: Any) -> Reshard:
    return Reshard(pool=str(root / "pool"), run_dir=str(root / "run"), **fields)


@pytest.fixture
def repeat(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the config entry of Repeat; test modules have no import path of their own."""
    module = types.ModuleType("strategies_of_the_test")
    module.Repeat = Repeat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return {"use": "strategies_of_the_test:Repeat"}


def samples(root: Path, subset: str) -> list[tuple[str, dict[str, bytes]]]:
    found = []
    for path in sorted((root / "run/shards" / subset).glob("*.tar")):
        with path.open("rb") as file:
            found += [(sample.key, sample.members) for sample in read_shard(file, path.name)]
    return found


def files(root: Path) -> dict[str, bytes]:
    top = root / "run/shards"
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def test_every_copy_is_there_once_with_its_own_bytes(
    tmp_path: Path, make_pool: Any, run_stage: Any, repeat: dict[str, Any]
) -> None:
    made = make_pool(tmp_path / "pool", (17, 0, 30, 23))
    run_stage(select(tmp_path, mine=repeat))
    expected = {f"{uid}-{j}": made.members[n] for n, uid in enumerate(made.uids) for j in range(int(uid[-1], 16) % 4)}
    run_stage(reshard(tmp_path, samples_per_shard=11))
    found = samples(tmp_path, "mine")
    assert dict(found) == expected
    assert len(found) == len(expected)
    stats = [json.loads(path.read_text()) for path in sorted((tmp_path / "run/shards/mine").glob("*_stats.json"))]
    assert [each["successes"] for each in stats[:-1]] == [11] * (len(stats) - 1)
    assert sum(each["successes"] for each in stats) == len(expected)
    tables = [pq.read_table(path) for path in sorted((tmp_path / "run/shards/mine").glob("*.parquet"))]
    keys = [key for table in tables for key in table["key"].to_pylist()]
    assert keys == [key for key, _ in found]
    assert [key[:32] for key in keys] == [uid for table in tables for uid in table["uid"].to_pylist()]
    for table in tables:
        for row in table.to_pylist():
            with (tmp_path / "pool/shards" / f"{row['source']}.tar").open("rb") as file:
                assert expected[row["key"]] in [sample.members for sample in read_shard(file)]


def test_plain_webdataset_reads_the_shards(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    made = make_pool(tmp_path / "pool", (8, 5))
    run_stage(select(tmp_path, no_filter={}))
    run_stage(reshard(tmp_path, samples_per_shard=5))
    paths = [str(path) for path in sorted((tmp_path / "run/shards/no_filter").glob("*.tar"))]
    assert [Path(path).name for path in paths] == ["00000000.tar", "00000001.tar", "00000002.tar"]
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(paths, shardshuffle=False)}
    assert sorted(read) == sorted(f"{uid}-0" for uid in made.uids)
    for uid, members in zip(made.uids, made.members, strict=True):
        assert {suffix: read[f"{uid}-0"][suffix] for suffix in members} == members
        assert json.loads(read[f"{uid}-0"]["json"])["uid"] == uid


def test_bytes_do_not_depend_on_the_order_of_units_or_what_a_worker_remembers(
    tmp_path: Path, make_pool: Any, run_stage: Any, repeat: dict[str, Any]
) -> None:
    make_pool(tmp_path / "pool", (20, 20))
    run_stage(select(tmp_path, mine=repeat, no_filter={}))
    stage = reshard(tmp_path, samples_per_shard=9)
    run_stage(stage)
    before = files(tmp_path)
    for unit in reversed(stage.plan()):
        _order.cache_clear()
        _source.cache_clear()
        assert not perform(stage, unit).error
    assert files(tmp_path) == before


def test_the_order_is_global_and_depends_on_uid_and_seed_alone(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    orders = []
    for index, (sizes, shuffled) in enumerate([((50, 50), False), ((30, 0, 70), False), ((100,), True)]):
        root = tmp_path / str(index)
        places = np.random.default_rng(0).permutation(100).tolist()
        make_pool(root / "pool", sizes, number_of=(lambda n, p=places: p[n]) if shuffled else (lambda n: n))
        run_stage(select(root, no_filter={}))
        run_stage(reshard(root, samples_per_shard=40))
        orders.append([key for key, _ in samples(root, "no_filter")])
    assert orders[0] == orders[1] == orders[2]
    run_stage(reshard(tmp_path / "0", samples_per_shard=40, seed=1))
    assert (other := [key for key, _ in samples(tmp_path / "0", "no_filter")]) != orders[0]
    assert sorted(other) == sorted(orders[0])
    # every output shard draws from both halves of the pool: 40 of 100, 20 from each in the mean, deviation 2.5
    for path in (tmp_path / "0/run/shards/no_filter").glob("*.parquet"):
        table = pq.read_table(path)
        share = Counter(table["source"].to_pylist())["00000"] / table.num_rows
        assert 0.2 < share < 0.8


def test_copies_stand_apart(tmp_path: Path, make_pool: Any, run_stage: Any, repeat: dict[str, Any]) -> None:
    make_pool(tmp_path / "pool", (150,))
    run_stage(select(tmp_path, mine=repeat))
    run_stage(reshard(tmp_path))
    uids = [key[:32] for key, _ in samples(tmp_path, "mine")]
    assert all(first != then for first, then in itertools.pairwise(uids))
    places: dict[str, list[int]] = {}
    for place, uid in enumerate(uids):
        places.setdefault(uid, []).append(place)
    for found in places.values():
        for gap in np.diff(found):
            # copies are 1/m of the subset apart, but for the unevenness of the hashes between them
            assert abs(gap / len(uids) - 1 / len(found)) < 0.12


@given(st.lists(st.integers(0, 4), max_size=14))
def test_apart_is_a_permutation_that_parts_neighbours(values: list[int]) -> None:
    identity = np.array(values, dtype=np.int64)
    order = _apart(identity)
    assert sorted(order.tolist()) == list(range(len(values)))

    def clashes(items: Any) -> int:
        return sum(first == then for first, then in itertools.pairwise(items))

    assert clashes(identity[order].tolist()) <= clashes(values)
    if clashes(values) == 0:
        assert order.tolist() == list(range(len(values)))


def test_resume_writes_what_is_missing_and_a_change_what_it_affects(
    tmp_path: Path, make_pool: Any, run_stage: Any
) -> None:
    columns = {"clip.similarity": lambda n: n % 10 / 10}
    make_pool(tmp_path / "pool", (20, 10), columns=columns)
    strategies = {"no_filter": {}, "clip_score": {"threshold": 0.5}}
    run_stage(select(tmp_path, **strategies))
    stage = reshard(tmp_path, samples_per_shard=10)
    assert run_stage(stage) == [f"clip_score/{n:08d}" for n in range(2)] + [f"no_filter/{n:08d}" for n in range(3)]
    assert run_stage(stage) == []
    before = files(tmp_path)
    (tmp_path / "run/shards/no_filter/00000001.tar").unlink()
    assert run_stage(stage) == ["no_filter/00000001"]
    assert files(tmp_path) == before
    run_stage(select(tmp_path, **strategies | {"clip_score": {"threshold": 0.7}}))
    assert run_stage(stage) == ["clip_score/00000000"]
    assert len(samples(tmp_path, "clip_score")) >= 9
    assert Journal(Store(tmp_path / "run")).rows["reshard/clip_score/00000000"].counts["samples"] == 9


def test_only_the_named_strategies(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool")
    run_stage(select(tmp_path, no_filter={}, half={"use": "random_subset", "fraction": 0.5}))
    assert run_stage(reshard(tmp_path, strategies=["half"])) == ["half/00000000"]
    with pytest.raises(UserError, match=r"reshard\.strategies`: 'halv'\. Did you mean 'half'"):
        reshard(tmp_path, strategies=["halv"]).plan()


def test_an_empty_subset_is_one_empty_shard(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool")
    run_stage(select(tmp_path, none={"use": "random_subset", "fraction": 0.0}))
    assert run_stage(reshard(tmp_path)) == ["none/00000000"]
    assert samples(tmp_path, "none") == []
    assert json.loads((tmp_path / "run/shards/none/00000000_stats.json").read_text())["successes"] == 0


def test_duplicates_and_pools_without_uids(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    made = make_pool(tmp_path / "pool", (6, 6), number_of=lambda n: n % 8)
    run_stage(select(tmp_path, no_filter={}))
    run_stage(reshard(tmp_path))
    assert sorted(key for key, _ in samples(tmp_path, "no_filter")) == sorted({f"{uid}-0" for uid in made.uids})
    made = make_pool(tmp_path / "bare/pool", (6,), with_uids=False)
    run_stage(select(tmp_path / "bare", no_filter={}))
    run_stage(reshard(tmp_path / "bare"))
    written = [members for _, members in samples(tmp_path / "bare", "no_filter")]
    assert sorted(members["jpg"] for members in written) == sorted(members["jpg"] for members in made.members)


def test_tars_of_other_writers_with_long_headers(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    """The writer of webdataset puts a PAX header before every member."""
    made = make_pool(tmp_path / "pool", (6, 4))
    for tar in (tmp_path / "pool/shards").glob("*.tar"):
        with tar.open("rb") as file:
            kept = [(sample.key, sample.members) for sample in read_shard(file)]
        with webdataset.TarWriter(str(tar)) as writer:
            for key, members in kept:
                writer.write({"__key__": key, **members})
    run_stage(select(tmp_path, no_filter={}))
    run_stage(reshard(tmp_path))
    expected = {f"{uid}-0": members for uid, members in zip(made.uids, made.members, strict=True)}
    assert dict(samples(tmp_path, "no_filter")) == expected


def test_without_subsets_the_error_names_the_command(tmp_path: Path, make_pool: Any) -> None:
    make_pool(tmp_path / "pool")
    with pytest.raises(UserError, match="run `winnow select` first"):
        reshard(tmp_path).plan()


def test_a_tar_that_is_not_its_table_is_refused(tmp_path: Path, make_pool: Any, run_stage: Any) -> None:
    make_pool(tmp_path / "pool", (5, 5))
    run_stage(select(tmp_path, no_filter={}))
    shards = tmp_path / "pool/shards"
    (shards / "00000.tar").write_bytes((shards / "00001.tar").read_bytes())
    stage = reshard(tmp_path)
    with pytest.raises(UserError, match=r"'shards/00000\.tar' holds other samples"):
        stage.run(stage.plan()[0], tmp_path)


def _far(url: str) -> Store:
    """Return a folder's store that takes itself for an object store."""
    store = Store(url)
    store.is_local = False
    return store


@given(window=st.integers(1, 40_000), share=st.integers(1, 9), together=st.integers(1, 9))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_windows_change_no_byte(
    tmp_path_factory: pytest.TempPathFactory, make_pool: Any, run_stage: Any, window: int, share: int, together: int
) -> None:
    root = tmp_path_factory.mktemp("windows")
    make_pool(root / "pool", (9, 14, 5))
    run_stage(select(root, all={"use": "no_filter"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Store", _far)  # one window, sample by sample, as from an object store
        stage = reshard(root, samples_per_shard=17)
        units = stage.plan()
        (root / "remote").mkdir()
        far = stage.run(units[0], root / "remote")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WINDOW_BYTES": window, "WINDOW_SAMPLES": share, "WRITTEN_TOGETHER": together}.items():
            patch.setattr(module, name, value)
        (root / "local").mkdir()
        near = stage.run(units[0], root / "local")
    made = (root / "local/shard.tar").read_bytes()
    assert made == (root / "remote/shard.tar").read_bytes()
    for products in (near, far):
        told = products[f"reshard/{units[0].name}"].sha256
        assert list(told.values()) == [hashlib.sha256(made).hexdigest()]


def test_a_hash_that_cannot_follow_fails(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file, HashBehind(file) as behind:
        file.write(b"abc")
        file.flush()
        behind.reach(2)
        behind.reach(3)
        assert behind.digest() == hashlib.sha256(b"abc").hexdigest()
        behind.reach(4)
        with pytest.raises(OSError, match="ends at 3 and not at 4"):
            behind.digest()
