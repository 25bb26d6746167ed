"""Where a client really is, behind the proxies that are trusted."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web


class AddressReader:
    """Reads `X-Forwarded-For`, as far as it can be believed.

    Args:
        trusted: Networks of proxies whose word counts.
    """

    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network]) -> None:
        self._trusted = tuple(trusted)

    def of(self, request: web.Request) -> str:
        """The nearest address that is not a trusted proxy's; the peer's own when there is none."""
        peer = request.remote or ""
        if not self._is_trusted(peer):
            return peer
        for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
            address = hop.strip()
            if address and not self._is_trusted(address):
                return address if _is_address(address) else peer
        return peer

    def _is_trusted(self, address: str) -> bool:
        if not _is_address(address):
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
