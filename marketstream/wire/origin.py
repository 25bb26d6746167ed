"""Normalise web origins and hosts (RFC 6454, RFC 9110).

Lower case, no port that goes without saying, international names as ASCII. What a browser could never send as
an origin is refused, because a rule that can never match is a mistake of whoever wrote it.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

ANY: Final = "*"
"""Every origin there is."""

_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#@\s]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>\d{1,5}))?")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_PORTS: Final = {"http": "80", "https": "443"}
_LARGEST_PORT: Final = 65_535
_SUBDOMAINS: Final = "*."


def normalise_origin(text: str) -> str:
    """Return an origin as browsers write it; a host may begin with `*.`, which stands for any subdomain.

    Raises:
        ValueError: No browser can send it; the text says why.
    """
    found = _ORIGIN.fullmatch(text.removesuffix("/"))
    if found is None:
        raise ValueError(f"{text!r} is no origin: it must be scheme://host[:port], without a path")
    scheme = found["scheme"].lower()
    rest = found["authority"]
    wildcard = _SUBDOMAINS if rest.startswith(_SUBDOMAINS) else ""
    host, port = _split(rest.removeprefix(wildcard), text)
    if wildcard and parse_address(host.strip("[]")) is not None:
        raise ValueError(f"{text!r} is no origin: an address has no subdomains")
    return f"{scheme}://{wildcard}{host}" + ("" if port in ("", _PORTS.get(scheme)) else f":{port}")


def normalise_pattern(text: str) -> str:
    """Return what an operator may allow: `*`, or an origin as of `normalise_origin`.

    Raises:
        ValueError: As of `normalise_origin`.
    """
    return ANY if text.strip() == ANY else normalise_origin(text.strip())


def host_of(authority: str) -> str:
    """Return the host of a `Host` header, as browsers write it and without its port; empty for nonsense."""
    try:
        return _split(authority.strip(), authority)[0].removesuffix(".")
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether a host, as of `host_of`, can only be this machine, whatever a name server says."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = parse_address(host.strip("[]"))
    return address is not None and address.is_loopback


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address, one of version 4 that stands within version 6 as what it is; None for none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _split(authority: str, given: str) -> tuple[str, str]:
    """Return the host and port; the port is empty when there is none."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise ValueError(f"{given!r} has no host")
    port = found["port"] or ""
    if port and int(port) > _LARGEST_PORT:
        raise ValueError(f"{given!r} has a port above {_LARGEST_PORT}")
    return _host(found["host"], given), str(int(port)) if port else ""


def _host(text: str, given: str) -> str:
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1])}]"
        except ValueError:
            raise ValueError(f"{given!r} holds no address between its brackets") from None
    try:
        # Browsers send the ASCII form of an international name.
        host = text.lower() if text.isascii() else text.encode("idna").decode().lower()
    except UnicodeError:
        host = ""
    if not _NAME.fullmatch(host.removesuffix(".")):
        raise ValueError(f"{given!r} has no host that a browser could name")
    return host
