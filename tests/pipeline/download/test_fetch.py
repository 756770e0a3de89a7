import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pycurl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.download.fetch import Fetched, Fetcher
from pipeline.download.hosts import back_off, retry_after
from pipeline.download.transfer import _share

LOCAL = {"allow_private": ["127.0.0.1"], "retries": 0, "max_per_host": 64}


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
    hosts += ["192.168.1.1", "[::ffff:127.0.0.1]", "[fe80::1]", "100.64.0.1", "2130706433", "[64:ff9b::7f00:1]"]
    for result in fetch([f"http://{host}/good/1" for host in hosts], allow_private=()):
        assert result == Fetched(None, "private address")
    assert web.asked == []


@pytest.mark.parametrize(
    "target",
    ["169.254.169.254/latest/meta-data/", "100.100.100.200/", "168.63.129.16/", "[fd00:ec2::254]/", "10.1.2.3/"],
)
def test_a_redirect_to_a_cloud_s_metadata_is_refused_even_where_the_server_itself_is_allowed(web, target):
    result = one(f"{web.url}/redirect/http://{target}", allow_private=["127.0.0.1", "169.254.0.0/16", "0.0.0.0/32"])
    assert result == Fetched(None, "private address")


def test_an_allowed_name_opens_what_it_resolves_to_and_no_other_name(web):
    url, named = f"http://127.0.0.1:{web.server_port}/good/1", f"http://localhost:{web.server_port}/good/1"
    assert one(named, allow_private=["localhost"]).body == b"good 1"
    assert one(url, allow_private=["localhost"]).error == "private address"
    assert one(f"{named[:-6]}redirect/{url}", allow_private=["localhost"]).error == "private address"


def test_connect_to_reaches_its_address_whatever_the_host_and_nothing_else(web):
    to = f"127.0.0.1:{web.server_port}"
    urls = ["http://photos-01.winnow.test/good/1", "http://blog.winnow.test:81/redirect/http://cdn.winnow.test/good/2"]
    assert [result.body for result in fetch(urls, allow_private=(), connect_to=to)] == [b"good 1", b"good 2"]


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


def test_a_host_gets_no_more_requests_at_a_time_than_allowed(web):
    urls = [f"{web.url}/counted/{index}" for index in range(12)]
    assert all(result.body == b"counted" for result in fetch(urls, max_per_host=3))
    assert web.most == 3


def test_the_limits_are_per_host(web):
    to = f"127.0.0.1:{web.server_port}"
    urls = [f"http://host-{index}.test/counted/{index}" for index in range(6)]
    fetch(urls, connect_to=to, max_per_host=1)
    assert web.most > 1


def test_requests_of_a_host_are_spaced_out(web):
    fetch([f"{web.url}/good/{index}" for index in range(5)], requests_per_second_per_host=20)
    assert min(late - early for early, late in pairwise(web.times)) > 0.03  # 0.05 apart when they left


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for_by_the_whole_host(web, status):
    urls = [f"{web.url}/busy/{status}/1/1", *(f"{web.url}/good/{index}" for index in range(3))]
    results = fetch(urls, retries=1, max_per_host=1)
    assert [result.body for result in results] == [b"now", b"good 0", b"good 1", b"good 2"]
    assert web.times[1] - web.times[0] > 0.9


def test_a_host_that_keeps_asking_for_more_time_is_given_up(web):
    urls = [f"{web.url}/busy/429/3600/9/{index}" for index in range(20)]
    results = fetch(urls, retries=3, max_retry_after=0.2, max_per_host=1)
    assert results == [Fetched(None, "http 429")] * 20
    assert len(web.asked) <= 4


def test_attempts_wait_longer_each_time_and_not_all_alike():
    waits = [[back_off(f"http://a/{index}", attempt) for index in range(50)] for attempt in range(3)]
    assert waits == [[back_off(f"http://a/{index}", attempt) for index in range(50)] for attempt in range(3)]
    for attempt, row in enumerate(waits):
        assert 0.125 * 2**attempt <= min(row) < max(row) <= 0.375 * 2**attempt
        assert len(set(row)) == 50


def test_retry_after_is_seconds_or_a_date():
    assert retry_after("7", 30) == 7
    assert retry_after("99999999999999", 30) == 30
    assert 55 < retry_after(formatdate(time.time() + 60, usegmt=True), 100) <= 60
    assert retry_after(formatdate(time.time() - 60, usegmt=True), 100) == 0
    assert retry_after("soon", 30) == retry_after("", 30) == retry_after("-3", 30) == 0


