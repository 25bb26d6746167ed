"""Verify the token of a request within bounds of memory."""

from aiohttp import web

from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.waiting import Waiting
from marketstream.ports import Verifier
from marketstream.transports.credentials import Credentials

READ_AHEAD = 128 * 1024
"""Bytes of a body that aiohttp reads before anybody asks for it."""


async def verify(
    request: web.Request, credentials: Credentials, verifier: Verifier, waiting: Waiting
) -> Principal:
    """Return who makes a request.

    Args:
        request: The request.
        credentials: Finds its token.
        verifier: Checks it.
        waiting: What the request is counted in while it waits for a key.

    Raises:
        AuthError: There is no good token.
        UnavailableError: A key would have to be fetched, and too much waits for that already.
    """
    found = verifier.verify(credentials.find(request))
    if isinstance(found, Principal):
        return found
    return await waiting.of_stranger(found, lambda: size_of(request))


def size_of(request: web.Request) -> int:
    """Return the bytes that a request takes, about: its head as aiohttp keeps it, twice, and of its body."""
    head = len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers)
    return 2 * head + (READ_AHEAD if request.can_read_body else 0)
