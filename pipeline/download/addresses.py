"""Which addresses a download may connect to: public ones, and private ones that an allow-list names.

The guard judges the address of every connection, after DNS has spoken and after every redirect, so a name that
resolves to a private address (or does so the second time) is refused like the address itself.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

__all__ = ["AddressGuard"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
"""Where clouds tell a machine its own secrets (AWS and most others, ECS, Alibaba, Azure, Oracle, AWS over IPv6).

Azure's is a public address; a network on the allow-list that contains one of them does not open it.
"""

_WRAPPED = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::/96"))
"""IPv6 networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052), IPv4-compatible (RFC 4291)."""

_HOST = re.compile(r"^[a-z0-9_]([a-z0-9_.\-]*[a-z0-9_])?$")


@dataclass(frozen=True)
class AddressGuard:
    """Tell public addresses from others."""

    allowed: Sequence[str] = ()
    """What may be reached beside the public internet: addresses, networks ("10.1.0.0/16"), host names."""

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The addresses and networks among the allowed.

        Raises:
            ValueError: an entry is neither an address, a network nor a host name.
        """
        return tuple(network for network, _ in map(_parse, self.allowed) if network is not None)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The host names among the allowed."""
        return frozenset(host for _, host in map(_parse, self.allowed) if host)

    def permits(self, address: str, host: str = "") -> bool:
        """Tell whether a connection may go to an address.

        Args:
            address: IPv4 or IPv6 as text, with or without a zone ("fe80::1%eth0").
            host: the lower-case name the URL gives, which may be allowed itself.
        """
        parsed = _unwrap(ipaddress.ip_address(address.partition("%")[0]))
        if host and host in self.hosts:
            return True
        if parsed in METADATA:
            return any(network.num_addresses == 1 and parsed in network for network in self.networks)
        if parsed.is_global and not parsed.is_multicast:
            return True
        return any(parsed in network for network in self.networks)


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and int(address) > 1 and any(address in network for network in _WRAPPED):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _parse(entry: str) -> tuple[Network | None, str]:
    """Return the network or the host name that an entry of the allow-list means."""
    try:
        return ipaddress.ip_network(entry, strict=False), ""
    except ValueError:
        host = entry.lower().rstrip(".")
        if not _HOST.match(host) or "/" in entry:
            raise ValueError(
                f"allow_private: {entry!r} is no address, network or host name; such as 127.0.0.1/32 or data.intranet"
            ) from None
        return None, host
