import socket
import time

import pytest

from pipeline.download.fetch import Fetched, Fetcher

LOCAL = {"allow_private": True, "retries": 0}


def fetch(urls, **rules):
    """Fetch a list and return the results in its order."""
    results: dict[int, Fetched] = {}
    Fetcher(**{**LOCAL, **rules}).fetch(urls, lambda index, result: results.setdefault(index, result))
    assert sorted(results) == list(range(len(urls)))
    return [results[index] for index in range(len(urls))]


def one(url, **rules):
    return fetch([url], **rules)[0]


def test_many_urls_arrive_whole_over_kept_connections(web):
    urls = [f"{web.url}/good/{index}" for index in range(200)]
    assert [result.body for result in fetch(urls, connections=16)] == [b"good %d" % index for index in range(200)]


@pytest.mark.parametrize(
    ("path", "rules", "error"),
    [
        ("/status/404", {}, "http 404"),
        ("/status/500", {}, "http 500"),
        ("/status/204", {}, "empty body"),
        ("/claimed", {"max_bytes": 1000}, "too large"),
        ("/streamed", {"max_bytes": 1_000_000}, "too large"),
        ("/silent", {"timeout": 0.5}, "timeout"),
        ("/slow", {"timeout": 0.5}, "timeout"),
        ("/stalled", {"stall_timeout": 0.3}, "timeout: stalled body"),
        ("/short", {}, "connection broken"),
        ("/hops/9", {"max_redirects": 5}, "too many redirects"),
        ("/redirect/file:///etc/hostname", {}, "not a http url"),
        ("/redirect/ftp://127.0.0.1/x", {}, "not a http url"),
    ],
)
def test_each_misbehaviour_has_its_words(web, path, rules, error):
    start = time.monotonic()
    assert one(web.url + path, **rules) == Fetched(None, error)
    assert time.monotonic() - start < 5


def test_redirects_are_followed_up_to_the_limit(web):
    assert one(f"{web.url}/hops/5").body == b"good end"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
def test_other_schemes_are_refused(url):
    assert one(url).error == "not a http url"


@pytest.mark.parametrize("url", ["http://", "http:///x", "", "data:,x", "http://a\0b/", "http://\ud800/"])
def test_a_malformed_url_is_a_failure_of_its_row_alone(web, url):
    bad, good = fetch([url, f"{web.url}/good/1"])
    assert bad.body is None
    assert bad.error
    assert good.body == b"good 1"


def test_spaces_and_foreign_letters_are_escaped(web):
    assert one(f"{web.url}/good/ä b%20c").body == b"good %C3%A4%20b%20c"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_errors_are_tried_again(web, status):
    assert one(f"{web.url}/once/{status}", retries=1).body == b"second time lucky"


def test_lasting_errors_are_not_tried_again(web):
    fetch([f"{web.url}/status/404", f"{web.url}/status/500"], retries=2)
    asked = [path for path, _ in web.asked]
    assert asked.count("/status/404") == 1
    assert asked.count("/status/500") == 3


def test_private_addresses_are_refused_at_once_and_after_a_redirect(web):
    port = web.server_port
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "10.0.0.1", "169.254.169.254", "0.0.0.0"]
    hosts += ["192.168.1.1", "[::ffff:127.0.0.1]", "[fe80::1]", "100.64.0.1", "2130706433"]
    for result in fetch([f"http://{host}/good/1" for host in hosts], allow_private=False):
        assert result == Fetched(None, "private address")
    assert web.asked == []


def test_connect_to_reaches_its_address_whatever_the_host_and_nothing_else(web):
    to = f"127.0.0.1:{web.server_port}"
    urls = ["http://photos-01.winnow.test/good/1", "http://blog.winnow.test:81/redirect/http://cdn.winnow.test/good/2"]
    assert [result.body for result in fetch(urls, allow_private=False, connect_to=to)] == [b"good 1", b"good 2"]


def test_an_unknown_host_has_a_class_of_its_own():
    assert one("http://no-such-host.invalid/x", timeout=8).error == "dns: host not found"


def test_a_closed_port_is_a_refused_connection():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert one(f"http://127.0.0.1:{port}/").error == "connection refused"


def test_robots_header_is_judged_before_the_body(web):
    rules = {"disallowed_header_directives": ("noai", "noindex"), "user_agent_token": "winnow"}
    kinds = ["noai", "noarchive", "otherbot:_noai", "winnow:_noindex", "noarchive,_NOAI", "unavailable_after:_2030"]
    results = fetch([f"{web.url}/robots/{kind}" for kind in kinds], **rules)
    refused = [result.error == "disallowed by X-Robots-Tag" for result in results]
    assert refused == [True, False, False, True, True, False]
    assert one(f"{web.url}/robots/noai").body == b"private"  # obeys nothing where nothing is asked for


def test_the_user_agent_is_ours(web):
    fetch([f"{web.url}/good/1"], user_agent="winnow test")
    assert web.asked == [("/good/1", "winnow test")]


def test_no_transfer_starts_while_the_taker_is_busy(web):
    opens = time.monotonic() + 0.3
    ended: list[float] = []
    Fetcher(**LOCAL).fetch(
        [f"{web.url}/good/{index}" for index in range(5)],
        lambda index, result: ended.append(time.monotonic()),
        lambda: time.monotonic() >= opens,
    )
    assert len(ended) == 5
    assert min(ended) >= opens
