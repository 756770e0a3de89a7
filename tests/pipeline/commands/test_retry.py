"""`winnow retry` against a web that fails at first: what it fetches, what it leaves, what a kill leaves behind."""

import io
import json
import shutil
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.commands import retry
from pipeline.config import RunConfig
from pipeline.download.failures import check_classes, failure_classes
from pipeline.pools.recovery import recover
from pipeline.pools.verify import Verification, verify
from pipeline.runner import run_stage
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.pool import pool_shards, read_table
from winnow.shards import read_shard
from winnow.storage import Store

ROWS = 23
PER_FILE = 6
BROKEN = {2: 503, 3: 503, 7: 404, 8: 503, 13: 429, 14: 500, 15: 503, 20: 503, 22: 404}
DEAD = 16  # a host that does not exist
TEXT = 5  # not a picture


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        """Keep the test's output clean."""

    def do_GET(self):
        number = int(self.path.strip("/"))
        self.server.asked[number] += 1
        status = self.server.broken.get(number, 200)
        body = b"nothing" if status != 200 or number == TEXT else picture(number)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def picture(number):
    buffer = io.BytesIO()
    pixels = np.full((20 + number, 30, 3), 10 * number, np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.asked, server.broken = Counter(), dict(BROKEN)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(web, tmp_path):
    """A pool of four shards, downloaded while the web is broken."""
    hosts = [f"127.0.0.1:{web.server_port}"] * ROWS
    hosts[DEAD] = "no-such-host.invalid"
    urls = [f"http://{host}/{number}" for number, host in enumerate(hosts)]
    table = pa.table({"url": urls, "text": [f"caption {n}" for n in range(ROWS)], "extra": list(range(ROWS))})
    pq.write_table(table, tmp_path / "list.parquet")
    path = tmp_path / "config.yaml"
    sections = {
        "pool": str(tmp_path / "pool"),
        "run_dir": str(tmp_path / "run"),
        "executor": {"use": "inline"},
        "source": {"use": "files", "path": str(tmp_path / "list.parquet")},
        "ingest": {"rows_per_file": PER_FILE},
        "download": {"allow_private": ["127.0.0.1"], "robots": "ignore", "retries": 0, "image_size": 16},
        "score": {"scorers": {"caption_stats": {}}},
    }
    path.write_text(yaml.safe_dump(sections))
    command("run", path)
    return path


def command(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def files(pool: Path, folder: str = "") -> dict[str, bytes]:
    found = {str(path.relative_to(pool)): path.read_bytes() for path in (pool / folder).rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(("_", "journal/", "progress/"))}


def rows(pool: Path) -> list[dict]:
    return [row for shard in pool_shards(Store(pool)) for row in read_table(Store(pool), shard).to_pylist()]


def mismatches(pool: Path) -> list[str]:
    return [str(finding) for finding in verify(Store(pool), Verification())]


def test_only_the_named_failures_are_fetched_and_land_behind_the_others(web, config, tmp_path):
    pool = tmp_path / "pool"
    before, asked = files(pool), Counter(web.asked)
    assert recover(Store(pool)).statuses == {
        "success": 12,
        "http 503": 5,
        "http 404": 2,
        "dns: host not found": 1,
        "http 429": 1,
        "http 500": 1,
        "not a picture: no known image format": 1,
    }
    web.broken = {8: 503, 7: 404, 22: 404}
    output = command("retry", config, "--status", "5xx,429,dns")
    assert "8 rows" in output
    assert web.asked - asked == Counter({n: 1 for n in (2, 3, 8, 13, 14, 15, 20)})

    after = files(pool)
    assert all(after[name] == data for name, data in before.items() if name.endswith(".tar"))
    assert set(after) - set(before) == {
        *(f"shards/0000{n}{end}" for n in (4, 5) for end in (".tar", ".parquet", "_stats.json")),
        *(f"retries/0000{n}.parquet" for n in (4, 5)),
    }
    table = {row["key"]: row for row in rows(pool)}
    assert len(table) == ROWS + 8
    old = [row for row in table.values() if row["status"] == "retried"]
    assert sorted(row["extra"] for row in old) == [2, 3, 8, 13, 14, 15, 16, 20]
    assert {row["error_message"] for row in old} == {"in 00004", "in 00005"}
    new = [row for key, row in table.items() if key[:5] in ("00004", "00005")]
    assert [row["extra"] for row in new] == [2, 3, 8, 13, 14, 15, 16, 20]
    assert [(r["extra"], r["error_message"]) for r in new if r["status"] != "success"] == [
        (8, "http 503"),
        (16, "dns: host not found"),
    ]
    for shard in pool_shards(Store(pool)):
        with Store(pool).open(shard.tar) as file:
            samples = list(read_shard(file))
        good = [row for row in read_table(Store(pool), shard).to_pylist() if row["status"] == "success"]
        assert [sample.meta for sample in samples] == good
    found = recover(Store(pool))
    assert (found.asked, found.obtained) == (ROWS, 18)
    assert sum(found.statuses.values()) == ROWS  # nothing counts twice
    assert found.statuses["http 503"] == 1
    stats = json.loads((pool / "shards" / "00000_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["status_dict"]["retried"]) == (6, 3, 2)


def test_later_stages_do_what_is_new_alone_and_the_pool_verifies(web, config, tmp_path):
    pool = tmp_path / "pool"
    web.broken = {}
    command("retry", config, "--status", "5xx,429,4xx")
    columns = {name: (pool / name).stat().st_mtime_ns for name in files(pool, "columns")}
    resolved = RunConfig(config)
    assert run_stage(resolved, "download").done == 0
    assert run_stage(resolved, "score").done == 2
    assert {name: (pool / name).stat().st_mtime_ns for name in columns} == columns
    assert mismatches(pool) == []
    assert "nothing to do" in command("download", config)
    assert "nothing to try again" in command("retry", config, "--status", "5xx,429,4xx")


def test_a_further_round_takes_rows_of_the_first_one_s_shards(web, config, tmp_path):
    pool = tmp_path / "pool"
    command("retry", config, "--status", "503")
    web.broken = {3: 503}
    command("retry", config, "--status", "5xx")
    assert sorted(Journal(Store(pool)).rows["retry/00004"].files) == ["retries/00004.parquet"]
    assert [shard.name for shard in pool_shards(Store(pool))] == [f"0000{n}" for n in range(6)]
    statuses = recover(Store(pool)).statuses
    assert (statuses["success"], statuses["http 503"], statuses["http 429"]) == (17, 1, 1)
    assert sum(statuses.values()) == ROWS
    by_number = {}
    for row in rows(pool):
        by_number.setdefault(row["extra"], []).append((row["status"], row["error_message"]))
    assert by_number[2] == [("retried", "in 00004"), ("retried", "in 00005"), ("success", None)]
    assert by_number[3][-1] == ("failed_to_download", "http 503")
    command("score", config)
    assert mismatches(pool) == []


STEPS = ["journal", "first mark", "second mark", "download"]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_round_ends_as_an_undisturbed_one(web, config, tmp_path, monkeypatch, step):
    pool, copy = tmp_path / "pool", tmp_path / "copy"
    shutil.copytree(pool, copy)
    web.broken = {7: 404}
    command("retry", config, "--status", "503")
    undisturbed = files(pool)
    shutil.rmtree(pool)
    shutil.copytree(copy, pool)

    class Killed(BaseException):
        pass

    marked = []
    mark = retry._mark

    def stop(*arguments):
        if len(marked) == STEPS.index(step) - 1 or step == "journal":
            raise Killed
        marked.append(arguments)
        mark(*arguments)

    def die(self, unit, attempt):
        raise Killed

    def work():
        resolved = RunConfig(config)
        retry.prepare(resolved, check_classes("503"))
        run_stage(resolved, "download")

    with monkeypatch.context() as patch:
        if step == "journal":
            patch.setattr(Journal, "append", stop)
        elif step == "download":
            patch.setattr("pipeline.stages.download.Download.run", die)
        else:
            patch.setattr(retry, "_mark", stop)
        with pytest.raises(Killed):
            work()
    assert files(pool) != undisturbed
    if step in ("first mark", "second mark"):  # the loop goes on without the round, and refetches nothing
        asked = Counter(web.asked)
        command("run", config)
        assert web.asked == asked
    command("retry", config, "--status", "503")
    if step != "journal":
        assert "nothing to try again" in command("retry", config, "--status", "503")
    assert {k: v for k, v in files(pool).items() if not k.startswith("columns")} == {
        k: v for k, v in undisturbed.items() if not k.startswith("columns")
    }


def test_a_shard_that_is_made_anew_keeps_its_marks(web, config, tmp_path):
    pool = tmp_path / "pool"
    web.broken = {7: 404, 22: 404}
    command("retry", config, "--status", "5xx,429")
    undisturbed, asked = files(pool, "shards"), Counter(web.asked)
    (pool / "shards" / "00000.parquet").unlink()
    command("download", config)
    assert files(pool, "shards") == undisturbed
    assert web.asked - asked == Counter({n: 1 for n in (0, 1, 4, 5)})  # 2 and 3 are elsewhere


def test_another_config_or_list_starts_over_without_the_rounds(web, config, tmp_path):
    pool = tmp_path / "pool"
    web.broken = {}
    command("retry", config, "--status", "503")
    with pytest.raises(UserError, match="not downloaded under this config"):
        retry.prepare(RunConfig(config, ["download.image_size=12"]), check_classes("503"))
    command("download", config, "download.image_size=12")
    assert [shard.name for shard in pool_shards(Store(pool))] == [f"0000{n}" for n in range(4)]
    statuses = recover(Store(pool)).statuses
    assert statuses["success"] == ROWS - 2
    assert sum(statuses.values()) == ROWS


@pytest.mark.parametrize(
    ("message", "classes"),
    [
        ("http 503", {"503", "5xx"}),
        ("HTTP Error 404: Not Found", {"404", "4xx"}),
        ("dns: host not found", {"dns"}),
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", {"dns"}),
        ("<urlopen error [Errno -2] Name or service not known>", {"dns"}),
        ("<urlopen error timed out>", {"timeout"}),
        ("The read operation timed out", {"timeout"}),
        ("timeout: stalled body", {"timeout"}),
        ("<urlopen error [Errno 111] Connection refused>", {"connection"}),
        ("connection broken", {"connection"}),
        ("tls: certificate not trusted", {"tls"}),
        ("robots.txt unreachable: http 503", {"503", "5xx"}),
        ("robots.txt unreachable: timeout", {"timeout"}),
        ("disallowed by robots.txt", {"robots"}),
        ("disallowed by X-Robots-Tag", {"robots"}),
        ("cannot decode: image file is truncated", {"decode"}),
        ("hash mismatch", {"hash"}),
        ("private address", {"private"}),
        ("", set()),
    ],
)
def test_classes_of_failures(message, classes):
    assert failure_classes(message) == classes


@pytest.mark.parametrize("given", ["", ",", "dsn", "600", "50x"])
def test_unknown_classes_are_refused(given):
    with pytest.raises(UserError, match="class"):
        check_classes(given)
