"""Fetch many URLs at once without trusting any: which requests start when, are followed, are tried again.

Every attempt has a total deadline, its body a cap (claimed and streamed), its redirects a count and a scheme list; each
hop is judged like a URL of its own: its host's limits and robots.txt, and the address it connects to.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from urllib.parse import urlsplit

import pycurl

from pipeline.download.addresses import AddressGuard
from pipeline.download.hosts import Hosts, back_off, retry_after
from pipeline.download.robotstxt import ALL, RobotsRules, parse_robots
from pipeline.download.transfer import Transfer, TransferLoop, TransferRules, spelled

__all__ = ["Fetched", "Fetcher"]

RETRY_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
REDIRECTS = frozenset((301, 302, 303, 307, 308))
ROBOTS_REDIRECTS = 5  # RFC 9309, 2.3.1.2
SILENT_LIMIT = 32
"""Requests in a row that got no connection before a host is given up: its other URLs would only wait as long."""

_REASONS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "dns: host not found",
    pycurl.E_COULDNT_CONNECT: "connection refused",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_UNSUPPORTED_PROTOCOL: "not a http url",
    pycurl.E_URL_MALFORMAT: "malformed url",
    pycurl.E_FILESIZE_EXCEEDED: "too large",
    pycurl.E_PARTIAL_FILE: "connection broken",
    pycurl.E_GOT_NOTHING: "connection broken",
    pycurl.E_RECV_ERROR: "connection broken",
    pycurl.E_SEND_ERROR: "connection broken",
    pycurl.E_HTTP2: "connection broken",
    pycurl.E_SSL_CONNECT_ERROR: "tls: handshake failed",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls: certificate not trusted",
}
"""libcurl's code -> our words, which hold no times or addresses: the same failure gives the same row."""

_TRANSIENT = frozenset(("dns: host not found", "dns: timeout", "connection refused", "timeout", "connection broken"))
_OF_THE_URL = ("dns: ", "private address", "not a http url", "malformed url")
"""Failures of a robots.txt that its host's pictures share, whatever the file would have said."""


@dataclass(frozen=True)
class Fetched:
    """How one URL ended: a body or an error."""

    body: bytes | None
    error: str = ""
    """Class of the failure in words, "http 404", "" for a success."""


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """The rules of fetching. Times are in seconds, sizes in bytes."""

    connections: int = 64
    """Transfers at the same time."""
    max_per_host: int = 8
    """Transfers from one host at the same time."""
    requests_per_second_per_host: float | None = None
    timeout: float = 10.0
    """Total deadline of one attempt, redirects included, from the first packet to the last."""
    stall_timeout: float = 3.0
    """Longest silence within a body; a server that falls silent once would do so again: no other attempt is made."""
    connect_timeout: float = 5.0
    retries: int = 2
    """Further attempts after a timeout, a broken connection, 429 or a 5xx."""
    max_retry_after: float = 30.0
    """Longest that a host can make us wait by Retry-After, altogether; then its URLs fail with what it said."""
    max_bytes: int = 20_000_000
    max_redirects: int = 5
    user_agent: str = "winnow"
    user_agent_token: str | None = None
    robots: Literal["ignore", "obey"] = "ignore"
    """Whether robots.txt of each host is asked first, once for all its URLs."""
    disallowed_header_directives: Sequence[str] = ()
    """X-Robots-Tag directives that forbid a picture's use, for all agents or for `user_agent_token`."""
    allow_private: Sequence[str] = ()
    """Addresses, networks and host names that may be reached although they are not public."""
    connect_to: str | None = None
    """"address:port" that every connection goes to, whatever host the URL names; then nothing else is reachable."""
    ca_file: str | None = None
    """PEM file of the authorities whose certificates are trusted, instead of the system's."""

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
        _Round(self, done, ready).run(urls)

    @cached_property
    def agent(self) -> str:
        """The product token by which a robots.txt may speak to us."""
        return self.user_agent_token or self.user_agent.split("/")[0].split(" ")[0]

    @property
    def transfer_rules(self) -> TransferRules:
        """What holds for every single request."""
        return TransferRules(
            connections=self.connections,
            timeout=self.timeout,
            stall_timeout=self.stall_timeout,
            connect_timeout=self.connect_timeout,
            max_bytes=self.max_bytes,
            user_agent=self.user_agent,
            user_agent_token=self.user_agent_token,
            disallowed_header_directives=tuple(self.disallowed_header_directives),
            guard=AddressGuard(tuple(self.allow_private)),
            connect_to=self.connect_to,
            ca_file=self.ca_file,
        )


