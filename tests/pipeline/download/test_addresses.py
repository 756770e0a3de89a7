import ipaddress

import pytest

from pipeline.download.addresses import METADATA, AddressGuard

PRIVATE = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "0.0.0.0", "100.64.0.1", "224.0.0.1"]
PRIVATE += ["255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "2002:7f00:1::"]
PRIVATE += ["64:ff9b::a9fe:a9fe", "::127.0.0.1", "240.0.0.1", "192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize("address", PRIVATE + [str(address) for address in METADATA])
def test_what_is_not_public_is_refused(address):
    assert not AddressGuard().permits(address, "some.host")


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_not(address):
    assert AddressGuard().permits(address)


def test_the_list_opens_networks_addresses_and_names():
    guard = AddressGuard(["127.0.0.1/32", "10.1.0.0/16", "fd12::/16", "192.168.0.7", "Data.Intranet."])
    assert all(guard.permits(each) for each in ("127.0.0.1", "10.1.2.3", "fd12::5", "192.168.0.7", "::ffff:10.1.0.1"))
    assert not any(guard.permits(each) for each in ("127.0.0.2", "10.2.0.1", "fd13::1", "192.168.0.8"))
    assert guard.permits("172.16.0.9", "data.intranet")
    assert not guard.permits("172.16.0.9", "other.intranet")


def test_a_network_does_not_open_the_metadata_within():
    assert not AddressGuard(["0.0.0.0/0", "::/0"]).permits("169.254.169.254")
    assert AddressGuard(["0.0.0.0/0"]).permits("127.0.0.1")
    assert AddressGuard(["169.254.169.254"]).permits("169.254.169.254")
    assert all(isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) for address in METADATA)


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "a b", "http://x", "host/8"])
def test_nonsense_is_refused(entry):
    with pytest.raises(ValueError, match="allow_private"):
        _ = AddressGuard([entry]).networks
