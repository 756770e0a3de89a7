"""Move HTTP requests on one thread: libcurl's multi interface with deadlines, byte caps and the address guard.

One transfer is one request and its response: redirects are not followed here, so that whoever schedules transfers can
judge each hop like a URL of its own.
"""

import os
import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

import pycurl

from pipeline.download.addresses import AddressGuard
from pipeline.download.robots import is_disallowed
from pipeline.download.robotstxt import MAX_BYTES as ROBOTS_BYTES

__all__ = ["Transfer", "TransferLoop", "TransferRules", "spelled"]

DNS_CACHE_SECONDS = 3600
STALL_CHECK_SECONDS = 0.05
_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"  # what may stand as it is; spaces and letters beyond ASCII become %XX


def spelled(url: str) -> str:
    """Return a URL as it goes over the wire.

    Raises:
        UnicodeError: it holds half a surrogate pair.
    """
    return quote(url, safe=_URL_SAFE)


@dataclass(frozen=True, kw_only=True)
class TransferRules:
    """What holds for every request; the fields of `pipeline.download.fetch.Fetcher` of the same names."""

    connections: int
    timeout: float
    stall_timeout: float
    connect_timeout: float
    max_bytes: int
    user_agent: str
    user_agent_token: str | None
    disallowed_header_directives: tuple[str, ...]
    guard: AddressGuard
    connect_to: str | None
    ca_file: str | None


@dataclass(eq=False)
class Transfer:
    """One URL on its way: one attempt, at present at one hop of its redirects."""

    index: int
    """Of the row it is for; -1 for a robots.txt."""
    url: str
    """Of this hop."""
    first: str
    """Where the redirects began."""
    host: str = ""
    """Lower-case name in `url`, "" where it has none."""
    origin: str = ""
    """Scheme, host and port whose robots.txt this is, "" for a picture."""
    attempt: int = 0
    hops: int = 0
    spent: float = 0.0
    """Seconds of the deadline that earlier hops took."""
    body: bytearray = field(default_factory=bytearray)
    """As far as it has come: one piece, for a server may send a byte at a time."""
    robots: list[str] = field(default_factory=list)
    status: int = 0
    retry_after: str = ""
    location: str | None = None
    """Where a redirect leads, absolute."""
    refusal: str = ""
    """Why we broke it off ourselves."""
    heard: float = 0.0
    """When the last piece of the body came, 0 before the first."""

    def again(self) -> "Transfer":
        """Return it as new, one attempt later."""
        return Transfer(self.index, self.first, self.first, origin=self.origin, attempt=self.attempt + 1)

    def redirected(self, url: str) -> "Transfer":
        """Return its next hop."""
        return Transfer(
            self.index, url, self.first, "", self.origin, attempt=self.attempt, hops=self.hops + 1, spent=self.spent
        )


class TransferLoop:
    """libcurl's multi handle driven by a selector: `select()` would not see descriptors above 1023."""

    def __init__(self, rules: TransferRules) -> None:
        self.rules = rules
        self.active: dict[Any, _Slot] = {}
        self.idle: list[_Slot] = []
        self.selector = selectors.DefaultSelector()
        self.due: float | None = None
        self.checked = 0.0
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_MAXCONNECTS, rules.connections)
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def start(self, transfer: Transfer) -> None:
        """Put a transfer on its way."""
        slot = self.idle.pop() if self.idle else _Slot(self.rules)
        slot.begin(transfer)
        self.active[slot.handle] = slot
        self.multi.add_handle(slot.handle)

    def step(self, patience: float) -> Iterator[tuple[Transfer, int, str]]:
        """Wait up to `patience` seconds for the network, move every transfer on, yield those that ended.

        Yields:
            the transfer, libcurl's code (0 for a complete response) and its message.
        """
        wait = patience if self.due is None else max(0.0, min(patience, self.due - time.monotonic()))
        for key, mask in self.selector.select(wait):
            bits = pycurl.CSELECT_IN if mask & selectors.EVENT_READ else 0
            bits |= pycurl.CSELECT_OUT if mask & selectors.EVENT_WRITE else 0
            self.multi.socket_action(key.fd, bits)
        now = time.monotonic()
        if self.due is not None and now >= self.due:
            self.due = None
            self.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        while True:
            left, good, bad = self.multi.info_read()
            for handle in good:
                yield self._end(handle), 0, ""
            for handle, code, message in bad:
                yield self._end(handle), code, message
            if not left:
                break
        if now - self.checked >= STALL_CHECK_SECONDS:
            self.checked, silent_since = now, now - self.rules.stall_timeout
            for handle in [handle for handle, slot in self.active.items() if 0 < slot.transfer.heard < silent_since]:
                self.active[handle].transfer.refusal = "timeout: stalled body"
                yield self._end(handle), 0, ""

    def close(self) -> None:
        """End what is still on its way and free the handles."""
        for handle in self.active:
            self.multi.remove_handle(handle)
        for slot in [*self.active.values(), *self.idle]:
            slot.handle.close()
        self.multi.close()
        self.selector.close()

    def _end(self, handle: Any) -> Transfer:
        """Take a transfer off the network."""
        self.multi.remove_handle(handle)
        slot = self.active.pop(handle)
        self.idle.append(slot)
        transfer = slot.transfer
        transfer.spent += handle.getinfo(pycurl.TOTAL_TIME)
        if 300 <= transfer.status < 400:
            location = handle.getinfo_raw(pycurl.REDIRECT_URL)  # a server's bytes are not always text
            transfer.location = None if location is None else location.decode("utf-8", "replace")
        return transfer

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


