"""Servers that answer anything at all: every URL ends once, with a body or a short reason, within its bounds."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

import pytest
from hostile import bounded, damaged, fuzz, little_memory
from hypothesis import given
from hypothesis import strategies as st

from pipeline.download import hosts
from pipeline.download.fetch import Fetched, Fetcher

MAX_BYTES = 20_000
REASON = re.compile(
    r"http \d+|empty body|too large|timeout(: stalled body)?|connection (broken|refused)|too many redirects|"
    r"private address|curl error \d+|not a http url|malformed url|dns: [a-z ]+|"
    r"disallowed by (robots\.txt|X-Robots-Tag)|tls: handshake failed|robots\.txt unreachable: .*"
)


class RawServer:
    """A server on 127.0.0.1 that sends the bytes it was given, whatever it is asked, and hangs up."""

    def __init__(self) -> None:
        self.answers: list[bytes] = [b""]
        self.endless = b""
        """Repeated after the answer for as long as the client takes it."""
        self.asked = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.reached: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            asked = connection.recv(65536)
            self.reached.append(asked.split(b"\r\n")[0].decode("latin-1"))
            answer, self.asked = self.answers[self.asked % len(self.answers)], self.asked + 1
            connection.sendall(answer)
            while self.endless:
                connection.sendall(self.endless)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    made = RawServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "BACK_OFF", 0.01)
        yield made
    made.close()


def fetched(server: RawServer, answers: list[bytes], endless: bytes = b"", **rules: object) -> Fetched:
    """Return how a URL ends; every other bound is short."""
    server.answers, server.endless, server.asked, server.reached = answers, endless, 0, []
    given = {"allow_private": ["127.0.0.1"], "retries": 1, "max_bytes": MAX_BYTES, "timeout": 0.4, **rules}
    results: list[tuple[int, Fetched]] = []
    Fetcher(stall_timeout=0.15, max_retry_after=0.01, max_redirects=3, **given).fetch(
        [f"{server.url}/start"], lambda index, result: results.append((index, result))
    )
    ((index, result),) = results
    assert index == 0
    assert (result.body is None) == bool(result.error)
    assert result.body is None or 0 < len(result.body) <= MAX_BYTES
    assert not result.error or REASON.fullmatch(result.error), result.error
    assert all(line.startswith("GET /") for line in server.reached)
    return result


def one_of(text: str, prefix: bytes = b"") -> st.SearchStrategy[bytes]:
    """Draw one of the pieces of a text; its characters are bytes."""
    return st.sampled_from([prefix + piece for piece in text.encode("latin-1").split(b"|")])


STATUS = one_of(
    "HTTP/1.1 302 Found|HTTP/1.1 301 M|HTTP/1.0 200 OK|HTTP/1.1 429 Slow|HTTP/1.1 503 Later|HTTP/1.1 404 Not|"
    "HTTP/1.1 100 Continue|HTTP/1.1 199 x|HTTP/1.1 101 Switching|HTTP/1.1 99999 x|HTTP/1.1 -1 x|HTTP/1.1 \xb2\xb2 x|"
    "HTTP/9.9 200 OK|HTTP/1.1|ICY 200 OK|HTTP/1.1 200\0OK||\0\0\0|SSH-2.0-OpenSSH|HTTP/1.1 304 x|HTTP/1.1 204 x|"
    "HTTP/2 200|HTTP/1.1 416 x" + "|HTTP/1.1 200 OK" * 10
)
TARGETS = one_of(
    "/next|?x|//127.0.0.1:1/|file:///etc/passwd|ftp://127.0.0.1/x|gopher://127.0.0.1:70/1|http://169.254.169.254/latest/|"
    "http://[::1]/|http://[::ffff:169.254.169.254]/|http://0/|http://|http://user:pw@10.0.0.1/|dict://127.0.0.1:11211/|"
    "http://\xff\xfe/|/\xff\xfe\0x|\\\\host\\share|http://127.0.0.1:99999/|http://2130706433:1/|javascript:alert(1)|data:,x||"
    "http://a b/|scp://127.0.0.1/x|smb://127.0.0.1/x|http://[fe80::1%25lo]/|http://%31%32%37.0.0.1:1/|///|" + "h" * 9000
)
HEADERS = st.one_of(
    TARGETS.map(b"Location: ".__add__),
    one_of("-1|0|4|5|99999999999999999999|18446744073709551620|4, 5|0x4|\xb2", b"Content-Length: "),
    one_of("chunked|gzip, chunked|chunked, chunked|identity|\0", b"Transfer-Encoding: "),
    one_of("-5|1e400|99999999999999999999|Thu, 99 Foo 99999 99:99:99|\xff\0|\xb2|Mon", b"Retry-After: "),
    one_of("noai|\xff\xfe: noai|a:b:c:noai|\0|:,:,:|unavailable_after: noai|" + "x" * 3000, b"X-Robots-Tag: "),
    one_of(
        "Content-Encoding: gzip|Content-Encoding: br|Content-Type: \xff|Connection: close|Set-Cookie: a=b|Upgrade: h2c|"
        'Alt-Svc: h3=":1"|Strict-Transport-Security: max-age=9|WWW-Authenticate: NTLM|HTTP/1.1 200 again|no colon|'
        ": empty| folded|a\0b: c|\xff: \xff|x: " + "y" * 9000
    ),
)
CHUNK = one_of("4\r\nabcd\r\n|0\r\n\r\n|ffffffffffffffffff\r\n|-1\r\n|4;x=y\r\nabcd\r\n|4\nab|zz\r\n")
BODIES = st.lists(CHUNK, max_size=4).map(b"".join) | one_of(
    "|body|longer than it says|\0\0\0|\x1f\x8b\xff\xff|User-agent: *\nDisallow: /|" + "z" * 30_000
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Draw a response: a status line, headers and a body, none of which need fit the others."""
    end = draw(st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\n "]))
    lines = [draw(STATUS), *draw(st.lists(HEADERS, max_size=5))]
    return end.join(lines) + draw(st.sampled_from([end * 2] * 8 + [end, b""])) + draw(BODIES)


ANSWERS = st.lists(responses() | damaged(responses(), 3), min_size=1, max_size=3)
CASES = st.tuples(ANSWERS, st.booleans(), st.sampled_from([[], ["noai"]]))


def check(server: RawServer, case: tuple[list[bytes], bool, list[str]]) -> None:
    answers, obeys, directives = case
    rules = {"robots": "obey" if obeys else "ignore", "disallowed_header_directives": directives}
    fetched(server, answers, user_agent_token="winnow", **rules)


@bounded(250)
@given(CASES)
def test_whatever_a_server_answers_its_url_ends_with_a_body_or_a_reason(server, case):
    check(server, case)


@pytest.mark.parametrize("target", [b"http://\xff\xfe/", b"/\xff\xfe", b"?\xe4", b"http://127.0.0.1:1/\xff", b"//\xff"])
def test_a_redirect_in_bytes_that_are_no_text_fails_its_url_alone(server, target):
    answer = b"HTTP/1.1 302 Found\r\nLocation: " + target + b"\r\n\r\n"
    assert fetched(server, [answer, OK + b"\r\nbody"]).error in ("", "malformed url", "connection refused", "http 302")


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "endless"),
    [
        (OK, b"X-Header: " + b"y" * 1000 + b"\r\n"),
        (OK + b"X: ", b"y" * 60_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 ", b"2" * 60_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 5000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x=y;" * 5000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"Trailer: x\r\n" * 5000),
        (OK + b"\r\n", b"z" * 60_000),
        (b"HTTP/1.1 404 Not\r\n\r\n", b"z" * 60_000),
    ],
    ids=["headers", "header", "interim", "status", "chunks", "extension", "trailers", "body", "page"],
)
def test_what_never_ends_is_ended(server, answer, endless):
    with little_memory(100):
        result = fetched(server, [answer], endless, retries=0)
    assert result.body is None


@pytest.mark.parametrize("directives", [[], ["noai"]])
def test_many_robots_headers_take_little(server, directives):
    answer = OK + b"X-Robots-Tag: a, b, c\r\n" * 10_000 + b"Content-Length: 4\r\n\r\nbody"
    with little_memory(100):
        fetched(server, [answer], retries=0, disallowed_header_directives=directives)


def test_a_body_of_single_bytes_takes_the_memory_of_its_size(server):
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500_000 + b"0\r\n\r\n"
    with little_memory(40):
        server.answers, server.endless = [answer], b""
        results: list[Fetched] = []
        Fetcher(allow_private=["127.0.0.1"], timeout=60).fetch([server.url], lambda _, result: results.append(result))
    assert results[0].body == b"x" * 500_000


def test_a_compressed_body_is_not_unpacked(server):
    bomb = b"\x1f\x8b" + b"packed"
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert fetched(server, [head + bomb]).body == bomb


@pytest.mark.slow
def test_hostile_servers_for_long(server):
    with little_memory(200):
        fuzz(lambda case: check(server, case), CASES)
