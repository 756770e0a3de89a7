"""What breaks, stage by stage: a recorded reason, nothing half-written under a final name, and after the repair the
same bytes as an undisturbed run.
"""

import errno
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import STAGES, products, write_config

import pipeline.engine.perform
from pipeline.config import RunConfig
from pipeline.runner import Summary, run_stage
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.shards import ShardWriter, read_shard
from winnow.storage import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("made")
    for stage in STAGES:
        assert not run_stage(config_of(folder), stage).quarantined
    return folder


def config_of(folder: Path) -> RunConfig:
    return RunConfig(write_config(folder, str(folder / "pool"), str(folder / "run"), {"use": "inline", "attempts": 2}))


def stores(folder: Path) -> tuple[Store, Store]:
    return Store(folder / "pool"), Store(folder / "run")


@pytest.fixture
def before(made: Path, tmp_path: Path) -> Callable[[str], RunConfig]:
    """Return a function that makes a copy of the run as it was before a stage."""

    def copy(stage: str) -> RunConfig:
        folder = tmp_path / "copy"
        shutil.copytree(made, folder)
        for name in STAGES[STAGES.index(stage) :]:
            for store in stores(folder):
                journal = Journal(store)
                for row in journal.under(f"{name}/"):
                    for file in row.files:
                        store.remove(file)
                    journal.forget(row.product)
        return config_of(folder)

    return copy


def whole(config: RunConfig) -> None:
    """See to it that every file with a final name is vouched for by the journal and stands at its size and hash."""
    folder = Path(config.values["pool"]).parent
    found = products(*stores(folder))
    vouched = {}
    for store in stores(folder):
        for row in Journal(store).rows.values():
            vouched |= {name: digest for name, (_, digest) in row.files.items()}
    assert found.keys() <= vouched.keys()
    assert all(vouched[name] == digest for name, digest in found.items())
    assert not list(folder.glob("*/_attempts/*"))