class _Round:
    """One call of `fetch`: what waits, what is on its way, what is known of the hosts."""

    def __init__(self, rules: Fetcher, done: Callable[[int, Fetched], None], ready: Callable[[], bool]) -> None:
        self.rules, self.done, self.ready = rules, done, ready
        self.hosts: Hosts[Transfer] = Hosts(rules.max_per_host, rules.requests_per_second_per_host)
        self.delayed: list[tuple[float, int, int, Transfer]] = []
        self.robots: dict[str, RobotsRules | str | list[Transfer]] = {}
        """Origin -> its rules, the failure its URLs share, or the transfers that wait for its robots.txt."""
        self.given_up: dict[str, str] = {}
        """Host -> the failure of all its URLs."""
        self.silent: Counter[str] = Counter()
        self.held: Counter[str] = Counter()

    def run(self, urls: Sequence[str]) -> None:
        """Bring every URL to its end."""
        for index, url in enumerate(urls):
            self._submit(Transfer(index, url, url))
        loop = TransferLoop(self.rules.transfer_rules)
        try:
            while self.hosts.waiting or self.delayed or loop.active:
                now = time.monotonic()
                while self.delayed and self.delayed[0][0] <= now:
                    self._submit(heapq.heappop(self.delayed)[3])
                while len(loop.active) < self.rules.connections and self.ready():
                    transfer = self.hosts.take()
                    if transfer is None:
                        break
                    if error := self.given_up.get(transfer.host):
                        self.hosts.release(transfer.host)
                        self._finish(transfer, Fetched(None, error))
                    else:
                        loop.start(transfer)
                for ended, code, message in loop.step(0.02):
                    self.hosts.release(ended.host)
                    self._end(ended, code, message)
        finally:
            loop.close()

    def _submit(self, transfer: Transfer) -> None:
        """Queue a transfer, once its host's robots.txt is known to allow it."""
        try:
            parts = urlsplit(spelled(transfer.url))
            transfer.host = (parts.hostname or "").rstrip(".")
        except ValueError:
            self.hosts.add("", transfer)  # libcurl finds the words for it
            return
        if self.rules.robots == "obey" and not transfer.origin and parts.scheme in ("http", "https") and parts.netloc:
            origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            known = self.robots.get(origin)
            if known is None:
                self.robots[origin] = [transfer]
                url = f"{origin}/robots.txt"
                self._submit(Transfer(-1, url, url, origin=origin))
                return
            if isinstance(known, list):
                known.append(transfer)
                return
            if isinstance(known, str) or not known.allows(spelled(transfer.url)):
                self._finish(transfer, Fetched(None, known if isinstance(known, str) else "disallowed by robots.txt"))
                return
        self.hosts.add(transfer.host, transfer)

    def _end(self, transfer: Transfer, code: int, message: str) -> None:
        """Follow a response: to the next hop, to another attempt, or to the row it is for."""
        limit = ROBOTS_REDIRECTS if transfer.origin else self.rules.max_redirects
        if not code and not transfer.refusal and transfer.status in REDIRECTS and transfer.location:
            if transfer.hops >= limit:
                self._finish(transfer, Fetched(None, "too many redirects"))
            elif transfer.spent >= self.rules.timeout:
                self._finish(transfer, Fetched(None, "timeout"))
            else:
                self._submit(transfer.redirected(transfer.location))
            return
        result = _result(transfer, code, message)
        self._learn(transfer, result.error)
        if self._may_retry(transfer, result):
            due = time.monotonic() + back_off(transfer.first, transfer.attempt)
            heapq.heappush(self.delayed, (due, transfer.index, id(transfer), transfer.again()))
        else:
            self._finish(transfer, result)

    def _learn(self, transfer: Transfer, error: str) -> None:
        """Note what a response says about its host."""
        host = transfer.host
        if transfer.status in (429, 503) and transfer.retry_after:
            wait = retry_after(transfer.retry_after, self.rules.max_retry_after)
            self.held[host] += self.hosts.hold(host, wait)  # type: ignore[assignment]
            if self.held[host] > self.rules.max_retry_after:
                self.given_up[host] = error
        if error.startswith("dns: ") and transfer.attempt >= self.rules.retries:
            self.given_up[host] = error
        if transfer.status or error not in ("timeout", "connection refused"):
            self.silent[host] = 0
            return
        self.silent[host] += 1
        if self.silent[host] >= SILENT_LIMIT:
            self.given_up[host] = error

    def _may_retry(self, transfer: Transfer, result: Fetched) -> bool:
        """Tell whether another attempt could end better."""
        transient = result.error in _TRANSIENT or (transfer.status in RETRY_STATUS and result.error.startswith("http"))
        return (
            transient
            and not transfer.refusal
            and transfer.attempt < self.rules.retries
            and transfer.host not in self.given_up
        )

    def _finish(self, transfer: Transfer, result: Fetched) -> None:
        """Hand over the end of a URL, or let those go that waited for a robots.txt."""
        if not transfer.origin:
            self.done(transfer.index, result)
            return
        waiting = self.robots[transfer.origin]
        assert isinstance(waiting, list)
        self.robots[transfer.origin] = self._robots_rules(transfer, result)
        for each in waiting:
            self._submit(each)

    def _robots_rules(self, transfer: Transfer, result: Fetched) -> RobotsRules | str:
        """Return what a robots.txt, or its absence, means: RFC 9309, 2.3.1.

        A client's error (4xx) or an endless redirect: there is none, everything is allowed. A server's error or no
        answer: nothing is allowed.
        """
        if 200 <= transfer.status < 300 and result.error in ("", "empty body"):
            return parse_robots(result.body or b"", self.rules.agent)
        if result.error == "too many redirects" or result.error.startswith("http 4"):
            return ALL
        if result.error.startswith(_OF_THE_URL) and not transfer.hops:
            return result.error
        return f"robots.txt unreachable: {result.error}"


def _result(transfer: Transfer, code: int, message: str) -> Fetched:
    """Say how a transfer ended."""
    if transfer.refusal:
        return Fetched(None, transfer.refusal)
    is_cut = bool(transfer.origin) and code == pycurl.E_WRITE_ERROR  # by us, see the transfer's `_take`
    if code and not is_cut:
        if code == pycurl.E_OPERATION_TIMEDOUT and message.startswith("Resolving"):
            return Fetched(None, "dns: timeout")
        return Fetched(None, _REASONS.get(code, f"curl error {code}"))
    if not 200 <= transfer.status < 300:
        return Fetched(None, f"http {transfer.status}")
    if not transfer.body:
        return Fetched(None, "empty body")
    return Fetched(bytes(transfer.body))
