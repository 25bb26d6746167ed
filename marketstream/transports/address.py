"""What trusted proxies say of a request: where its client is, and what that called the server."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from aiohttp import hdrs, web

from marketstream.wire.origin import parse_address

_PORTED: Final = re.compile(r"(?P<v4>[0-9.]+):\d{1,5}|\[(?P<v6>[0-9A-Fa-f:.%\w]+)\](?::\d{1,5})?")
# RFC 7239: pairs of a name and a token or quoted string, separated by `;`, and by `,` between proxies.
_PAIR: Final = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s",;]*)\s*(;|,|$)')
_PREFIX: Final = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~!$&'()*+=:@%-]+)*/?")
_LONGEST: Final = 200
"""Characters of a path in front of the server's own."""


class AddressReader:
    """Reads `X-Forwarded-For`, `-Host` and `-Prefix`, and `Forwarded`, as far as they can be believed.

    Where a proxy says `X-Forwarded-For` or `-Host`, the same in `Forwarded` counts for nothing: a proxy that
    writes one of them may let the client's own word in the other pass.

    Args:
        trusted: Networks of proxies whose word counts.
    """

    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network]) -> None:
        self._trusted = tuple(trusted)

    def of(self, request: web.Request) -> str:
        """Return the nearest address that is not a trusted proxy's; the peer's own when there is none."""
        peer, hops = _bare(request.remote or ""), _hops(request)
        if not hops or not self._is_trusted(peer):
            return peer
        for hop in reversed(hops):
            address = _bare(hop)
            if address and not self._is_trusted(address):
                return address if parse_address(address) is not None else peer
        return peer

    def is_passed_on(self, request: web.Request) -> bool:
        """Whether a request came through a trusted proxy that says so."""
        return bool(_hops(request)) and self._is_trusted(_bare(request.remote or ""))

    def host(self, request: web.Request) -> str:
        """Return what the client called the server: host and port, as of `Host`."""
        if self._is_trusted(_bare(request.remote or "")):
            named = _listed(request, "X-Forwarded-Host") or [
                pairs["host"] for pairs in _forwarded(request) if "host" in pairs
            ]
            if named:
                return named[0]
        return request.headers.get(hdrs.HOST, "")

    def prefix(self, request: web.Request) -> str:
        """Return the path below which the client sees the server, without a slash; mostly empty."""
        if "X-Forwarded-Prefix" not in request.headers or not self._is_trusted(_bare(request.remote or "")):
            return ""
        path = "".join(part.rstrip("/") for part in _listed(request, "X-Forwarded-Prefix"))
        return path if len(path) <= _LONGEST and _PREFIX.fullmatch(path) else ""

    def _is_trusted(self, address: str) -> bool:
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def _hops(request: web.Request) -> list[str]:
    """Who passed the request on, the client first, each maybe with a port."""
    hops = _listed(request, "X-Forwarded-For")
    return hops or [pairs.get("for", "unknown") for pairs in _forwarded(request)]


def _listed(request: web.Request, name: str) -> list[str]:
    """Return what a header lists that is not empty, over all its lines."""
    parts = (part.strip() for line in request.headers.getall(name, []) for part in line.split(","))
    return [part for part in parts if part]


def _forwarded(request: web.Request) -> Iterator[dict[str, str]]:
    """Return what each proxy says in `Forwarded`; nothing after what cannot be read."""
    text = ",".join(request.headers.getall("Forwarded", []))
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text) and (found := _PAIR.match(text, at)):
        name, value, separator = found.groups()
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        at = found.end()
        if separator != ";":
            yield pairs
            pairs = {}


def _bare(hop: str) -> str:
    """Return an address without port and brackets, and as IPv4 where it is one; another text as it is."""
    found = _PORTED.fullmatch(hop)
    text = (found["v4"] or found["v6"]) if found else hop
    address = parse_address(text)
    return hop if address is None else str(address)
