from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from marketstream.transports.address import AddressReader

READER = AddressReader([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def request(peer: str | None, *forwarded: str) -> web.Request:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    return make_mocked_request("GET", "/", headers=headers).clone(remote=peer)  # type: ignore[arg-type]  # a peer may be unknown


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", " 198.51.100.1 ,", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, <script>", "10.0.0.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy_counts(peer: str, forwarded: str, address: str) -> None:
    assert READER.of(request(peer, forwarded)) == address


def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    assert AddressReader([]).of(request("10.0.0.1", "198.51.100.1")) == "10.0.0.1"


def test_a_proxy_that_adds_a_header_of_its_own_is_believed_before_what_the_client_sent() -> None:
    """Some proxies do not extend the client's header but add a second one."""
    assert READER.of(request("10.0.0.1", "1.1.1.1", "198.51.100.1")) == "198.51.100.1"


def test_a_client_without_an_address_has_none() -> None:
    """As on a unix socket."""
    assert READER.of(request("")) == ""