def test_a_name_is_resolved_once_for_all_fetches_of_the_process(web):
    """A name that only libcurl's cache knows is found by the next fetch."""
    planted = pycurl.Curl()
    planted.setopt(pycurl.SHARE, _share())
    planted.setopt(pycurl.RESOLVE, [f"+planted.test:{web.server_port}:127.0.0.1"])
    planted.setopt(pycurl.URL, f"http://planted.test:{web.server_port}/good/1")
    planted.setopt(pycurl.WRITEFUNCTION, lambda data: None)
    planted.perform()
    planted.close()
    for _ in range(2):
        assert one(f"http://planted.test:{web.server_port}/good/2").body == b"good 2"


def test_an_unknown_host_is_looked_up_for_its_first_urls_only():
    start = time.monotonic()
    results = fetch([f"http://no-such-host.invalid/{index}" for index in range(300)], retries=1, max_per_host=2)
    assert results == [Fetched(None, "dns: host not found")] * 300
    assert time.monotonic() - start < 20


# robots.txt


def test_robots_txt_is_asked_once_and_obeyed(web):
    web.robots = (200, b"User-agent: *\nDisallow: /\n\nUser-agent: winnow\nDisallow: /good/private\n")
    urls = [f"{web.url}/good/{name}" for name in ("1", "private/2", "3", "%70rivate/4")]
    rules = {"robots": "obey", "user_agent": "winnow/1 (x)"}
    assert [result.error for result in fetch(urls, **rules)] == ["", "disallowed by robots.txt"] * 2
    assert [path for path, _ in web.asked].count("/robots.txt") == 1
    assert all(agent == "winnow/1 (x)" for _, agent in web.asked)
    web.asked.clear()
    assert one(urls[1]).body == b"good private/2"  # ignored where it is to be
    assert [path for path, _ in web.asked] == ["/good/private/2"]


@pytest.mark.parametrize(("status", "allowed"), [(404, True), (403, True), (500, False), (503, False)])
def test_a_missing_robots_txt_allows_and_a_broken_server_forbids(web, status, allowed):
    web.robots = (status, b"User-agent: *\nDisallow: /good\n")
    result = one(f"{web.url}/good/1", robots="obey")
    assert result == (Fetched(b"good 1") if allowed else Fetched(None, f"robots.txt unreachable: http {status}"))


def test_robots_txt_of_a_redirect_s_target_counts_too(web):
    web.robots = (200, b"User-agent: *\nDisallow: /good\n")
    assert one(f"{web.url}/redirect//good/1", robots="obey").error == "disallowed by robots.txt"
    assert one(f"{web.url}/redirect//status/404", robots="obey").error == "http 404"


def test_a_robots_txt_that_moved_is_followed_and_an_endless_one_is_none(web):
    web.robots = (302, b"", ("Location", "/plain/User-agent:_*~Disallow:_/good"))
    assert one(f"{web.url}/good/1", robots="obey").error == "disallowed by robots.txt"
    web.robots = (302, b"", ("Location", "/robots.txt"))
    assert one(f"{web.url}/good/1", robots="obey").body == b"good 1"


def test_only_the_start_of_a_long_robots_txt_counts(web):
    web.robots = (200, b"User-agent: *\nDisallow: /good\n" + b"#" * 3_000_000)
    assert one(f"{web.url}/good/1", robots="obey", max_bytes=100_000).error == "disallowed by robots.txt"


def test_an_unreachable_host_fails_as_itself_whether_robots_are_obeyed_or_not():
    assert one("http://no-such-host.invalid/x", robots="obey").error == "dns: host not found"
    assert one("http://10.0.0.1/x", robots="obey").error == "private address"


# TLS


@pytest.fixture
def secure(tmp_path):
    """A https server on localhost with a certificate that it signed itself, and the file of that certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(private + pem.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port, pem
    server.shutdown()
    server.server_close()


class Answer(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        """Keep the test's output clean."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"secret")


def test_a_certificate_that_nobody_vouches_for_is_refused(secure):
    port, pem = secure
    rules = {"allow_private": ["localhost", "127.0.0.1"]}
    assert one(f"https://localhost:{port}/", **rules).error == "tls: certificate not trusted"
    assert one(f"https://localhost:{port}/", ca_file=str(pem), **rules).body == b"secret"
    wrong_name = one(f"https://127.0.0.1:{port}/", ca_file=str(pem), **rules)
    assert wrong_name.error == "tls: certificate not trusted"


def test_a_server_that_speaks_no_tls_is_a_tls_failure(web):
    assert one(f"https://127.0.0.1:{web.server_port}/good/1").error.startswith("tls: ")