class _Slot:
    """A libcurl handle with every rule set on it once, and the transfer it serves at present."""

    def __init__(self, rules: TransferRules) -> None:
        self.rules = rules
        self.transfer = Transfer(-1, "", "")
        self.handle = pycurl.Curl()
        options = {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.CONNECTTIMEOUT_MS: int(rules.connect_timeout * 1000),
            pycurl.USERAGENT: rules.user_agent,
            pycurl.PROXY: "",  # a proxy would connect on our behalf where the guard cannot see it
            pycurl.BUFFERSIZE: 131_072,
            pycurl.SHARE: _share(),
            pycurl.DNS_CACHE_TIMEOUT: DNS_CACHE_SECONDS,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            **_authorities(rules.ca_file),
            pycurl.WRITEFUNCTION: self._take,
            pycurl.HEADERFUNCTION: self._judge,
            pycurl.OPENSOCKETFUNCTION: self._connect,
        }
        if rules.connect_to is not None:
            options[pycurl.CONNECT_TO] = [f"::{rules.connect_to}"]
        for option, value in options.items():
            self.handle.setopt(option, value)

    def begin(self, transfer: Transfer) -> None:
        """Serve a transfer."""
        self.transfer = transfer
        left = max(1, int((self.rules.timeout - transfer.spent) * 1000))
        self.handle.setopt(pycurl.TIMEOUT_MS, left)
        self.handle.setopt(pycurl.MAXFILESIZE_LARGE, 0 if transfer.origin else self.rules.max_bytes)
        try:
            self.handle.setopt(pycurl.URL, spelled(transfer.url))
        except (pycurl.error, UnicodeError, ValueError):
            transfer.refusal = "malformed url"  # an empty URL, so that it ends like any other failure
            self.handle.setopt(pycurl.URL, "http://")

    def _judge(self, line: bytes) -> int | None:
        """Look at one header line; a disallowed picture's body is never read."""
        transfer = self.transfer
        if line.startswith(b"HTTP/"):  # "100 Continue" comes before another one; the last one counts
            parts = line.split(None, 2)
            transfer.status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
            transfer.robots = []
            return None
        name = line[:13].lower()
        if name == b"x-robots-tag:":
            transfer.robots.append(line[13:].decode("latin-1").strip())
        elif name.startswith(b"retry-after:"):
            transfer.retry_after = line[12:].decode("latin-1").strip()
        elif (
            transfer.robots
            and not transfer.origin
            and not line.strip()
            and 200 <= transfer.status < 300
            and is_disallowed(transfer.robots, self.rules.user_agent_token, self.rules.disallowed_header_directives)
        ):
            transfer.refusal = "disallowed by X-Robots-Tag"
            return -1
        return None

    def _take(self, data: bytes) -> int | None:
        """Keep a piece of a body; the page that comes with an error is let go."""
        transfer = self.transfer
        transfer.heard = time.monotonic()
        if 200 <= transfer.status < 300:
            transfer.body += data
            if transfer.origin:
                return -1 if len(transfer.body) > ROBOTS_BYTES else None  # the rest of a long robots.txt does not count
            if len(transfer.body) > self.rules.max_bytes:
                transfer.refusal = "too large"
                return -1
        return None

    def _connect(self, purpose: int, address: Any) -> Any:
        """Open a socket to an address that may be reached; DNS has spoken by now."""
        family, kind, protocol, target = address
        host = target[0].decode() if isinstance(target[0], bytes) else str(target[0])
        if self.rules.connect_to is not None:
            permitted = f"{host}:{target[1]}" == self.rules.connect_to
        else:
            permitted = self.rules.guard.permits(host, self.transfer.host)
        if not permitted:
            self.transfer.refusal = "private address"
            return pycurl.SOCKET_BAD
        return socket.socket(family, kind, protocol)


@cache
def _share() -> Any:
    """Return what all transfers of this process share: resolved names and TLS sessions."""
    share = pycurl.CurlShare()
    share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
    share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)
    return share


@cache
def _authorities(ca_file: str | None) -> dict[int, str]:
    """Return where the certificates of the authorities lie: a given file, the system's, or Mozilla's list in certifi.

    A libcurl from a wheel looks where its build machine had them.
    """
    system = ssl.get_default_verify_paths()
    file = ca_file or os.environ.get(system.openssl_cafile_env, system.openssl_cafile)
    folder = os.environ.get(system.openssl_capath_env, system.openssl_capath)
    if ca_file is not None or os.path.isfile(file):
        return {pycurl.CAINFO: file}
    if os.path.isdir(folder) and os.listdir(folder):
        return {pycurl.CAPATH: folder}
    import certifi

    return {pycurl.CAINFO: certifi.where()}
