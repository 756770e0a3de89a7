"""Fetch many URLs at once on one thread: libcurl's multi interface with deadlines, byte caps and an address guard.

Every transfer has a total deadline, its body a cap (claimed and streamed), its redirects a count and a scheme list;
the address it connects to, after DNS and after every redirect, must be a public one.
"""

import heapq
import ipaddress
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pycurl

from pipeline.download.robots import is_disallowed

__all__ = ["Fetched", "Fetcher"]

RETRY_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
BACK_OFF = 0.25  # seconds before the first retry, doubled before each further one

_REASONS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "dns: host not found",
    pycurl.E_COULDNT_CONNECT: "connection refused",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_TOO_MANY_REDIRECTS: "too many redirects",
    pycurl.E_UNSUPPORTED_PROTOCOL: "not a http url",
    pycurl.E_URL_MALFORMAT: "malformed url",
    pycurl.E_FILESIZE_EXCEEDED: "too large",
    pycurl.E_PARTIAL_FILE: "connection broken",
    pycurl.E_GOT_NOTHING: "connection broken",
    pycurl.E_RECV_ERROR: "connection broken",
    pycurl.E_SEND_ERROR: "connection broken",
    pycurl.E_SSL_CONNECT_ERROR: "tls: handshake failed",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls: certificate not trusted",
}
"""libcurl's code -> our words, which hold no times or addresses: the same failure gives the same row."""

_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"  # what may stand as it is; spaces and letters beyond ASCII become %XX
_TRANSIENT = frozenset(("dns: host not found", "connection refused", "timeout", "connection broken"))


@dataclass(frozen=True)
class Fetched:
    """How one URL ended: a body or an error."""

    body: bytes | None
    error: str = ""
    """Class of the failure in words, "http 404", "" for a success."""


