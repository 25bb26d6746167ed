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
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2:80", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:4711, [fd00::2]", "2001:db8::7"),
        ("10.0.0.1", "2001:DB8:0::7", "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy_counts(peer: str, forwarded: str, address: str) -> None:
    assert READER.of(request(peer, forwarded)) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ("For=198.51.100.1;proto=https;by=10.0.0.1;host=a.example", "198.51.100.1"),
        ('for="198.51.100.1:4711"', "198.51.100.1"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for=1.1.1.1;x="a,b;for=9.9.9.9", for=198.51.100.1 , for=10.0.0.2', "198.51.100.1"),
        ("for=1.1.1.1, for=unknown", "10.0.0.1"),
        ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
        ("for=1.1.1.1, proto=https", "10.0.0.1"),
        ('for="1.1.1.1', "10.0.0.1"),
        ("=;,=", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_forwarded_is_understood(forwarded: str, address: str) -> None:
    """RFC 7239, with quoted strings, ports and IPv6."""
    given = make_mocked_request("GET", "/", headers={"Forwarded": forwarded}).clone(remote="10.0.0.1")
    assert READER.of(given) == address
    assert AddressReader([]).of(given) == "10.0.0.1"


def test_forwarded_counts_for_nothing_beside_what_the_proxy_writes() -> None:
    """A proxy that writes the one header lets the client's own word in the other pass."""
    headers = {"Forwarded": "for=1.1.1.1;host=evil.example", "X-Forwarded-For": "198.51.100.1"}
    given = make_mocked_request("GET", "/", headers=headers).clone(remote="10.0.0.1")
    assert READER.of(given) == "198.51.100.1"


@pytest.mark.parametrize(
    ("written", "prefix"),
    [
        ("/md", "/md"),
        ("/md/", "/md"),
        ("/a, /b/", "/a/b"),
        ("/a/b-1.2_~", "/a/b-1.2_~"),
        *[(text, "") for text in ("", "/", "md", "//evil.example", "/a//b", "/..", "/a/../b", '/"><script>')],
        *[(text, "") for text in ("https://evil.example", "/a b", "/a?b", "/a#b", "/" + "a" * 300)],
    ],
)
def test_the_path_in_front_is_believed_where_it_is_one_and_from_a_proxy(written: str, prefix: str) -> None:
    given = make_mocked_request("GET", "/", headers={"X-Forwarded-Prefix": written})
    assert READER.prefix(given.clone(remote="10.0.0.1")) == prefix
    assert READER.prefix(given.clone(remote="203.0.113.9")) == ""


def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    assert AddressReader([]).of(request("10.0.0.1", "198.51.100.1")) == "10.0.0.1"


def test_a_proxy_that_adds_a_header_of_its_own_is_believed_before_what_the_client_sent() -> None:
    """Some proxies do not extend the client's header but add a second one."""
    assert READER.of(request("10.0.0.1", "1.1.1.1", "198.51.100.1")) == "198.51.100.1"


def test_a_client_without_an_address_has_none() -> None:
    """As on a unix socket."""
    assert READER.of(request("")) == ""
