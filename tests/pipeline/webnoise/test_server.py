import http.client
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.webnoise.draw import render
from pipeline.webnoise.faults import FAULTS, fault_of
from pipeline.webnoise.sample import sample_at
from pipeline.webnoise.server import serve_world
from pipeline.webnoise.world import World

WORLD = World()


def path_of(kind):
    """Return the path of the first sample that misbehaves this way."""
    paths = ("/" + sample_at(WORLD, index).url.split("/", 3)[3] for index in range(20000))
    return next(path for path in paths if fault_of(path) == kind)


@pytest.fixture(scope="module")
def address():
    with serve_world(WORLD) as address:
        yield address


def get(address, path):
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    return response, connection


def test_a_good_picture_is_the_scene_and_the_connection_is_kept(address):
    scenes = [(index, sample_at(WORLD, index)) for index in range(40)]
    good = [sample for _, sample in scenes if not fault_of("/" + sample.url.split("/", 3)[3])][:3]
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.connect()
    socket = connection.sock
    for sample in good:
        connection.request("GET", "/" + sample.url.split("/", 3)[3])
        response = connection.getresponse()
        assert response.read() == render(sample.scene, WORLD.picture_set)
        assert connection.sock is socket


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("missing", [404, 404]),
        ("flaky", [500, 200, 200]),
        ("redirect", [302]),
        ("redirect_loop", [302]),
        ("html", [200]),
    ],
)
def test_statuses(address, kind, statuses):
    path = path_of(kind)
    assert [get(address, path)[0].status for _ in statuses] == statuses


def test_headers_tell_what_is_wrong(address):
    assert get(address, path_of("noai"))[0].headers["X-Robots-Tag"] == "noai, noimageai"
    assert get(address, path_of("mislabelled"))[0].headers["Content-Type"] == "text/plain"
    assert int(get(address, path_of("huge_claimed"))[0].headers["Content-Length"]) > 100_000_000
    assert get(address, path_of("redirect"))[0].headers["Location"].endswith("?moved")
    assert get(address, path_of("redirect") + "?moved")[0].status == 200


def test_a_stalled_body_stops_half_way(address):
    response, connection = get(address, path_of("stalled"))
    connection.sock.settimeout(0.6)
    with pytest.raises(TimeoutError):
        response.read()


def test_unknown_paths_are_missing(address):
    assert get(address, "/favicon.ico")[0].status == 404
    assert get(address, "/000000/img-000001.jpg")[0].status == 404


def test_placeholders_are_one_file_under_many_urls(address):
    gone = [sample for index in range(700) if (sample := sample_at(WORLD, index)).placeholder]
    paths = ["/" + sample.url.split("/", 3)[3] for sample in gone]
    bodies = [get(address, path)[0].read() for path in paths if not fault_of(path)]
    assert len(bodies) >= 4
    assert len(set(bodies)) <= 3


def test_faults_come_in_their_shares():
    kinds = [fault_of(f"/album/img-{index}.jpg") for index in range(20000)]
    for kind, share in FAULTS.items():
        assert abs(kinds.count(kind) / len(kinds) - share) < 4 * (share / len(kinds)) ** 0.5


def test_the_server_ends_when_its_parent_is_killed(tmp_path):
    code = (
        "from pipeline.webnoise.server import serve_world\nfrom pipeline.webnoise.world import World\nimport time\n"
        "with serve_world(World()) as address:\n    print(address, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=os.getcwd())
    address = parent.stdout.readline().strip()
    assert get(address, "/favicon.ico")[0].status == 404
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        try:
            get(address, "/favicon.ico")
        except ConnectionError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its parent")