def finish(config: RunConfig, made: Path) -> None:
    """Run everything once more: the outcome is that of the undisturbed run."""
    for stage in STAGES:
        assert not run_stage(config, stage).quarantined
    folder = Path(config.values["pool"]).parent
    assert products(*stores(folder)) == products(*stores(made))
    assert not list(folder.glob("*/quarantine/*"))
    whole(config)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, where: str, code: int, after: int) -> Iterator[None]:
    """Let a call of the pipeline's write boundary fail from the `after`-th on: flush of data, renames, small files."""
    calls = 0

    def broken(real):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            if calls > after:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        if where == "flush":
            patch.setattr(pipeline.engine.perform, "flush", broken(pipeline.engine.perform.flush))
        elif where == "rename":
            patch.setattr(Store, "publish", broken(Store.publish))
        elif where == "attempt":
            patch.setattr(Store, "begin", broken(Store.begin))
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("where", ["flush", "rename", "attempt"])
@pytest.mark.parametrize(
    "stage", [stage if stage == "reshard" else pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES]
)
def test_disk_full_and_permission_denied(
    made: Path, before: Callable[[str], RunConfig], monkeypatch: pytest.MonkeyPatch, stage: str, where: str, code: int
) -> None:
    config = before(stage)
    with failing(monkeypatch, where, code, after=4 if where != "attempt" else 1):
        summary = run_stage(config, stage)
    if (
        where == "rename"
    ):  # rows of the journal, notes and progress are renamed too: all of it fails, none of it ends the run
        assert summary.quarantined
    assert all(os.strerror(code) in error for error in summary.quarantined.values())
    assert summary.done + len(summary.quarantined) == summary.planned
    folder = Path(config.values["pool"]).parent
    for store in stores(folder):
        for row in Journal(store).rows.values():
            assert all(store.size(name) == size for name, (size, _) in row.files.items())
    finish(config, made)


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond `limit` bytes: the kernel itself refuses the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("stage", [pytest.param("download", marks=pytest.mark.slow), "reshard"])
def test_writes_that_the_kernel_refuses(made: Path, before: Callable[[str], RunConfig], stage: str) -> None:
    """Half of every tar fits."""
    config = before(stage)
    folder = made / ("pool" if stage == "download" else "run")
    tars = sorted(path.stat().st_size for path in folder.glob("shards/**/*.tar"))
    with small_files(max(tars[0] // 2, 8000)):
        summary = run_stage(config, stage)
    assert summary.quarantined
    assert all("File too large" in error for error in summary.quarantined.values()), summary.quarantined
    whole(config)
    finish(config, made)


def cuts(tar: bytes) -> list[int]:
    """Return lengths to cut a tar to: at block borders, beside them, anywhere, within the end marker."""
    dice = random.Random(1)
    return [0, 1, 511, 512, 513, len(tar) - 1024, len(tar) - 1023, *(dice.randrange(len(tar) - 1024) for _ in range(6))]


@pytest.mark.parametrize("stage", ["score", "reshard"])
def test_a_tar_cut_anywhere(made: Path, before: Callable[[str], RunConfig], stage: str) -> None:
    config = before(stage)
    path = Path(config.values["pool"]) / "shards/00001.tar"
    tar = path.read_bytes()
    for length in cuts(tar):
        path.write_bytes(tar[:length])
        assert_blames(run_stage(config, stage), stage, "shards/00001.tar: cut short")
        whole_but(config, path)
    path.write_bytes(tar)
    finish(config, made)


@pytest.mark.parametrize("stage", ["score", "reshard"])
def test_flipped_bytes_in_a_header(made: Path, before: Callable[[str], RunConfig], stage: str) -> None:
    config = before(stage)
    path = Path(config.values["pool"]) / "shards/00001.tar"
    tar = path.read_bytes()
    dice = random.Random(2)
    for place in [0, 99, 124, 148, 156, 257, 400, *(dice.randrange(512) for _ in range(4))]:
        path.write_bytes(tar[:place] + bytes([tar[place] ^ 0x15]) + tar[place + 1 :])
        summary = run_stage(config, stage)
        assert_blames(summary, stage, "shards/00001.tar: ")
    path.write_bytes(tar)
    finish(config, made)


def test_flipped_bytes_in_pictures_are_reasons_of_rows(made: Path, before: Callable[[str], RunConfig]) -> None:
    """A picture that cannot be decoded any more costs its row; `winnow verify` finds the others."""
    config = before("score")
    path = Path(config.values["pool"]) / "shards/00001.tar"
    tar = path.read_bytes()
    with path.open("rb") as file:
        sample = next(iter(read_shard(file)))
    assert sample.image is not None
    place = tar.index(sample.image)
    path.write_bytes(tar[:place] + bytes(100) + tar[place + 100 :])
    summary = run_stage(config, "score")
    assert not summary.quarantined
    assert summary.counts["failed"] == 1
    table = pq.read_table(Path(config.values["pool"]) / "columns/image_stats/00001.parquet")
    errors = [error for error in table["error"].to_pylist() if error]
    assert len(errors) == 1
    assert "not a picture" in errors[0] or "cannot decode" in errors[0]


def assert_blames(summary: Summary, stage: str, words: str) -> None:
    """A damaged shard costs `score` its own unit, and `reshard` those that draw from it."""
    assert summary.quarantined
    assert all(words in error for error in summary.quarantined.values()), summary.quarantined
    if stage == "score":
        assert list(summary.quarantined) == ["00001"]


def whole_but(config: RunConfig, damaged: Path) -> None:
    """No stage leaves a file that the journal does not vouch for."""
    folder = Path(config.values["pool"]).parent
    known = {name for store in stores(folder) for row in Journal(store).rows.values() for name in row.files}
    assert products(*stores(folder)).keys() <= known
    assert not list(folder.glob("*/_attempts/*"))


def test_a_missing_table(made: Path, before: Callable[[str], RunConfig]) -> None:
    config = before("select")
    path = Path(config.values["pool"]) / "shards/00002.parquet"
    table = path.read_bytes()
    path.unlink()
    summary = run_stage(config, "select")
    assert set(summary.quarantined) == {"no_filter", "half"}
    assert all("shards/00002.parquet" in error for error in summary.quarantined.values())
    with pytest.raises(UserError, match="run `winnow select` first"):
        run_stage(config, "reshard")
    assert not list(Path(config.values["run_dir"]).glob("subsets/*"))
    path.write_bytes(table)
    finish(config, made)


def test_a_missing_table_is_noticed_by_the_download(made: Path, before: Callable[[str], RunConfig]) -> None:
    config = before("score")
    (Path(config.values["pool"]) / "shards/00002.parquet").unlink()
    summary = run_stage(config, "download")
    assert (summary.done, summary.skipped) == (1, 3)
    finish(config, made)


def test_a_sample_without_its_json(made: Path, before: Callable[[str], RunConfig]) -> None:
    """The sidecar names the sample: without it the row of the columns would be of nobody."""
    config = before("score")
    path = Path(config.values["pool"]) / "shards/00001.tar"
    tar = path.read_bytes()
    with path.open("rb") as file:
        samples = list(read_shard(file))
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number, sample in enumerate(samples):
            writer.write(sample.key, {k: v for k, v in sample.members.items() if number != 2 or k != "json"})
        writer.close()
    run_stage(config, "score")
    summary = run_stage(config, "select")
    assert list(summary.quarantined) == ["half"], "the strategy that reads scores"
    assert "00001.parquet' holds other samples than 'shards/00001.parquet'" in summary.quarantined["half"]
    path.write_bytes(tar)
    journal = Journal(Store(config.values["pool"]))
    for row in journal.under("score/"):  # the repair gave the tar its old bytes back, which the plan cannot see
        journal.forget(row.product)
    finish(config, made)


def test_a_uid_twice_in_the_pool(made: Path, before: Callable[[str], RunConfig]) -> None:
    """Two shards claim one sample: it is judged and written once, at its first place."""
    config = before("select")
    pool = Path(config.values["pool"])
    first, second = (pool / f"shards/0000{number}.parquet" for number in (0, 1))
    uids = [pq.read_table(path)["uid"].to_pylist() for path in (first, second)]
    table = pq.read_table(second)
    statuses = table["status"].to_pylist()
    row = statuses.index("success")
    twice = next(u for u, s in zip(uids[0], pq.read_table(first)["status"].to_pylist(), strict=True) if s == "success")
    uids[1][row] = twice
    place = table.column_names.index("uid")
    pq.write_table(table.set_column(place, "uid", pa.array(uids[1])), second)
    for path in pool.glob("columns/*/00001.parquet"):  # rows are the samples; the first is the one renamed
        scores = pq.read_table(path)
        names = [twice, *scores["uid"].to_pylist()[1:]]
        pq.write_table(scores.set_column(scores.column_names.index("uid"), "uid", pa.array(names)), path)
    summary = run_stage(config, "select")
    assert not summary.quarantined
    assert summary.counts["dropped: duplicate uid"] == 2, "once for each strategy"
    assert not run_stage(config, "reshard").quarantined
    keys = [
        key
        for path in Path(config.values["run_dir"]).glob("shards/no_filter/*.parquet")
        for key in pq.read_table(path)["uid"].to_pylist()
    ]
    assert keys.count(twice) == 1
    assert len(keys) == len(set(keys))
