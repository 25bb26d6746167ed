"""The ways to a server, all behind one seam: see `base`."""

import ssl as tls
from typing import Literal

from marketstream_sdk.address import Address
from marketstream_sdk.transports.base import Transport
from marketstream_sdk.transports.socketio import SocketIoTransport
from marketstream_sdk.transports.sse import SseTransport

__all__ = ["Transport", "Way", "make_transport"]

Way = Literal["socketio", "sse"]


def make_transport(
    way: Way | Transport,
    address: Address,
    *,
    path: str,
    ssl: tls.SSLContext | None,
    call_timeout: float,
    idle_timeout: float,
) -> Transport:
    """Return the transport of a name, or the one given; `MarketDataClient` explains the options.

    Raises:
        ValueError: There is none of that name.
    """
    if way == "socketio":
        return SocketIoTransport(address, path=path, ssl=ssl, call_timeout=call_timeout)
    if way == "sse":
        return SseTransport(address, ssl=ssl, call_timeout=call_timeout, idle_timeout=idle_timeout)
    if not isinstance(way, str):
        return way
    raise ValueError(f"transport must be 'socketio' or 'sse', not {way!r}")
