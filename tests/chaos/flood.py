"""What strangers and clients may do to a gateway all at once: handshakes, calls, bytes, and reading nothing.

Each does it for a while and does not care how it ends.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count

from tests.conformance.raw import say
from tests.support.raw_socket import BINARY, head, masked, wire
from tests.support.server import Server

HANDSHAKE = head("/socket.io/?EIO=4&transport=polling", {"X-Filler": "x" * 4_000})
TOO_MUCH = 2_000_000
LARGE = 200_000
AT_ONCE = 100
PACE = 0.02
"""Seconds between two blows: it shall hurt, and leave the machine to others."""


async def handshakes(server: Server, seconds: float) -> None:
    """Sessions of Engine.IO that nobody ever uses, many on one connection."""
    async with wire(server.port) as way:
        async for _ in _while(seconds):
            if not await way.send(HANDSHAKE * 10):
                return


async def calls(server: Server, seconds: float) -> None:
    """More messages in a second than a client may send, from one that is in."""
    numbers = count()
    async with wire(server.port) as way:
        await way.enter(server.token(user="flood"))
        async for _ in _while(seconds):
            calls = (say("subscribe", {"symbols": ["FED0"]}, next(numbers)) for _ in range(AT_ONCE))
            if not await way.send(b"".join(map(masked, calls))):
                return


async def large(server: Server, seconds: float) -> None:
    """Bodies and messages of any size, without a token."""
    async for _ in _while(seconds):
        async with wire(server.port) as way:
            length = {"Content-Length": str(TOO_MUCH)}
            await way.send(head("/api/v1/market/publish", length, "POST") + b"x" * LARGE)
        async with wire(server.port) as way:
            await way.upgrade()
            await way.send(masked(b"x" * LARGE, 0x80 | BINARY))


async def slowly(server: Server, seconds: float) -> None:
    """A client that asks for everything and reads nothing."""
    async with wire(server.port, 4096) as way:
        await way.enter(server.token(user="slow"))
        await way.say(say("subscribe", {"symbols": [f"FED{n}" for n in range(4)], "mode": "every"}, 1))
        await asyncio.sleep(seconds)


KINDS: dict[str, Callable[[Server, float], Awaitable[None]]] = {
    "flood handshakes": handshakes,
    "flood calls": calls,
    "flood bytes": large,
    "read slowly": slowly,
}


async def flood(kind: str, server: Server, seconds: float) -> None:
    """Does one of them; that the server refuses, closes or is not there is one way to end."""
    with suppress(OSError, AssertionError, TimeoutError):
        await KINDS[kind](server, seconds)


async def _while(seconds: float) -> AsyncIterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        await asyncio.sleep(PACE)