@dataclass
class _Transfer:
    """One URL on its way."""

    index: int
    url: str
    attempt: int = 0
    body: bytearray = field(default_factory=bytearray)
    robots: list[str] = field(default_factory=list)
    status: int = 0
    refusal: str = ""
    """Why we broke it off ourselves."""
    heard: float = 0.0
    """When the last piece of the body came, 0 before the first."""

    def again(self) -> "_Transfer":
        """Return it as new, one attempt later."""
        return _Transfer(self.index, self.url, self.attempt + 1)


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """The rules of fetching. Times are in seconds, sizes in bytes."""

    connections: int = 64
    """Transfers at the same time."""
    timeout: float = 10.0
    """Total deadline of one attempt, from the first packet to the last."""
    stall_timeout: float = 3.0
    """Longest silence within a body; a server that falls silent once would do so again: no other attempt is made."""
    connect_timeout: float = 5.0
    retries: int = 2
    """Further attempts after a timeout, a broken connection, 429 or a 5xx."""
    max_bytes: int = 20_000_000
    max_redirects: int = 5
    user_agent: str = "winnow"
    user_agent_token: str | None = None
    disallowed_header_directives: Sequence[str] = ()
    """X-Robots-Tag directives that forbid a picture's use, for all agents or for `user_agent_token`."""
    allow_private: bool = False
    """Let connections go to loopback, private and link-local addresses."""
    connect_to: str | None = None
    """"address:port" that every connection goes to, whatever host the URL names; then nothing else is reachable."""

    def fetch(
        self,
        urls: Sequence[str],
        done: Callable[[int, Fetched], None],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """Fetch every URL, calling `done(index, result)` once for each, in the order in which they end.

        Args:
            urls: n URLs.
            done: takes the results; a slow one delays no transfer's deadline if it only queues them.
            ready: whether a further transfer may start; False while the taker has enough to do.
        """
        waiting = deque(_Transfer(index, url) for index, url in enumerate(urls))
        delayed: list[tuple[float, int, _Transfer]] = []
        loop = _Loop(self)
        try:
            while waiting or delayed or loop.active:
                now = time.monotonic()
                while delayed and delayed[0][0] <= now:
                    waiting.appendleft(heapq.heappop(delayed)[2])
                while waiting and len(loop.active) < self.connections and ready():
                    loop.start(waiting.popleft())
                for transfer, code in loop.step(0.02):
                    result = _result(transfer, code)
                    if self._may_retry(transfer, result):
                        due = time.monotonic() + BACK_OFF * 2**transfer.attempt
                        heapq.heappush(delayed, (due, transfer.index, transfer.again()))
                    else:
                        done(transfer.index, result)
        finally:
            loop.close()

    def _may_retry(self, transfer: _Transfer, result: Fetched) -> bool:
        """Tell whether another attempt could end better."""
        transient = result.error in _TRANSIENT or result.error in (f"http {status}" for status in RETRY_STATUS)
        return transient and not transfer.refusal and transfer.attempt < self.retries


class _Loop:
    """libcurl's multi handle driven by a selector: `select()` would not see descriptors above 1023."""

    def __init__(self, rules: Fetcher) -> None:
        self.rules = rules
        self.active: dict[Any, _Transfer] = {}
        self.idle: list[Any] = []
        self.selector = selectors.DefaultSelector()
        self.due: float | None = None
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_MAXCONNECTS, rules.connections)
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def start(self, transfer: _Transfer) -> None:
        """Put a transfer on its way."""
        handle = self.idle.pop() if self.idle else pycurl.Curl()
        try:
            self._configure(handle, transfer)
        except (pycurl.error, UnicodeError, ValueError):
            transfer.refusal = "malformed url"  # its URL is emptied below, so that it ends like any other failure
            handle.setopt(pycurl.URL, "http://")
        self.active[handle] = transfer
        self.multi.add_handle(handle)

    def step(self, patience: float) -> Iterator[tuple[_Transfer, int]]:
        """Wait up to `patience` seconds for the network, move every transfer on, yield those that ended.

        Yields:
            the transfer and libcurl's code, 0 for a complete response.
        """
        wait = patience if self.due is None else max(0.0, min(patience, self.due - time.monotonic()))
        for key, mask in self.selector.select(wait):
            bits = pycurl.CSELECT_IN if mask & selectors.EVENT_READ else 0
            bits |= pycurl.CSELECT_OUT if mask & selectors.EVENT_WRITE else 0
            self.multi.socket_action(key.fd, bits)
        if self.due is not None and time.monotonic() >= self.due:
            self.due = None
            self.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        while True:
            left, good, bad = self.multi.info_read()
            for handle, code in [(handle, 0) for handle in good] + [(handle, code) for handle, code, _ in bad]:
                yield self._end(handle), code
            if not left:
                break
        silent_since = time.monotonic() - self.rules.stall_timeout
        for handle in [handle for handle, transfer in self.active.items() if 0 < transfer.heard < silent_since]:
            self.active[handle].refusal = "timeout: stalled body"
            yield self._end(handle), 0

    def _end(self, handle: Any) -> _Transfer:
        """Take a transfer off the network."""
        self.multi.remove_handle(handle)
        self.idle.append(handle)
        return self.active.pop(handle)

    def close(self) -> None:
        """End what is still on its way and free the handles."""
        for handle in self.active:
            self.multi.remove_handle(handle)
        for handle in [*self.active, *self.idle]:
            handle.close()
        self.multi.close()
        self.selector.close()

    def _configure(self, handle: Any, transfer: _Transfer) -> None:
        """Set every rule on a handle."""
        rules = self.rules
        handle.reset()
        options = {
            pycurl.URL: quote(transfer.url, safe=_URL_SAFE),
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.REDIR_PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.FOLLOWLOCATION: 1,
            pycurl.MAXREDIRS: rules.max_redirects,
            pycurl.CONNECTTIMEOUT_MS: int(rules.connect_timeout * 1000),
            pycurl.TIMEOUT_MS: int(rules.timeout * 1000),
            pycurl.MAXFILESIZE_LARGE: rules.max_bytes,
            pycurl.USERAGENT: rules.user_agent,
            # A proxy would connect on our behalf where the guard cannot see it.
            pycurl.PROXY: "",
            pycurl.WRITEFUNCTION: lambda data: self._take(transfer, data),
            pycurl.HEADERFUNCTION: lambda line: self._judge(transfer, line),
            pycurl.OPENSOCKETFUNCTION: lambda purpose, address: self._connect(transfer, address),
        }
        for option, value in options.items():
            handle.setopt(option, value)
        if rules.connect_to is not None:
            handle.setopt(pycurl.CONNECT_TO, [f"::{rules.connect_to}"])

    def _judge(self, transfer: _Transfer, line: bytes) -> int | None:
        """Look at one header line of one response; a disallowed picture's body is never read."""
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):  # redirects bring several responses; the last one counts
            parts = text.split(None, 2)
            transfer.status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
            transfer.robots = []
        elif text.lower().startswith("x-robots-tag:"):
            transfer.robots.append(text.partition(":")[2])
        elif (
            not text
            and 200 <= transfer.status < 300
            and is_disallowed(transfer.robots, self.rules.user_agent_token, self.rules.disallowed_header_directives)
        ):
            transfer.refusal = "disallowed by X-Robots-Tag"
            return -1
        return None

    def _take(self, transfer: _Transfer, data: bytes) -> int | None:
        """Keep a piece of a body; the page that comes with an error is let go."""
        transfer.heard = time.monotonic()
        if 200 <= transfer.status < 300:
            transfer.body += data
            if len(transfer.body) > self.rules.max_bytes:
                transfer.refusal = "too large"
                return -1
        return None

    def _connect(self, transfer: _Transfer, address: Any) -> Any:
        """Open a socket to an address that may be reached; called for redirects too, after DNS has spoken."""
        family, kind, protocol, target = address
        if not self._may_reach(target):
            transfer.refusal = "private address"
            return pycurl.SOCKET_BAD
        return socket.socket(family, kind, protocol)

    def _may_reach(self, target: Any) -> bool:
        """Judge an (address, port, ...) tuple."""
        host = target[0].decode() if isinstance(target[0], bytes) else str(target[0])
        if self.rules.connect_to is not None:
            return f"{host}:{target[1]}" == self.rules.connect_to
        if self.rules.allow_private:
            return True
        parsed = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
        return (mapped or parsed).is_global and not parsed.is_multicast

    def _watch(self, event: int, descriptor: int, multi: Any, data: Any) -> None:
        """Follow libcurl's wishes about a socket."""
        if event == pycurl.POLL_REMOVE:
            if descriptor in self.selector.get_map():
                self.selector.unregister(descriptor)
            return
        mask = selectors.EVENT_READ if event in (pycurl.POLL_IN, pycurl.POLL_INOUT) else 0
        mask |= selectors.EVENT_WRITE if event in (pycurl.POLL_OUT, pycurl.POLL_INOUT) else 0
        if descriptor in self.selector.get_map():
            self.selector.modify(descriptor, mask)
        elif mask:
            self.selector.register(descriptor, mask)

    def _set_timer(self, milliseconds: int) -> None:
        """Note when libcurl wants to be called again."""
        self.due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _result(transfer: _Transfer, code: int) -> Fetched:
    """Say how a transfer ended."""
    if transfer.refusal:
        return Fetched(None, transfer.refusal)
    if code:
        return Fetched(None, _REASONS.get(code, f"curl error {code}"))
    if not 200 <= transfer.status < 300:
        return Fetched(None, f"http {transfer.status}")
    if not transfer.body:
        return Fetched(None, "empty body")
    return Fetched(bytes(transfer.body))
